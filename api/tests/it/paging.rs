//! Pages: together they are exactly what the filter finds, in order, nothing twice.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;

use crate::world::{World, hours_ago};

const STATUSES: [&str; 4] = ["success", "failed", "running", "queued"];

/// A world of runs with many ties, and what is asked of it.
#[derive(Clone, Debug)]
struct Asked {
    list: usize,
    status: Option<usize>,
    sort: usize,
    size: usize,
}

fn asked() -> impl Strategy<Value = Asked> {
    (0..3_usize, proptest::option::of(0..STATUSES.len()), 0..10_usize, 1..12_usize)
        .prop_map(|(list, status, sort, size)| Asked { list, status, sort, size })
}

impl Asked {
    fn path(&self, pipeline: &str) -> String {
        let runs = [
            "",
            "started_at",
            "-started_at",
            "ended_at",
            "-ended_at",
            "duration_seconds",
            "-duration_seconds",
        ];
        let pipelines = [
            "",
            "name",
            "-name",
            "last_run",
            "-last_run",
            "failed_count",
            "-failed_count",
            "success_rate",
            "-success_rate",
            "-avg_duration",
        ];
        let (path, sorts) = match self.list {
            0 => ("/runs".to_owned(), &runs[..]),
            1 => (format!("/pipelines/{pipeline}/runs"), &runs[..]),
            _ => ("/pipelines".to_owned(), &pipelines[..]),
        };
        let mut path = format!("{path}?size={}", self.size);
        if let Some(status) = self.status {
            path += &format!("&status={}", STATUSES[status]);
        }
        match sorts[self.sort % sorts.len()] {
            "" => path,
            sort => format!("{path}&sort={sort}"),
        }
    }
}

async fn populate(world: &World) -> String {
    let mut first = None;
    for p in 0..13 {
        // Names that differ in case alone tie.
        let name = if p % 2 == 0 { format!("p{}", p / 4) } else { format!("P{}", p / 4) };
        let pipeline = world.pipeline(&format!("{name}-{p}")).await;
        world.sql(&format!("update pipelines set name = '{name}' where id = '{pipeline}'")).await;
        for r in 0..p {
            let run = world
                .run(pipeline, &format!("r{r}"), STATUSES[(p + r) % 4], hours_ago(i64::from(r as u32 % 3)))
                .await;
            if r % 5 == 4 {
                world.sql(&format!("update runs set deleted_at = now() where id = '{run}'")).await;
            }
        }
        first = Some(pipeline.to_string());
    }
    first.unwrap()
}

async fn pages(world: &World, path: &str) -> (Vec<String>, usize) {
    let mut ids = Vec::new();
    let mut path = format!("/spaces/finance/orchestration{path}");
    let mut total = None;
    loop {
        let answer = world.get(&path).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        total = total.or(Some(answer.header("x-total-count").parse::<usize>().unwrap()));
        let links = answer.header("link").to_owned();
        let rows = answer.body.as_array().unwrap();
        ids.extend(rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()));
        let next = links.split(", ").find(|link| link.ends_with("rel=\"next\""));
        match next {
            Some(link) => path = link[1..link.find('>').unwrap()].replace(api::routes::BASE, ""),
            None => return (ids, total.unwrap()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_are_the_whole_list_in_order_and_nothing_twice() {
    let world = World::new().await;
    let pipeline = populate(&world).await;
    let handle = tokio::runtime::Handle::current();
    let check = move || {
        let mut runner =
            TestRunner::new(Config { cases: 60, failure_persistence: None, ..Config::default() });
        runner
            .run(&asked(), |asked| {
                let path = asked.path(&pipeline);
                let (paged, total) = handle.block_on(pages(&world, &path));
                let whole = path.replacen(&format!("size={}", asked.size), "size=500", 1);
                let (whole, _) = handle.block_on(pages(&world, &whole));
                prop_assert_eq!(&paged, &whole, "{}", path);
                prop_assert_eq!(paged.len(), total);
                prop_assert_eq!(paged.iter().collect::<BTreeSet<_>>().len(), total);
                Ok(())
            })
            .unwrap();
    };
    tokio::task::spawn_blocking(check).await.unwrap();
}

#[tokio::test]
async fn rows_that_change_under_way_are_neither_lost_nor_shown_twice() {
    let world = World::new().await;
    populate(&world).await;
    let writer = {
        let db = world.db.clone();
        tokio::spawn(async move {
            loop {
                let touch = "update runs set note = 'touched', version = version + 1 where random() < 0.2";
                sqlx::query(touch).execute(&db).await.unwrap();
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        })
    };
    for _ in 0..5 {
        let (ids, total) = pages(&world, "/runs?size=7").await;
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), total);
        assert_eq!(ids.len(), total);
    }
    writer.abort();
}

#[tokio::test]
async fn sizes_and_pages_have_their_bounds() {
    let world = World::new().await;
    populate(&world).await;
    let base = "/spaces/finance/orchestration/pipelines";
    let headers = async |query: &str| {
        let answer = world.get(&format!("{base}?{query}")).await;
        assert_eq!(answer.status, 200);
        let header = |name: &str| answer.header(name).to_owned();
        [header("x-page"), header("x-page-size"), header("x-total-count"), header("x-total-pages")].join(" ")
    };
    assert_eq!(headers("").await, "1 100 13 1");
    assert_eq!(headers("size=9999").await, "1 500 13 1");
    assert_eq!(headers("size=5&page=3").await, "3 5 13 3");
    assert_eq!(headers("size=5&page=4").await, "4 5 13 3");
    let far = world.get(&format!("{base}?page=99999999999999999999&size=500")).await;
    assert_eq!((far.status.as_u16(), far.body), (200, Value::Array(vec![])));
    for (query, kind) in [
        ("page=0", "value_error.number.not_ge"),
        ("size=0", "value_error.number.not_ge"),
        ("page=-1", "value_error.number.not_ge"),
        ("size=x", "type_error.integer"),
        ("page=1.0", "type_error.integer"),
        ("page=", "type_error.integer"),
    ] {
        assert_eq!(world.get(&format!("{base}?{query}")).await.faults()[0].1, kind, "{query}");
    }
    let linked = world.get(&format!("{base}?q=p&size=2&page=2&sort=-name")).await;
    let links: Vec<_> =
        linked.header("link").split(", ").map(|link| link.split("rel=").last().unwrap().to_owned()).collect();
    assert_eq!(links, ["\"first\"", "\"prev\"", "\"next\"", "\"last\""]);
    assert!(linked.header("link").contains("q=p&size=2&sort=-name&page=3"));
}
