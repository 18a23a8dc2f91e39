//! A backup that is taken while the worker writes, restored by the commands of the documents.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use contract::state::RunState;
use sqlx::PgPool;
use testkit::ProgramSettings;
use tokio_util::sync::CancellationToken;

use crate::test_worker::{TestWorker, read_model};

const TIMEOUT: Duration = Duration::from_secs(120);
/// Runs that are written after the backup's end, at least.
const RUNS: i64 = 100;

/// What was written while the backup was taken, and after it, is in the topics from the offsets of the
/// backup on.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_is_restored_without_a_gap() {
    let test = TestWorker::start().await;
    let folder = tempfile::tempdir().unwrap();
    let dump = folder.path().join("orchestration.dump");
    let is_enough = CancellationToken::new();
    let backup = async {
        test.wait_for("select count(*) > 100 from runs where status = 'success'").await;
        run("pg_dump", &["--format=custom", "--file", dump.to_str().unwrap(), test.owner_url()]).await;
        let before = test.number("select count(*) from runs").await;
        testkit::eventually("more runs are projected", TIMEOUT, async || {
            test.number("select count(*) from runs").await >= before + RUNS
        })
        .await;
        is_enough.cancel();
        before
    };
    let (sent, in_backup) = tokio::join!(send_runs(&test, &is_enough), backup);
    testkit::eventually("all runs are projected", TIMEOUT, async || {
        test.number("select count(*) from runs where status = 'success'").await == sent
    })
    .await;
    test.worker.runner.stop.cancel();

    let restored = restore(&test, &dump).await;
    let db = PgPool::connect(&restored).await.unwrap();
    let runs: i64 = sqlx::query_scalar("select count(*) from runs").fetch_one(&db).await.unwrap();
    assert!(runs <= in_backup && in_backup < sent, "{runs} in the backup, {in_backup} after it, of {sent}");

    let worker = test.open_worker(&restored, &[]);
    worker.start_projecting();
    testkit::eventually("the topics are read from the backup's offsets on", TIMEOUT, async || {
        read_model(&db).await == read_model(&test.pool).await
    })
    .await;
    let counted =
        "select sum(n)::bigint from (select n from run_counts union all select n from run_changes) c";
    assert_eq!(sqlx::query_scalar::<_, i64>(counted).fetch_one(&db).await.unwrap(), sent);
    worker.runner.stop.cancel();
}

/// Restores a dump into a database of its own, as the documents say; returns its URL.
async fn restore(test: &TestWorker, dump: &Path) -> String {
    // Its name begins like that of the test's own database, so that it is dropped like that one.
    let name: String = sqlx::query_scalar("select left(current_database(), 50) || '_restored'")
        .fetch_one(&test.pool)
        .await
        .unwrap();
    let admin = local::postgres().await.unwrap();
    let restored = local::ensure_database(&admin, &name).await.unwrap();
    let options = ["--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction", "--dbname"];
    run("pg_restore", &[&options[..], &[&restored, dump.to_str().unwrap()]].concat()).await;
    let settings = ProgramSettings { database_url: restored.clone(), ..test.settings.clone() };
    testkit::stdout_of(settings.api(&["after-restore"]).await).await;
    restored
}

/// Sends runs that begin and end until there are enough; returns how many.
async fn send_runs(test: &TestWorker, is_enough: &CancellationToken) -> i64 {
    let mut version = 0;
    let mut runs = 0;
    while !is_enough.is_cancelled() {
        let name = format!("r{runs}");
        for status in [RunState::Running, RunState::Success] {
            version += 1;
            test.send(&[test.run("sales", &name, version, status)]).await;
        }
        runs += 1;
    }
    runs
}

/// Runs a program that is distributed with PostgreSQL.
async fn run(program: &str, arguments: &[&str]) {
    let mut command = Command::new(local::postgres_program(program).await.unwrap());
    command.args(arguments);
    testkit::stdout_of(command).await;
}
