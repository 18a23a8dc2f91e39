//! Retention: rows past their retention are deleted, others are kept, and deleted rows are not restored by
//! any way.

use chrono::{SubsecRound, TimeDelta, Utc};
use clap::Parser;
use contract::events::{RunObserved, TaskRunObserved};
use contract::state::{RunState, TaskState};
use platform::health::Heartbeat;
use sqlx::PgPool;
use testkit::{FakeProvider, WorkerProcess};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use worker::retention::{self, RetentionConfig};

use crate::test_worker::TestWorker;

/// The stored counts of runs, with the changes that are not added to them yet.
const COUNTED: &str = "select sum(n)::bigint from (
    select n, status, is_deleted from run_counts
    union all select n, status, is_deleted from run_changes) counts";
const COUNTED_FAILED_OR_DELETED: &str = "select sum(n)::bigint from (
    select n, status, is_deleted from run_counts
    union all select n, status, is_deleted from run_changes) counts where status = 'failed' or is_deleted";

#[derive(Parser)]
struct RetentionCli {
    #[command(flatten)]
    retention: RetentionConfig,
}

fn parse(arguments: &[&str]) -> Result<RetentionConfig, clap::Error> {
    let fast = ["test", "--retention-rows-per-second", "1000000"];
    RetentionCli::try_parse_from(fast.iter().chain(arguments)).map(|parse| parse.retention)
}

/// Stores the retention policy, and runs the passes that are due.
pub(crate) async fn apply_policy(pool: &PgPool, arguments: &[&str]) {
    let config = parse(arguments).unwrap();
    retention::store_policy(pool, &config).await.unwrap();
    run_due_pass(pool).await;
}

async fn run_due_pass(pool: &PgPool) {
    let (heartbeat, stop) = (Heartbeat::default(), CancellationToken::new());
    retention::run_due_pass(pool, 1_000_000, &heartbeat, &stop).await.unwrap();
}

/// A run that was due, started and ended so many days ago.
fn run(test: &TestWorker, pipeline: &str, name: &str, days: i64, status: RunState) -> RunObserved {
    let at = (Utc::now() - TimeDelta::days(days)).trunc_subsecs(6);
    let ended_at = status.is_finished().then_some(at);
    RunObserved {
        run_after: Some(at),
        started_at: Some(at),
        ended_at,
        observed_at: at,
        ..test.run(pipeline, name, 1, status)
    }
}

fn task_run_of(test: &TestWorker, run: &RunObserved, task: &str) -> TaskRunObserved {
    let state = if run.status.is_finished() { TaskState::Success } else { TaskState::Running };
    let observed_at = run.observed_at;
    let task_run = test.task_run(&run.pipeline_external_id, &run.external_id, task, -1, state);
    TaskRunObserved { started_at: run.started_at, ended_at: run.ended_at, observed_at, ..task_run }
}

/// Old runs of a daily pipeline and of one that ran once, each with two task runs, and comments on some.
struct OldRuns {
    runs: Vec<RunObserved>,
    task_runs: Vec<TaskRunObserved>,
}

impl OldRuns {
    fn of(test: &TestWorker) -> Self {
        let deleted = RunObserved { deleted: true, ..run(test, "sales", "gone", 200, RunState::Running) };
        let runs = vec![
            run(test, "sales", "old", 100, RunState::Success),
            run(test, "sales", "older", 300, RunState::Failed),
            deleted,
            run(test, "sales", "commented", 100, RunState::Success),
            run(test, "sales", "commented task", 100, RunState::Success),
            run(test, "sales", "goes on", 100, RunState::Running),
            // Due long ago, but executed recently.
            RunObserved {
                ended_at: Some(Utc::now().trunc_subsecs(6)),
                ..run(test, "sales", "caught up", 100, RunState::Success)
            },
            run(test, "sales", "fresh", 5, RunState::Success),
            run(test, "yearly", "once", 300, RunState::Success),
        ];
        let task_runs =
            runs.iter().flat_map(|run| ["a", "b"].map(|task| task_run_of(test, run, task))).collect();
        Self { runs, task_runs }
    }

    async fn project(&self, test: &TestWorker) {
        test.send(&["sales", "yearly"].map(|name| test.pipeline(name, 1))).await;
        test.send(&self.runs).await;
        test.send(&self.task_runs).await;
        test.wait_until_projected().await;
        let user = "insert into users (id, email, name) values (gen_random_uuid(), 'ada@example.org', 'Ada')";
        test.execute(user).await;
        test.execute(
            "insert into comments (id, space_id, run_id, task_run_id, author_id, content)
             select gen_random_uuid(), r.space_id, r.id, case when r.external_id = 'commented task' then t.id
             end, u.id, 'why?'
             from users u, runs r join task_runs t on t.run_id = r.id and t.task_id = 'a'
             where r.external_id like 'commented%'",
        )
        .await;
    }
}

async fn external_ids(pool: &PgPool) -> Vec<String> {
    sqlx::query_scalar("select external_id from runs order by 1").fetch_all(pool).await.unwrap()
}

const KEPT: [&str; 6] = ["caught up", "commented", "commented task", "fresh", "goes on", "once"];

#[tokio::test(flavor = "multi_thread")]
async fn runs_past_retention_are_deleted_with_their_task_runs() {
    let test = TestWorker::start().await;
    OldRuns::of(&test).project(&test).await;
    apply_policy(&test.pool, &["--keep-runs", "30"]).await;
    assert_eq!(external_ids(&test.pool).await, KEPT);
    assert_eq!(test.number("select count(*) from task_runs").await, 12);
    assert_eq!(
        test.number("select count(*) from task_runs t where run_id not in (select id from runs)").await,
        0
    );
    // Totals are updated.
    assert_eq!(test.number(COUNTED).await, 6);
    assert_eq!(test.number(COUNTED_FAILED_OR_DELETED).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_deleted_without_a_retention_setting() {
    let test = TestWorker::start().await;
    OldRuns::of(&test).project(&test).await;
    apply_policy(&test.pool, &[]).await;
    assert_eq!(test.number("select count(*) from runs").await, 9);
    assert_eq!(test.number("select count(*) from task_runs").await, 18);
}

#[tokio::test(flavor = "multi_thread")]
async fn task_runs_may_have_a_shorter_retention_than_runs() {
    let test = TestWorker::start().await;
    OldRuns::of(&test).project(&test).await;
    apply_policy(&test.pool, &["--keep-task-runs", "30", "--keep-runs", "250"]).await;
    let kept = ["caught up", "commented", "commented task", "fresh", "goes on", "gone", "old", "once"];
    assert_eq!(external_ids(&test.pool).await, kept);
    assert_eq!(test.number("select count(*) from task_runs").await, 12);
    assert_eq!(
        test.number(
            "select count(*) from task_runs t join runs r on r.id = t.run_id
             where r.external_id in ('old', 'gone')"
        )
        .await,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_runs_are_not_restored_by_sync_replay_or_rebuild() {
    let test = TestWorker::idle().await;
    let projecting = test.start_another();
    test.worker.start_relay();
    let old_runs = OldRuns::of(&test);
    old_runs.project(&test).await;
    apply_policy(&test.pool, &["--keep-runs", "30"]).await;
    let before = test.read_model().await;
    let published = test.published_records();

    // The provider still lists all of them.
    let provider = FakeProvider::default();
    *provider.pipelines.lock().unwrap() = vec![test.pipeline("sales", 1), test.pipeline("yearly", 1)];
    *provider.changed.lock().unwrap() = true;
    *provider.runs.lock().unwrap() = old_runs.runs.iter().filter(|run| !run.deleted).cloned().collect();
    *provider.task_runs.lock().unwrap() =
        old_runs.task_runs.iter().filter(|task| !task.external_id.contains("gone")).cloned().collect();
    for full in [false, true, false] {
        test.sync(&provider, full).await.unwrap();
    }
    assert_eq!(test.published_records(), published, "no event was published again");
    assert_eq!(test.read_model().await, before);

    projecting.stop().await;
    test.execute("update projection_offsets set next_offset = 0").await;
    let replaying = test.start_another();
    test.wait_for("select sum(next_offset) >= 29 from projection_offsets").await;
    replaying.stop().await;
    assert_eq!(test.read_model().await, before);

    test.run_command_as_owner(&["rebuild"]).await;
    assert_eq!(test.read_model().await, before);

    // A run that is started again at the provider is new.
    let again = run(&test, "sales", "older", 0, RunState::Running);
    provider.runs.lock().unwrap().push(again);
    let projecting = test.start_another();
    test.sync(&provider, false).await.unwrap();
    assert!(external_ids(&test.pool).await.contains(&"older".to_owned()));
    projecting.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_is_read_only_as_far_back_as_runs_are_retained() {
    let test = TestWorker::start().await;
    let provider = FakeProvider::default();
    *provider.pipelines.lock().unwrap() = vec![test.pipeline("sales", 1)];
    apply_policy(&test.pool, &["--keep-runs", "20", "--keep-task-runs", "10"]).await;
    test.sync(&provider, false).await.unwrap();
    let days = |since: chrono::DateTime<Utc>| (Utc::now() - since).num_days();
    let requested_days: Vec<i64> = provider.requested_since.lock().unwrap().drain(..).map(days).collect();
    assert_eq!(requested_days, [20, 10], "of runs and of task runs; history_days is 30");
    // With a longer retention, it is read again.
    apply_policy(&test.pool, &["--keep-runs", "25"]).await;
    test.sync(&provider, false).await.unwrap();
    let requested_days: Vec<i64> = provider.requested_since.lock().unwrap().drain(..).map(days).collect();
    assert_eq!(requested_days, [25, 25]);
    test.sync(&provider, false).await.unwrap();
    assert!(provider.requested_since.lock().unwrap().is_empty(), "the history is read once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_with_an_uncommitted_comment_is_kept() {
    let test = TestWorker::start().await;
    OldRuns::of(&test).project(&test).await;
    let mut writing = test.pool.begin().await.unwrap();
    sqlx::query(
        "insert into comments (id, space_id, run_id, author_id, content)
         select gen_random_uuid(), r.space_id, r.id, u.id, 'just now' from users u,
         runs r where r.external_id = 'old'",
    )
    .execute(&mut *writing)
    .await
    .unwrap();
    // A pass that waits for the open transaction would never end.
    tokio::time::timeout(
        std::time::Duration::from_secs(60),
        apply_policy(&test.pool, &["--keep-runs", "30"]),
    )
    .await
    .unwrap();
    writing.commit().await.unwrap();
    assert!(external_ids(&test.pool).await.contains(&"old".to_owned()));
    test.execute("update retention set next_pass_at = now()").await;
    run_due_pass(&test.pool).await;
    assert!(external_ids(&test.pool).await.contains(&"old".to_owned()));
    // A deleted run accepts no comment.
    let late = sqlx::query(
        "insert into comments (id, space_id, run_id, author_id, content)
         select gen_random_uuid(), s.id, $1, u.id, 'too late' from users u, spaces s",
    )
    .bind(Uuid::new_v4())
    .execute(&test.pool)
    .await
    .unwrap();
    assert_eq!(late.rows_affected(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_deletes_in_batches_and_runs_on_one_worker() {
    let test = TestWorker::start().await;
    test.execute(
        "insert into runs (id, space_id, connector_id, pipeline_id, provider, external_id, version,
             fingerprint, log_offset, observed_at, status, run_type, run_after, ended_at, conf)
         select gen_random_uuid(), c.space_id, c.id, md5('p' || n % 3)::uuid, 'airflow', 'r' || n, 1, '', 0,
             at, case when n % 100 = 0 then 'running' else 'success' end, 'scheduled', at, at, '{}'
         from connectors c, generate_series(1, 2600) n,
             lateral (select now() - (40 + n / 200) * interval '1 day' as at) x",
    )
    .await;
    // 1,200 task runs of one run: more than a batch.
    test.execute(
        "insert into task_runs (id, space_id, connector_id, pipeline_id, run_id, provider, external_id,
             version, fingerprint, log_offset, observed_at, task_id, map_index, name, status, try_number,
             max_tries, deleted_at)
         select gen_random_uuid(), r.space_id, r.connector_id, r.pipeline_id, r.id, 'airflow', 't' || n, 1,
             '', 0, r.observed_at, 't', n, 't', 'success', 1, 0, case when n % 2 = 0 then r.observed_at end
         from runs r, generate_series(1, 1200) n where r.external_id = 'r7'",
    )
    .await;
    retention::store_policy(&test.pool, &parse(&["--keep-runs", "30"]).unwrap()).await.unwrap();
    test.execute("update retention set next_pass_at = now() + interval '1 minute'").await;
    run_due_pass(&test.pool).await;
    assert_eq!(test.number("select count(*) from runs").await, 2_600, "another worker runs the pass");
    test.execute("update retention set next_pass_at = now()").await;
    run_due_pass(&test.pool).await;
    assert_eq!(test.number("select count(*) from task_runs").await, 0);
    // Running runs stay, and the last run of each of the three pipelines.
    let remaining = test.number("select count(*) from runs").await;
    assert_eq!(remaining, test.number("select count(*) from runs where status = 'running'").await + 3);
    assert_eq!(test.number(COUNTED).await, remaining);
    test.wait_for(
        "select bool_and(next_pass_at > now() + interval '5 hours') from retention where days is not null",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn syncs_triggers_and_replayed_dead_letters_past_retention_are_deleted() {
    let test = TestWorker::start().await;
    for statement in [
        "insert into syncs (id, space_id, connector_id, status, trigger, requested_at)
         select gen_random_uuid(), c.space_id, c.id, status, 'schedule', now() - days * interval '1 day'
         from connectors c, (values ('succeeded', 100), ('failed', 50), ('succeeded', 49), ('queued',
         60)) s(status, days)",
        "insert into users (id, email, name) values (gen_random_uuid(), 'ada@example.org', 'Ada')",
        "insert into triggers (id, space_id, connector_id, pipeline_id, user_id, run_external_id, run_id,
             idempotency_key, command_sha256, attempt_until, created_at)
         select gen_random_uuid(), c.space_id, c.id, gen_random_uuid(), u.id, 'r', gen_random_uuid(),
         days::text, '', now(), now() - days * interval '1 day' from connectors c, users u, unnest(array[1,
         29, 31]) days",
        "insert into dead_letters (id, topic, partition, \"offset\", headers, error, created_at, replayed_at)
         select gen_random_uuid(), 't', 0, n, '{}', 'e', now() - interval '200 days',
         now() - days * interval '1 day'
         from unnest(array[1, 31, null]) with ordinality letters(days, n)",
    ] {
        test.execute(statement).await;
    }
    apply_policy(&test.pool, &[]).await;
    // The last finished sync stays, and so does a queued one.
    let syncs = "select string_agg(status, ' ' order by requested_at) from syncs";
    let syncs: String = sqlx::query_scalar(syncs).fetch_one(&test.pool).await.unwrap();
    assert_eq!(syncs, "queued succeeded");
    let idempotency_keys = "select string_agg(idempotency_key, ' ' order by created_at desc) from triggers";
    let idempotency_keys: String = sqlx::query_scalar(idempotency_keys).fetch_one(&test.pool).await.unwrap();
    assert_eq!(idempotency_keys, "1 29");
    assert_eq!(test.number("select count(*) from dead_letters").await, 2);
}

/// They are most of all syncs; the other ones tell what happened.
#[tokio::test(flavor = "multi_thread")]
async fn scheduled_syncs_that_found_nothing_are_deleted_after_a_day() {
    let test = TestWorker::start().await;
    test.execute(
        "insert into syncs (id, space_id, connector_id, status, trigger, requested_at, report, error)
         select gen_random_uuid(), c.space_id, c.id, s.status, trigger, now() - hours * interval '1 hour',
             jsonb_build_object('events_published', published), s.name
         from connectors c, (values
             ('quiet', 'succeeded', 'schedule', 25, 0), ('of today', 'succeeded', 'schedule', 23, 0),
             ('changed', 'succeeded', 'schedule', 60, 7), ('failed', 'failed', 'schedule', 50, 0),
             ('manual', 'succeeded', 'manual', 40, 0), ('queued', 'queued', 'schedule', 30, 0),
             ('followed', 'succeeded', 'trigger', 70, 0)) s(name, status, trigger, hours, published)",
    )
    .await;
    test.execute("update syncs set report = '{}' where error = 'quiet'").await;
    apply_policy(&test.pool, &[]).await;
    let kept = "select string_agg(error, ',' order by requested_at) from syncs";
    let kept: String = sqlx::query_scalar(kept).fetch_one(&test.pool).await.unwrap();
    assert_eq!(kept, "followed,changed,failed,manual,queued,of today");
    // The latest sync of a connector is kept.
    test.execute("delete from syncs where error <> 'of today'").await;
    test.execute("update syncs set requested_at = now() - interval '9 days'").await;
    test.execute("update retention set next_pass_at = now()").await;
    run_due_pass(&test.pool).await;
    assert_eq!(test.number("select count(*) from syncs").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn running_workers_apply_the_newest_policy() {
    let test = TestWorker::start().await;
    test.execute("update connectors set is_active = false").await;
    OldRuns::of(&test).project(&test).await;
    {
        let _first = WorkerProcess::start(&test.settings, &["--keep-runs", "250"]).await;
        test.wait_for("select count(*) = 8 from runs").await;
    }
    let _second = WorkerProcess::start(&test.settings, &["--keep-runs", "30"]).await;
    let _third = WorkerProcess::start(&test.settings, &["--keep-runs", "30"]).await;
    test.wait_for("select count(*) = 6 from runs").await;
    assert_eq!(external_ids(&test.pool).await, KEPT);
}

#[test]
fn an_invalid_retention_is_rejected_with_an_error_message() {
    for (flag, value, least) in
        [("--keep-runs", "0", "1"), ("--keep-syncs", "7", "8"), ("--keep-triggers", "never", "2")]
    {
        let error = parse(&[flag, value]).unwrap_err().to_string();
        assert!(
            error.contains(&format!("must be `forever` or a number of days from {least} to 36500")),
            "{error}"
        );
    }
    let longer_task_runs = parse(&["--keep-runs", "30", "--keep-task-runs", "31"]).unwrap();
    assert!(longer_task_runs.check().unwrap_err().to_string().contains("task runs go with their run"));
    assert!(parse(&["--keep-task-runs", "31"]).unwrap().check().is_ok());
    assert!(parse(&["--keep-runs", "30", "--keep-task-runs", "forever"]).unwrap().check().is_ok());
}
