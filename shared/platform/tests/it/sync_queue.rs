//! The queue of syncs has the syncs that are open, whatever changes them.

use sqlx::PgPool;

/// Asserts that the queue has a row for each open sync and no other, and returns how many.
pub(crate) async fn assert_queue_is_complete(pool: &PgPool) -> i64 {
    let (open, differing): (i64, i64) = sqlx::query_as(
        "with open as (
             select id, connector_id, status, trigger, requested_at, accepted_at from syncs
             where status in ('queued', 'running')
         ), differing as (
             (select * from open except all
              select sync_id, connector_id, status, trigger, requested_at, accepted_at from sync_queue)
             union all
             (select sync_id, connector_id, status, trigger, requested_at, accepted_at from sync_queue
              except all select * from open)
         )
         select (select count(*) from open), (select count(*) from differing)",
    )
    .fetch_one(pool)
    .await
    .unwrap();
    assert_eq!(differing, 0, "rows of the queue differ from {open} open syncs");
    open
}

const CONNECTORS: &str = "
    insert into spaces (id, slug, name) values (md5('space')::uuid, 'space', 'Space');
    insert into connectors (id, space_id, name, connector_type, config, credentials_public)
        select md5('connector' || n)::uuid, md5('space')::uuid, 'airflow ' || n, 'airflow', '{}', '{}'
        from generate_series(0, 2) n";

/// Each statement with the number of open syncs after it.
const CHANGES: [(&str, i64); 12] = [
    (
        "insert into syncs (id, space_id, connector_id, status, trigger, requested_at)
         select md5('sync' || n)::uuid, md5('space')::uuid, md5('connector' || n % 3)::uuid,
             (array['queued', 'running', 'succeeded', 'failed'])[1 + n % 4],
             (array['schedule', 'manual', 'trigger'])[1 + n % 3], now() - n * interval '1 minute'
         from generate_series(0, 39) n",
        20,
    ),
    ("update syncs set accepted_at = now() where trigger = 'manual'", 20),
    ("update syncs set asked_at = now(), \"full\" = true where status = 'queued'", 20),
    ("update syncs set status = 'running', started_at = now() where status = 'queued'", 20),
    ("update syncs set status = 'queued', started_at = null where status = 'running'", 20),
    ("update syncs set requested_at = requested_at - interval '1 hour'", 20),
    ("update syncs set report = '{\"runs_seen\": 1}'", 20),
    ("update syncs set status = 'failed', error = 'cancelled' where trigger = 'manual'", 13),
    ("update syncs set status = 'succeeded' where trigger = 'trigger'", 7),
    ("update syncs set status = 'queued' where status = 'failed' and trigger = 'manual'", 20),
    ("delete from syncs where status in ('succeeded', 'failed')", 20),
    ("delete from syncs", 0),
];

#[tokio::test]
async fn every_change_of_a_sync_changes_the_queue() {
    let pool = local::test_database().await.unwrap().pool;
    sqlx::raw_sql(CONNECTORS).execute(&pool).await.unwrap();
    for (change, open) in CHANGES {
        sqlx::query(change).execute(&pool).await.unwrap();
        assert_eq!(assert_queue_is_complete(&pool).await, open, "{change}");
    }
}

#[tokio::test]
async fn a_change_that_is_rolled_back_leaves_the_queue_as_it_was() {
    let pool = local::test_database().await.unwrap().pool;
    sqlx::raw_sql(CONNECTORS).execute(&pool).await.unwrap();
    let [(insert, open), ..] = CHANGES;
    sqlx::query(insert).execute(&pool).await.unwrap();
    let mut tx = pool.begin().await.unwrap();
    sqlx::query("update syncs set status = 'succeeded'").execute(&mut *tx).await.unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(assert_queue_is_complete(&pool).await, open);
}
