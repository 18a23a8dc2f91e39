//! The queue of syncs is read without the finished ones, and shared with workers of the previous version.

use contract::ids::{ConnectorId, SyncId};
use contract::state::SyncTrigger;
use serde_json::json;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use testkit::SeededSync;
use uuid::Uuid;
use worker::queue::{claim, follow_ups, schedule};
use worker::store::connector_state;

use crate::gauges::{scrape, value};
use crate::test_worker::TestWorker;

#[tokio::test(flavor = "multi_thread")]
async fn finished_syncs_are_read_by_no_tick_no_claim_and_no_count() {
    let test = TestWorker::idle().await;
    test.execute(
        "insert into syncs (id, space_id, connector_id, status, trigger, requested_at, tick_at)
         select gen_random_uuid(), space_id, id, case when n % 10 = 0 then 'failed' else 'succeeded' end,
             'schedule', at, at
         from connectors, generate_series(1, 100000) n, lateral (select now() - n * interval '30 s' as at) x",
    )
    .await;
    test.execute("vacuum analyze syncs").await;
    test.execute("update connector_state set next_due_at = now() - interval '1 second'").await;
    let mut reads = SyncReads::start(&test).await;
    let pool = reads.pool.clone();
    assert_eq!(schedule::enqueue_due(&pool).await.unwrap(), 1);
    assert_eq!(reads.take().await, 0, "a tick");
    follow_ups::enqueue_follow_ups(&pool).await.unwrap();
    assert_eq!(reads.take().await, 0, "a tick for follow-ups");
    assert_eq!(value(&scrape(&pool, test.kafka()).await, "orchestration_syncs_waiting"), 1.0);
    assert_eq!(reads.take().await, 0, "a count");
    let lease = connector_state::lease(&pool, "test", None).await.unwrap().unwrap();
    assert_eq!(reads.take().await, 0, "a lease");
    let mut db = pool.acquire().await.unwrap();
    let runner = &test.worker.runner;
    let claimed = claim::claim(&mut db, lease, &runner.keyring, runner.overlap).await.unwrap().unwrap();
    drop(db);
    assert_eq!(claimed.syncs.len(), 1);
    // It locks the sync and updates it, by its primary key. To plan that, PostgreSQL reads both ends of the
    // index.
    let read = reads.take().await;
    assert!((2..=6).contains(&read), "a claim reads {read}");
    assert!(connector_state::lease(&pool, "other", None).await.unwrap().is_none(), "the lease is held");
    assert_eq!(reads.take().await, 0, "a lease of nothing");
}

/// Counts the rows and index entries of `syncs` that a connection with the worker's role reads.
struct SyncReads {
    pool: PgPool,
    taken: i64,
}

impl SyncReads {
    async fn start(test: &TestWorker) -> Self {
        let pool = PgPoolOptions::new().max_connections(1);
        let pool = pool.connect(&test.settings.database_url).await.unwrap();
        let mut reads = Self { pool, taken: 0 };
        reads.take().await;
        reads
    }

    /// Returns how many have been read since the last call.
    async fn take(&mut self) -> i64 {
        // The connection adds its statistics to those of the table at the end of this statement.
        sqlx::query("select pg_stat_force_next_flush()").execute(&self.pool).await.unwrap();
        let read: i64 = sqlx::query_scalar(
            "select seq_tup_read + (select sum(idx_tup_read)::bigint from pg_stat_user_indexes i
                                    where i.relid = t.relid)
             from pg_stat_user_tables t where relname = 'syncs'",
        )
        .fetch_one(&self.pool)
        .await
        .unwrap();
        read - std::mem::replace(&mut self.taken, read)
    }
}

/// The statements of the version before the queue had a table of its own.
mod previous {
    pub(super) const LEASE: &str = "
        update connector_state set lease_owner = 'previous', lease_epoch = lease_epoch + 1,
            lease_until = clock_timestamp() + interval '15 s'
        where connector_id = (
            select state.connector_id from syncs s
            join connector_state state using (connector_id)
            where s.status in ('queued', 'running')
              and (s.accepted_at is not null or s.requested_at < now() - interval '1 minute')
              and (state.lease_until is null or state.lease_until < now())
            order by s.requested_at limit 1
            for update of state skip locked)
        returning connector_id";
    pub(super) const START: &str = "
        update syncs set status = 'running', started_at = now(), attempts = attempts + 1,
            accepted_at = coalesce(accepted_at, now()), version = nextval('observation_version')
        where id in (
            select id from syncs where connector_id = $1 and status in ('queued', 'running')
              and (accepted_at is not null or requested_at < now() - interval '1 minute')
            order by requested_at, id limit 500 for update)
        returning id";
    pub(super) const REQUEUE: &str = "
        update syncs set status = 'queued', started_at = null, attempts = attempts - 1,
            version = nextval('observation_version')
        where connector_id = $1 and status = 'running' returning id";
    pub(super) const FINISH: &str = "
        update syncs set status = 'succeeded', finished_at = clock_timestamp(), report = '{}',
            version = nextval('observation_version')
        where connector_id = $1 and status = 'running' returning id";
    pub(super) const RELEASE: &str =
        "update connector_state set lease_until = null where connector_id = $1 returning connector_id";
}

/// Executes a statement of the previous version for a connector, and returns how many rows it changed.
async fn execute(test: &TestWorker, statement: &'static str, connector: ConnectorId) -> usize {
    let changed = sqlx::query_scalar::<_, Uuid>(statement).bind(connector);
    changed.fetch_all(&test.worker.runner.pool).await.unwrap().len()
}

async fn lease(test: &TestWorker) -> Option<ConnectorId> {
    let lease = connector_state::lease(&test.worker.runner.pool, "new", None).await.unwrap();
    lease.map(|lease| lease.connector_id)
}

async fn lease_as_previous(test: &TestWorker) -> Option<ConnectorId> {
    sqlx::query_scalar(previous::LEASE).fetch_optional(&test.worker.runner.pool).await.unwrap()
}

async fn enqueue(test: &TestWorker, connector: ConnectorId) -> SyncId {
    let scheduled = SeededSync { trigger: SyncTrigger::Schedule, ..SeededSync::default() };
    testkit::insert_sync(&test.worker.runner.pool, connector, scheduled).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_of_the_previous_version_shares_the_queue() {
    let test = TestWorker::idle().await;
    let first = test.connector;
    let second = testkit::create_connector(&test.pool, "test", "second", json!({})).await;
    enqueue(&test, first).await;
    enqueue(&test, second).await;
    assert_eq!(lease_as_previous(&test).await, Some(first), "the oldest");
    assert_eq!(execute(&test, previous::START, first).await, 1);
    assert_eq!(lease(&test).await, Some(second), "the other one runs in the previous version");
    assert_eq!((lease(&test).await, lease_as_previous(&test).await), (None, None), "both are leased");
    assert_eq!(execute(&test, previous::FINISH, first).await, 1);
    assert_eq!(execute(&test, previous::RELEASE, first).await, 1);
    assert_eq!((lease(&test).await, lease_as_previous(&test).await), (None, None), "the first has ended");

    // What the new version enqueues is claimed by the previous one, and what that one leaves by the new one.
    enqueue(&test, first).await;
    assert_eq!(lease_as_previous(&test).await, Some(first));
    assert_eq!(execute(&test, previous::START, first).await, 1);
    assert_eq!(execute(&test, previous::REQUEUE, first).await, 1);
    assert_eq!(execute(&test, previous::RELEASE, first).await, 1);
    let job = test.claim().await;
    assert_eq!(job.lease.connector_id, first);
    assert_eq!(execute(&test, previous::RELEASE, second).await, 1);
    assert_eq!(lease_as_previous(&test).await, Some(second), "the new version left it to this one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_was_cancelled_or_deleted_in_the_queue_is_not_claimed() {
    let test = TestWorker::idle().await;
    enqueue(&test, test.connector).await;
    test.execute("update syncs set status = 'failed', finished_at = now(), error = 'Ada cancelled it'").await;
    assert_eq!(lease(&test).await, None);
    enqueue(&test, test.connector).await;
    test.execute("delete from syncs").await;
    assert_eq!(lease(&test).await, None);
    enqueue(&test, test.connector).await;
    assert_eq!(lease(&test).await, Some(test.connector));
}
