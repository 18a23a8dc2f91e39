//! Pages of a list: together they contain each matching row once and in order, also while columns change.
//!
//! A page is a part of the list as of its request. If rows enter the list between two pages, no row is
//! skipped, and some rows come twice. If rows leave it, no row comes twice. If the sorted column changes,
//! each page is sorted.

mod model;

use std::collections::BTreeSet;

use chrono::DateTime;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::app::TestApi;
use crate::seed::hours_ago;

const STATUSES: [&str; 4] = ["success", "failed", "running", "queued"];

async fn insert_pipelines_with_runs(test: &TestApi) -> String {
    let mut first = None;
    for p in 0..13 {
        // Names are compared without case, so that some are equal.
        let name = if p % 2 == 0 { format!("p{}", p / 4) } else { format!("P{}", p / 4) };
        let pipeline = test.pipeline(&format!("{name}-{p}")).await;
        test.sql(&format!("update pipelines set name = '{name}' where id = '{pipeline}'")).await;
        for r in 0..p {
            let run = test
                .run(pipeline, &format!("r{r}"), STATUSES[(p + r) % 4], hours_ago(i64::from(r as u32 % 3)))
                .await;
            if r % 5 == 4 {
                test.sql(&format!("update runs set deleted_at = now() where id = '{run}'")).await;
            }
        }
        first = Some(pipeline.to_string());
    }
    first.unwrap()
}

async fn pages(test: &TestApi, path: &str) -> (Vec<String>, usize) {
    let mut ids = Vec::new();
    let mut path = format!("/spaces/finance/orchestration{path}");
    let mut total = None;
    loop {
        let response = test.get(&path).await;
        assert_eq!(response.status, 200, "{}", response.body);
        total = total.or(Some(response.header("x-total-count").parse::<usize>().unwrap()));
        let links = response.header("link").to_owned();
        let rows = response.body.as_array().unwrap();
        ids.extend(rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()));
        let next = links.split(", ").find(|link| link.ends_with("rel=\"next\""));
        match next {
            Some(link) => path = link[1..link.find('>').unwrap()].replace(api::http::BASE_PATH, ""),
            None => return (ids, total.unwrap()),
        }
    }
}

/// Executes a statement again and again until the task is aborted.
fn execute_repeatedly(test: &TestApi, statement: &'static str) -> JoinHandle<()> {
    let db = test.db.clone();
    tokio::spawn(async move {
        loop {
            sqlx::raw_sql(statement).execute(&db).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_contain_each_matching_row_once_and_in_order_while_columns_change() {
    let test = TestApi::new().await;
    // All columns that a sync rewrites, and comments.
    let writer = execute_repeatedly(
        &test,
        "update runs set note = 'touched', conf = '{\"n\": 1}', version = version + 1,
         observed_at = now() where random() < 0.3;
         update pipelines set description = 'touched', next_run_at = now(),
         version = version + 1 where random() < 0.3;
         update connector_state set confirmed_at = now();
         insert into comments (id, space_id, run_id, author_id, content)
             select gen_random_uuid(), r.space_id, r.id, u.id, 'a word' from runs r,
             users u where u.name = 'Ada' limit 1",
    );
    let handle = tokio::runtime::Handle::current();
    let check = move || {
        let data = (model::pipelines(), proptest::collection::vec(model::list_query(), 6));
        let data = data.prop_filter("ids are distinct", |(pipelines, _)| model::are_distinct(pipelines));
        let config =
            Config { cases: 40, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
        let result = TestRunner::new(config).run(&data, |(pipelines, all)| {
            handle.block_on(model::replace_all(&test, &pipelines));
            for query in all {
                let path = query.path(&pipelines);
                let expected: Vec<_> = query.expected(&pipelines).iter().map(ToString::to_string).collect();
                let (found, total) = handle.block_on(pages(&test, &path));
                prop_assert_eq!(&found, &expected, "{}", path);
                prop_assert_eq!(total, expected.len(), "{}", path);
            }
            Ok(())
        });
        result.unwrap();
    };
    tokio::task::spawn_blocking(check).await.unwrap();
    writer.abort();
}

/// The pages of a list, with a statement executed after each.
async fn pages_while(test: &TestApi, path: &str, statement: &str) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    for page in 1.. {
        let found = test.read(&format!("{path}&page={page}")).await;
        let ids: Vec<_> =
            found.as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
        if ids.is_empty() {
            break;
        }
        pages.push(ids);
        test.sql(statement).await;
    }
    pages
}

#[tokio::test]
async fn no_row_is_skipped_while_rows_enter_and_none_repeats_while_rows_leave() {
    let test = TestApi::new().await;
    insert_pipelines_with_runs(&test).await;
    let (before, _) = pages(&test, "/runs?size=500").await;
    let insert = "insert into runs (id, space_id, connector_id, pipeline_id, provider, external_id, version,
            fingerprint, log_offset, observed_at, status, run_type, run_after, conf)
        select gen_random_uuid(), space_id, connector_id, id, 'airflow', gen_random_uuid(), 1, '', 0, now(),
        'queued', 'manual', clock_timestamp(), '{}' from pipelines limit 3";
    let changing = pages_while(&test, "/runs?size=7", insert).await;
    for (page, next) in changing.iter().zip(&changing[1..]) {
        assert_eq!(page[4..], next[..3.min(next.len())], "three rows entered, so three rows repeat");
    }
    let mut seen = BTreeSet::new();
    let distinct: Vec<_> = changing.into_iter().flatten().filter(|id| seen.insert(id.clone())).collect();
    assert_eq!(distinct, before);

    let (before, _) = pages(&test, "/runs?size=500").await;
    let delete = "update runs set deleted_at = now() where id in (
        select id from runs where deleted_at is null order by ordered_at desc, id desc limit 2)";
    let found: Vec<_> = pages_while(&test, "/runs?size=7", delete).await.into_iter().flatten().collect();
    let mut rest = before.iter();
    assert!(found.iter().all(|id| rest.any(|other| other == id)), "a row repeats, or is out of order");
}

#[tokio::test]
async fn a_page_is_sorted_while_the_sorted_column_changes() {
    let test = TestApi::new().await;
    insert_pipelines_with_runs(&test).await;
    let (_, all) = pages(&test, "/runs?size=500").await;
    let writer = execute_repeatedly(
        &test,
        "update runs set started_at = case when random() < 0.8 then now() - random() * interval '9 days' end,
             version = version + 1 where random() < 0.3",
    );
    for round in 0..40 {
        let path =
            format!("/spaces/finance/orchestration/runs?sort=-started_at&size=9&page={}", round % 5 + 1);
        let response = test.get(&path).await;
        assert_eq!(response.header("x-total-count"), all.to_string());
        let rows = response.expect(200);
        let started =
            |row: &Value| row["started_at"].as_str().map(|at| DateTime::parse_from_rfc3339(at).unwrap());
        let rows: Vec<_> =
            rows.as_array().unwrap().iter().map(|row| (started(row), row["id"].as_str())).collect();
        // Descending, with runs that have not started last.
        assert!(rows.windows(2).all(|pair| pair[0] > pair[1]), "{rows:?}");
    }
    writer.abort();
}

#[tokio::test]
async fn page_numbers_and_sizes_are_bounded() {
    let test = TestApi::new().await;
    insert_pipelines_with_runs(&test).await;
    let base = "/spaces/finance/orchestration/pipelines";
    let headers = async |query: &str| {
        let response = test.get(&format!("{base}?{query}")).await;
        assert_eq!(response.status, 200);
        let header = |name: &str| response.header(name).to_owned();
        [header("x-page"), header("x-page-size"), header("x-total-count"), header("x-total-pages")].join(" ")
    };
    assert_eq!(headers("").await, "1 100 13 1");
    assert_eq!(headers("size=9999").await, "1 500 13 1");
    assert_eq!(headers("size=5&page=3").await, "3 5 13 3");
    assert_eq!(headers("size=5&page=4").await, "4 5 13 3");
    let last = test.get(&format!("{base}?page=99999999999999999999&size=500")).await;
    assert_eq!((last.status.as_u16(), last.body), (200, Value::Array(vec![])));
    for (query, kind) in [
        ("page=0", "value_error.number.not_ge"),
        ("size=0", "value_error.number.not_ge"),
        ("page=-1", "value_error.number.not_ge"),
        ("size=x", "type_error.integer"),
        ("page=1.0", "type_error.integer"),
        ("page=", "type_error.integer"),
    ] {
        assert_eq!(test.get(&format!("{base}?{query}")).await.field_errors()[0].1, kind, "{query}");
    }
    let linked = test.get(&format!("{base}?q=p&size=2&page=2&sort=-name")).await;
    let links: Vec<_> =
        linked.header("link").split(", ").map(|link| link.split("rel=").last().unwrap().to_owned()).collect();
    assert_eq!(links, ["\"first\"", "\"prev\"", "\"next\"", "\"last\""]);
    assert!(linked.header("link").contains("q=p&size=2&sort=-name&page=3"));
}
