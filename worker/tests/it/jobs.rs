//! Requests and schedules become jobs, each exactly once.

use chrono::{DateTime, TimeDelta, Utc};
use contract::events::{Record, SyncRequested, Topic};
use contract::ids::{PipelineId, RunId, SyncId};
use contract::state::{RunState, SyncStatus};
use provider::ProviderError;
use uuid::Uuid;
use worker::queue::{claim, finish, follow_ups, schedule};
use worker::store::connector_state;
use worker::sync::{SyncError, SyncProgress};

use crate::syncing::small_provider;
use crate::test_worker::TestWorker;

fn request(test: &TestWorker, id: Uuid) -> SyncRequested {
    SyncRequested {
        id: SyncId(id),
        connector_id: test.connector,
        full: false,
        accept_mass_deletion: false,
        space: String::new(),
        observed_at: chrono::Utc::now(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_on_the_topic_becomes_one_job_and_a_malformed_one_a_dead_letter() {
    let test = TestWorker::idle().await;
    test.worker.start_requests();
    let first = request(&test, Uuid::now_v7());
    let mut malformed = Record::of(&first).unwrap();
    malformed.payload = b"sync everything, please".to_vec();
    let of_unknown_connector =
        SyncRequested { connector_id: Uuid::nil().into(), ..request(&test, Uuid::now_v7()) };
    let mut minimal = Record::of(&first).unwrap();
    let other = Uuid::now_v7();
    minimal.payload =
        serde_json::to_vec(&serde_json::json!({"id": other, "connector_id": test.connector, "full": true}))
            .unwrap();
    let records = [
        Record::of(&first).unwrap(),
        malformed,
        Record::of(&of_unknown_connector).unwrap(),
        Record::of(&first).unwrap(),
        minimal,
    ];
    assert!(records.iter().all(|record| record.topic == Topic::SyncRequests));
    test.producer().send(&records).await.unwrap();
    test.wait_for("select count(*) = 2 from dead_letters").await;
    test.wait_for("select count(*) = 2 from syncs where accepted_at is not null").await;
    let (id, full): (Uuid, bool) =
        sqlx::query_as(r#"select id, "full" from syncs where "full""#).fetch_one(&test.pool).await.unwrap();
    assert_eq!((id, full), (other, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inactive_connector_accepts_only_requests_from_before() {
    let test = TestWorker::idle().await;
    test.worker.start_requests();
    let before = test.enqueue_sync(false, false).await;
    test.execute("update connectors set is_active = false").await;
    test.execute("update syncs set accepted_at = null").await;
    let requests = [request(&test, Uuid::now_v7()), request(&test, before.0)];
    test.producer().send(&requests.map(|request| Record::of(&request).unwrap())).await.unwrap();
    test.wait_for("select count(*) = 1 from syncs where accepted_at is not null").await;
    let error: String =
        sqlx::query_scalar("select error from dead_letters").fetch_one(&test.pool).await.unwrap();
    assert!(error.contains("is switched off; set is_active first"), "{error}");
    assert_eq!(test.number("select count(*) from syncs").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_was_made_when_it_was_read_whatever_its_sender_says() {
    let test = TestWorker::idle().await;
    test.worker.start_requests();
    let ancient = SyncRequested { observed_at: DateTime::UNIX_EPOCH, ..request(&test, Uuid::now_v7()) };
    let future =
        SyncRequested { observed_at: Utc::now() + TimeDelta::days(9_000), ..request(&test, Uuid::now_v7()) };
    let before = Utc::now();
    let records = [&ancient, &future, &ancient].map(|request| Record::of(request).unwrap());
    test.producer().send(&records).await.unwrap();
    test.wait_for("select count(*) = 2 from syncs where accepted_at is not null").await;
    let requested: Vec<DateTime<Utc>> =
        sqlx::query_scalar("select requested_at from syncs").fetch_all(&test.pool).await.unwrap();
    assert!(requested.iter().all(|at| *at >= before && *at <= Utc::now()), "{requested:?} after {before}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_requests_for_one_connector_are_claimed_in_jobs_of_bounded_size() {
    let test = TestWorker::idle().await;
    test.worker.start_requests();
    let requests: Vec<_> = (0..1_200).map(|_| Record::of(&request(&test, Uuid::now_v7())).unwrap()).collect();
    test.producer().send(&requests).await.unwrap();
    test.wait_for("select count(*) = 1200 from syncs where accepted_at is not null").await;
    let mut sizes = Vec::new();
    while test.number("select count(*) from syncs where status = 'queued'").await > 0 {
        let job = test.claim().await;
        sizes.push(job.syncs.len());
        finish::fail(
            &test.worker.runner.pool,
            job.lease,
            &job.syncs,
            &SyncError::Deleted,
            &SyncProgress::default(),
        )
        .await
        .unwrap();
    }
    assert_eq!(sizes, [500, 500, 200]);
    assert_eq!(test.number("select count(*) from syncs where status = 'failed'").await, 1_200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_completes_waiting_syncs_in_bounded_numbers() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    let job = test.enqueue_and_claim(false).await;
    test.execute(
        "insert into syncs (id, space_id, connector_id, status, trigger, \"full\", accept_mass_deletion,
             requested_at, accepted_at)
         select gen_random_uuid(), space_id, id, 'queued', 'manual', false, false, now(), now()
         from connectors, generate_series(1, 1200)",
    )
    .await;
    test.sync_job(&provider, &job).await.unwrap();
    let largest = "select max(syncs) from (
        select count(*) as syncs from syncs where status = 'succeeded' group by xmin::text) by_transaction";
    assert_eq!(test.number(largest).await, 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reason_of_a_failed_sync_has_a_bounded_length() {
    let test = TestWorker::idle().await;
    let job = test.enqueue_and_claim(false).await;
    let error = SyncError::Provider(ProviderError::Malformed { reason: "ß".repeat(1 << 20) });
    let pool = &test.worker.runner.pool;
    finish::fail(pool, job.lease, &job.syncs, &error, &SyncProgress::default()).await.unwrap();
    let failed = "select max(length(error))::bigint from syncs where status = 'failed'";
    assert_eq!(test.number(failed).await, 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_was_lost_starts_no_sync() {
    let test = TestWorker::idle().await;
    test.enqueue_sync(false, false).await;
    let runner = &test.worker.runner;
    let lost = connector_state::lease(&runner.pool, "first", None).await.unwrap().unwrap();
    test.execute("update connector_state set lease_until = now() - interval '1 second'").await;
    let held = connector_state::lease(&runner.pool, "second", None).await.unwrap().unwrap();
    let mut db = runner.pool.acquire().await.unwrap();
    assert!(claim::claim(&mut db, lost, &runner.keyring, runner.overlap).await.unwrap().is_none());
    assert_eq!(test.number("select count(*) from syncs where status = 'queued'").await, 1);
    assert!(claim::claim(&mut db, held, &runner.keyring, runner.overlap).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_job_claims_all_waiting_syncs_and_an_expired_lease_loses_none() {
    let test = TestWorker::idle().await;
    test.enqueue_sync(false, false).await;
    let job = test.enqueue_and_claim(true).await;
    assert_eq!(job.syncs.len(), 2);
    assert!(job.full_since.is_some(), "one of the syncs is full");
    let lease = worker::store::connector_state::lease(&test.worker.runner.pool, "other", None).await.unwrap();
    assert!(lease.is_none(), "the lease is held");
    test.execute("update connector_state set lease_until = now() - interval '1 second'").await;
    let again = test.enqueue_and_claim(false).await;
    assert_eq!(again.syncs.len(), 3, "the syncs of the expired lease are claimed again");
    assert!(again.lease.epoch > job.lease.epoch);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_sync_reads_histories_again_that_are_older_than_its_last_request() {
    let test = TestWorker::idle().await;
    test.enqueue_sync(true, false).await;
    test.execute("update syncs set requested_at = '2020-01-01Z', asked_at = '2021-01-01Z'").await;
    let since = test.claim().await.full_since.unwrap();
    assert_eq!(since.to_rfc3339(), "2021-01-01T00:00:00+00:00");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_of_a_deleted_connector_fails_with_a_reason() {
    let test = TestWorker::idle().await;
    test.enqueue_sync(false, false).await;
    test.execute("update connectors set deleted_at = now()").await;
    let outcome = test.worker.runner.run_next(None, &tokio::sync::watch::Sender::default()).await.unwrap();
    assert_eq!(
        outcome.unwrap().unwrap_err().to_string(),
        "The connector was deleted; nothing is synced from it any more."
    );
    assert_eq!(test.number("select count(*) from syncs where status = 'failed'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_is_enqueued_once_by_many_workers_and_missed_ticks_are_counted() {
    let test = TestWorker::idle().await;
    test.execute(
        "update connector_state set next_due_at = date_trunc('second', now()) - interval '9 seconds'",
    )
    .await;
    let ticks =
        futures::future::join_all((0..8).map(|_| schedule::enqueue_due(&test.worker.runner.pool))).await;
    let enqueued: usize = ticks.into_iter().map(Result::unwrap).sum();
    assert_eq!(enqueued, 1);
    assert_eq!(test.number("select count(*) from syncs where trigger = 'schedule'").await, 1);
    let missed = test.number("select missed_ticks from connector_state").await;
    assert!((9..30).contains(&missed), "{missed}");
    test.wait_for("select next_due_at > now() - interval '1 second' from connector_state").await;
}

/// Inserts the command of a user who has triggered this run.
pub(crate) async fn insert_trigger(test: &TestWorker, pipeline: &str, run: &str) {
    sqlx::query(
        "with ada as (
             insert into users (id, email, name) values (gen_random_uuid(), 'ada@example.org', 'Ada')
             returning id)
         insert into triggers (id, space_id, connector_id, pipeline_id, user_id, run_external_id, run_id,
             command_sha256, attempt_until)
         select gen_random_uuid(), c.space_id, c.id, $1, ada.id, $3, $2, '', now() from ada, connectors c",
    )
    .bind(PipelineId::of(test.connector, pipeline))
    .bind(RunId::of(test.connector, pipeline, run))
    .bind(run)
    .execute(&test.pool)
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_triggered_run_is_followed_up_for_a_day_whatever_its_dates() {
    let test = TestWorker::idle().await;
    let pool = &test.worker.runner.pool;
    insert_trigger(&test, "sales", "r1").await;
    test.worker.start_projecting();
    let run = test.run("sales", "r1", 1, RunState::Queued);
    test.send(std::slice::from_ref(&run)).await;
    test.wait_for("select count(*) = 1 from runs").await;
    for (year, age, expected) in [("2020", "1 minute", 1), ("2099", "1 minute", 1), ("2099", "2 days", 0)] {
        let change_dates = format!(
            "update runs set logical_date = '{year}-01-01Z', run_after = null, queued_at = null,
                 started_at = null, triggered_by_id = (select id from users);
             update triggers set created_at = now() - interval '{age}'; delete from syncs"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(change_dates)).execute(&test.pool).await.unwrap();
        assert_eq!(follow_ups::enqueue_follow_ups(pool).await.unwrap(), expected, "{year}, {age} ago");
    }
    test.execute("update triggers set created_at = now(); update connector_state set confirmed_at = now()")
        .await;
    assert_eq!(follow_ups::enqueue_follow_ups(pool).await.unwrap(), 0, "the run was confirmed just now");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_has_a_reason_and_releases_the_lease() {
    let test = TestWorker::idle().await;
    let sync = test.enqueue_sync(false, false).await;
    let outcome =
        test.worker.runner.run_next(None, &tokio::sync::watch::Sender::default()).await.unwrap().unwrap();
    assert!(outcome.is_err(), "no server listens at the address");
    let (status, error): (SyncStatus, String) =
        sqlx::query_as("select status, error from syncs where id = $1")
            .bind(sync)
            .fetch_one(&test.pool)
            .await
            .unwrap();
    assert_eq!(status, SyncStatus::Failed);
    assert!(!error.is_empty());
    assert_eq!(test.number("select count(*) from connector_state where lease_until is null").await, 1);
}
