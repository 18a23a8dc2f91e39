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

/// The ids on all pages of a list, read on by cursor; each page has one row more than the last.
async fn ids_by_cursor(test: &TestApi, path: &str) -> Vec<String> {
    let mut ids = Vec::new();
    let mut cursor = String::new();
    for size in 1.. {
        let separator = if path.contains('?') { '&' } else { '?' };
        let path = format!("/spaces/finance/orchestration{path}{separator}size={size}{cursor}");
        let response = test.get(&path).await;
        assert_eq!(response.status, 200, "{path}: {}", response.body);
        assert_eq!(response.header("x-page").is_empty(), !cursor.is_empty());
        let next = response.header("x-next-cursor").to_owned();
        assert_eq!(response.header("link").contains("rel=\"next\""), !next.is_empty(), "{path}");
        let rows = response.body.as_array().unwrap();
        ids.extend(rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()));
        if next.is_empty() {
            break;
        }
        assert_eq!(rows.len(), size, "{path}");
        cursor = format!("&cursor={next}");
    }
    ids
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
                let path = path.replacen("size=", "ignored=", 1);
                let found = handle.block_on(ids_by_cursor(&test, &path));
                prop_assert_eq!(&found, &expected, "by cursor: {}", path);
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
    for (query, kind) in [
        ("page=0", "value_error.number.not_ge"),
        ("size=0", "value_error.number.not_ge"),
        ("page=-1", "value_error.number.not_ge"),
        ("size=x", "type_error.integer"),
        ("page=1.0", "type_error.integer"),
        ("page=", "type_error.integer"),
        ("page=201&size=500", "value_error.number.not_le"),
        ("page=99999999999999999999", "value_error.number.not_le"),
        ("cursor=x", "value_error"),
    ] {
        assert_eq!(test.get(&format!("{base}?{query}")).await.field_errors()[0].1, kind, "{query}");
    }
    let linked = test.get(&format!("{base}?q=p&size=2&page=2&sort=-name")).await;
    let links: Vec<_> =
        linked.header("link").split(", ").map(|link| link.split("rel=").last().unwrap().to_owned()).collect();
    assert_eq!(links, ["\"first\"", "\"prev\"", "\"next\"", "\"last\""]);
    assert!(linked.header("link").contains("q=p&size=2&sort=-name&page=3"));
}

#[tokio::test]
async fn a_cursor_neither_repeats_nor_skips_rows_while_others_arrive() {
    let test = TestApi::new().await;
    insert_pipelines_with_runs(&test).await;
    let (before, _) = pages(&test, "/runs?size=500").await;
    let mut ids = Vec::new();
    let mut query = "size=7".to_owned();
    loop {
        let response = test.get(&format!("/spaces/finance/orchestration/runs?{query}")).await;
        let rows = response.body.as_array().unwrap();
        ids.extend(rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()));
        test.sql(
            "insert into runs (id, space_id, connector_id, pipeline_id, provider, external_id, version,
                 fingerprint, log_offset, observed_at, status, run_type, run_after, conf)
             select gen_random_uuid(), space_id, connector_id, id, 'airflow', gen_random_uuid(), 1, '', 0,
             now(), 'queued', 'manual', clock_timestamp(), '{}' from pipelines limit 3",
        )
        .await;
        match response.header("x-next-cursor") {
            "" => break,
            cursor => query = format!("size=7&cursor={cursor}"),
        }
    }
    assert_eq!(ids, before);
}

#[tokio::test]
async fn a_cursor_belongs_to_its_filter_its_sort_and_its_list() {
    let test = TestApi::new().await;
    let pipeline = insert_pipelines_with_runs(&test).await;
    let base = "/spaces/finance/orchestration";
    let response = test.get(&format!("{base}/runs?size=3&status=failed&sort=-started_at")).await;
    let cursor = response.header("x-next-cursor");
    let same = test.get(&format!("{base}/runs?sort=-started_at&status=failed&cursor={cursor}&page=x")).await;
    assert_eq!((same.status.as_u16(), same.header("x-page"), same.header("x-total-pages")), (200, "", ""));
    for other in [
        "/runs?status=failed",
        "/runs?status=failed&sort=started_at",
        "/runs?sort=-started_at",
        "/runs?status=failed&status=success&sort=-started_at",
        "/runs?status=failed&sort=-started_at&owner=x",
        &format!("/pipelines/{pipeline}/runs?status=failed&sort=-started_at"),
        "/pipelines?status=failed",
    ] {
        let response = test.get(&format!("{base}{other}&cursor={cursor}")).await;
        let errors = response.field_errors();
        assert!(
            errors.contains(&("query.cursor".to_owned(), "value_error".to_owned())),
            "{other}: {errors:?}"
        );
    }
}

#[tokio::test]
async fn a_total_above_ten_thousand_that_is_not_stored_is_a_lower_bound() {
    let test = TestApi::new().await;
    let pipeline = test.pipeline("p").await;
    let insert = async |from: i32, to: i32| {
        test.sql(&format!(
            "insert into runs (id, space_id, connector_id, pipeline_id, provider, external_id, version,
                 fingerprint, log_offset, observed_at, status, run_type, run_after, conf)
             select gen_random_uuid(), space_id, connector_id, id, 'airflow', n, 1, '', 0, now(), 'success',
             'manual', now() - n * interval '1 s', '{{}}' from pipelines, generate_series({from}, {to}) n
             where id = '{pipeline}'"
        ))
        .await;
    };
    let total = async |query: &str| {
        let response = test.get(&format!("/spaces/finance/orchestration/runs?{query}")).await;
        assert_eq!(response.status, 200);
        let header = |name: &str| response.header(name).to_owned();
        let has_last = header("link").contains("rel=\"last\"");
        [header("x-total-count"), header("x-total-relation"), header("x-total-pages"), has_last.to_string()]
            .join(" ")
    };
    insert(1, 10_000).await;
    assert_eq!(total("run_type=manual").await, "10000 eq 100 true");
    insert(10_001, 10_300).await;
    assert_eq!(total("run_type=manual").await, "10000 gte 100 false");
    assert_eq!(total("run_type=manual&page=103").await, "10300 gte 103 false");
    assert_eq!(total("status=success").await, "10300 eq 103 true", "it is stored by status");
}

/// Inserts pipelines with two runs each, of which one has failed.
async fn insert_many_pipelines(test: &TestApi, number: usize) {
    test.sql(&format!(
        "insert into pipelines (id, space_id, connector_id, provider, external_id, version, fingerprint,
             log_offset, observed_at, first_seen_at, name, owners, tags, is_paused, is_active,
             provider_metadata, tasks)
         select md5('pipeline' || n)::uuid, space_id, id, 'airflow', 'p' || n, 1, '', 0, now(), now(),
             'p' || n, '{{}}', '{{}}', false, true, '{{}}', '[]'
         from connectors, generate_series(1, {number}) n where id = '{}';
         insert into runs (id, space_id, connector_id, pipeline_id, provider, external_id, version,
             fingerprint, log_offset, observed_at, status, run_type, run_after, conf)
         select md5('run' || status || p.id)::uuid, space_id, connector_id, id, 'airflow', status, 1, '', 0,
             now(), status, 'manual', now(), '{{}}'
         from pipelines p, unnest(array['success', 'failed']) status",
        test.connector
    ))
    .await;
}

#[tokio::test]
async fn totals_of_many_pipelines_are_exact_until_they_are_large() {
    let test = TestApi::new().await;
    insert_many_pipelines(&test, 1_500).await;
    let total = async |query: &str| {
        let response = test.get(&format!("/spaces/finance/orchestration/runs?size=1&{query}")).await;
        assert_eq!(response.status, 200, "{}", response.body);
        let header = |name| response.header(name).to_owned();
        (header("x-total-count"), header("x-total-relation"))
    };
    let exact = |rows: &str| (rows.to_owned(), "eq".to_owned());
    assert_eq!(total("is_active=true").await, exact("3000"));
    assert_eq!(total("is_active=true&status=failed").await, exact("1500"));
    assert_eq!(total("is_active=false").await, exact("0"));
    while platform::pipeline_metrics::refresh(&test.db).await.unwrap() {}
    assert_eq!(total("is_active=true&status=failed").await, exact("1500"));
    test.sql("update run_counts set n = 100").await;
    assert_eq!(total("is_active=true").await, ("240000".to_owned(), "gte".to_owned()));
    let one = test.id("select id from pipelines limit 1").await;
    assert_eq!(total(&format!("pipeline_id={one}")).await, exact("200"));
}
