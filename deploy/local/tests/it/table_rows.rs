//! Reads whole tables, to compare the database before and after an operation.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, PgPool};

/// Tables that change while the programs run, that are learned from the others, or that hold Kafka offsets.
const VOLATILE_TABLES: [&str; 22] = [
    "connector_state",
    "expectation_classes",
    "expectations",
    "incident_changes",
    "incidents",
    "incomplete_runs",
    "outbox",
    "pipeline_crawls",
    "pipeline_metrics",
    "pipeline_resumptions",
    "projection_offsets",
    "retention",
    "run_changes",
    "run_counts",
    "run_days",
    "run_samples",
    "run_window_day",
    "run_windows",
    "signals",
    "space_run_counts",
    "sync_queue",
    "syncs",
];

/// The rows of each table, as one text per table.
pub(crate) type TableRows = BTreeMap<String, String>;

/// Reads all tables except [`VOLATILE_TABLES`].
pub(crate) async fn stable_tables(pool: &PgPool) -> TableRows {
    let tables = "select tablename::text from pg_tables where schemaname = 'public'";
    let mut tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(pool).await.unwrap();
    tables.retain(|table| !VOLATILE_TABLES.contains(&table.as_str()));
    assert!(tables.iter().any(|table| table == "comments"), "{tables:?}");
    of(pool, &tables).await
}

/// Reads the same tables without the audit log, which also records the operator's commands.
pub(crate) async fn stable_tables_without_audit(pool: &PgPool) -> TableRows {
    let mut rows = stable_tables(pool).await;
    rows.remove("audit");
    rows
}

/// Reads the tables that are projected from the topics.
pub(crate) async fn read_model(pool: &PgPool) -> TableRows {
    of(pool, &["pipelines", "runs", "task_runs"].map(str::to_owned)).await
}

async fn of(pool: &PgPool, tables: &[String]) -> TableRows {
    let mut rows = TableRows::new();
    for table in tables {
        let all =
            format!("select coalesce(string_agg(t::text, chr(10) order by t::text), '') from \"{table}\" t");
        rows.insert(table.clone(), sqlx::query_scalar(AssertSqlSafe(all)).fetch_one(pool).await.unwrap());
    }
    rows
}

/// Asserts that the tables are equal. The failure names the first row of each table that differs.
pub(crate) fn assert_same(before: &TableRows, after: &TableRows) {
    assert!(before.keys().eq(after.keys()), "tables {:?} became {:?}", before.keys(), after.keys());
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
