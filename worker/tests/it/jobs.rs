//! Requests and schedules become jobs: none lost, none twice.

use shared::events::{Record, SyncRequested, Topic};
use shared::ids::SyncId;
use shared::state::SyncStatus;
use uuid::Uuid;
use worker::sync::schedule;

use crate::stage::Stage;

fn request(stage: &Stage, id: Uuid) -> SyncRequested {
    SyncRequested {
        id: SyncId(id),
        connector_id: stage.connector,
        full: false,
        accept_mass_deletion: false,
        space: String::new(),
        observed_at: chrono::Utc::now(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_from_anyone_becomes_one_job_and_nonsense_a_dead_letter() {
    let stage = Stage::empty().await;
    stage.parts.start_requests();
    let asked = request(&stage, Uuid::now_v7());
    let mut nonsense = Record::of(&asked).unwrap();
    nonsense.payload = b"sync everything, please".to_vec();
    let stranger = SyncRequested { connector_id: Uuid::nil().into(), ..request(&stage, Uuid::now_v7()) };
    let mut bare = Record::of(&asked).unwrap();
    let other = Uuid::now_v7();
    bare.payload =
        serde_json::to_vec(&serde_json::json!({"id": other, "connector_id": stage.connector, "full": true}))
            .unwrap();
    let records = [
        Record::of(&asked).unwrap(),
        nonsense,
        Record::of(&stranger).unwrap(),
        Record::of(&asked).unwrap(),
        bare,
    ];
    assert!(records.iter().all(|record| record.topic == Topic::SyncRequests));
    stage.producer().send(&records).await.unwrap();
    stage.until("select count(*) = 2 from dead_letters").await;
    stage.until("select count(*) = 2 from syncs where accepted_at is not null").await;
    let (id, full): (Uuid, bool) =
        sqlx::query_as(r#"select id, "full" from syncs where "full""#).fetch_one(&stage.pool).await.unwrap();
    assert_eq!((id, full), (other, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sync_serves_every_request_that_waits_and_a_lost_worker_loses_none() {
    let stage = Stage::empty().await;
    stage.ask(false, false).await;
    let job = stage.lease(true).await;
    assert_eq!(job.syncs.len(), 2);
    assert!(job.full_since.is_some(), "one of them asked for everything");
    let lease = worker::sync::jobs::lease(&stage.parts.runner.pool, "other", None).await.unwrap();
    assert!(lease.is_none(), "the lease is held");
    sqlx::query("update connector_state set lease_until = now() - interval '1 second'")
        .execute(&stage.pool)
        .await
        .unwrap();
    let again = stage.lease(false).await;
    assert_eq!(again.syncs.len(), 3, "what the lost worker had begun is begun again");
    assert!(again.epoch > job.epoch);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_fires_once_across_workers_and_missed_ones_become_one() {
    let stage = Stage::empty().await;
    sqlx::query(
        "update connector_state set next_due_at = date_trunc('second', now()) - interval '9 seconds'",
    )
    .execute(&stage.pool)
    .await
    .unwrap();
    let ticks = futures::future::join_all((0..8).map(|_| schedule::tick(&stage.parts.runner.pool))).await;
    let made: usize = ticks.into_iter().map(Result::unwrap).sum();
    assert_eq!(made, 1);
    assert_eq!(stage.number("select count(*) from syncs where trigger = 'schedule'").await, 1);
    let missed = stage.number("select missed_ticks from connector_state").await;
    assert!((9..30).contains(&missed), "{missed}");
    stage.until("select next_due_at > now() - interval '1 second' from connector_state").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_fails_ends_readable_with_a_reason() {
    let stage = Stage::empty().await;
    let sync = stage.ask(false, false).await;
    let outcome =
        stage.parts.runner.run_next(None, &tokio::sync::watch::Sender::default()).await.unwrap().unwrap();
    assert!(outcome.is_err(), "nothing listens there");
    let (status, error): (SyncStatus, String) =
        sqlx::query_as("select status, error from syncs where id = $1")
            .bind(sync)
            .fetch_one(&stage.pool)
            .await
            .unwrap();
    assert_eq!(status, SyncStatus::Failed);
    assert!(!error.is_empty());
    assert_eq!(stage.number("select count(*) from connector_state where lease_until is null").await, 1);
}
