//! Whole tables, to be compared before and after.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, PgPool};

/// What changes by itself while the programs run, or names places in Kafka.
const MOVING: [&str; 7] = [
    "connector_state",
    "outbox",
    "pipeline_crawls",
    "pipeline_metrics",
    "projection_offsets",
    "retention",
    "syncs",
];

/// The rows of tables, each as one text.
pub(crate) type Rows = BTreeMap<String, String>;

/// All tables but those that move.
pub(crate) async fn lasting(pool: &PgPool) -> Rows {
    let tables = "select tablename::text from pg_tables where schemaname = 'public'";
    let mut tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(pool).await.unwrap();
    tables.retain(|table| !MOVING.contains(&table.as_str()));
    assert!(tables.iter().any(|table| table == "comments"), "{tables:?}");
    of(pool, &tables).await
}

/// The same without the trail of who did what, in which an operator's own acts are written down too.
pub(crate) async fn lasting_but_audit(pool: &PgPool) -> Rows {
    let mut rows = lasting(pool).await;
    rows.remove("audit");
    rows
}

/// What the topics say.
pub(crate) async fn read_model(pool: &PgPool) -> Rows {
    of(pool, &["pipelines", "runs", "task_runs"].map(str::to_owned)).await
}

async fn of(pool: &PgPool, tables: &[String]) -> Rows {
    let mut rows = Rows::new();
    for table in tables {
        let all =
            format!("select coalesce(string_agg(t::text, chr(10) order by t::text), '') from \"{table}\" t");
        rows.insert(table.clone(), sqlx::query_scalar(AssertSqlSafe(all)).fetch_one(pool).await.unwrap());
    }
    rows
}

/// Fails with the first row of each table that is not as it was.
pub(crate) fn assert_same(before: &Rows, after: &Rows) {
    assert!(before.keys().eq(after.keys()), "{:?} became {:?}", before.keys(), after.keys());
    let changed: Vec<_> = before
        .iter()
        .filter_map(|(table, rows)| {
            let first = rows.lines().zip(after[table].lines()).find(|(old, new)| old != new);
            (rows != &after[table]).then_some((
                table,
                rows.lines().count(),
                after[table].lines().count(),
                first,
            ))
        })
        .collect();
    assert!(changed.is_empty(), "table, rows before and after, the first that differs: {changed:#?}");
}
