//! The read model beside real Airflows of three releases: scenarios cover what the REST API hides, and after
//! each step one poll makes the read model equal to Airflow. There is a file for each kind of scenario; the
//! DAGs are in `dags/`.

mod causes;
mod definitions;
mod manual_actions;
mod many_mapped_tasks;
mod mirrored_airflow;
mod outcomes;
mod record;
mod unlisted_changes;
mod writer;

use std::panic::{AssertUnwindSafe, resume_unwind};

use futures::FutureExt;
use local::AirflowVersion;
use mirrored_airflow::MirroredAirflow;
use tokio::sync::Mutex;

/// Held by a test while its Airflow with a scheduler runs.
pub(crate) static ONE_SCHEDULER: Mutex<()> = Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn airflow_2_11_is_mirrored_in_all_scenarios() {
    run_exclusively(AirflowVersion::V2_11).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn airflow_3_1_is_mirrored_in_all_scenarios() {
    run_exclusively(AirflowVersion::V3_1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn airflow_3_3_is_mirrored_in_all_scenarios() {
    run_exclusively(AirflowVersion::V3_3).await;
}

/// Runs one Airflow at a time and stops it after its scenarios, since each takes a gigabyte and most of a
/// core.
async fn run_exclusively(version: AirflowVersion) {
    let _lock = ONE_SCHEDULER.lock().await;
    let airflow = MirroredAirflow::open(version).await;
    let outcome = AssertUnwindSafe(run_scenarios(&airflow)).catch_unwind().await;
    airflow.close().await;
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
}

async fn run_scenarios(airflow: &MirroredAirflow) {
    airflow.log("runs of every kind");
    outcomes::begin(airflow).await;
    manual_actions::begin(airflow).await;
    causes::begin(airflow).await;
    many_mapped_tasks::begin(airflow).await;
    airflow.poll().await;
    manual_actions::wait_until_resumed(airflow).await;
    airflow.poll_until_quiet().await;
    airflow.assert_mirrored("after runs of every kind").await;
    record::record(airflow).await;
    outcomes::assert_projected(airflow).await;
    manual_actions::assert_projected(airflow).await;
    causes::assert_projected(airflow).await;

    airflow.log("thousands of mapped tasks, manual actions, and other definitions");
    many_mapped_tasks::grow(airflow).await;
    airflow.poll().await;
    many_mapped_tasks::assert_projected(airflow).await;
    manual_actions::act(airflow).await;
    many_mapped_tasks::retry_all(airflow).await;
    definitions::change(airflow).await;
    airflow.poll_until_quiet().await;
    airflow.assert_mirrored("after manual actions and changed definitions").await;
    manual_actions::assert_actions_projected(airflow).await;
    definitions::assert_projected(airflow).await;
    many_mapped_tasks::assert_projected(airflow).await;

    airflow.log("changes that no list contains");
    unlisted_changes::change(airflow).await;
    airflow.reconcile().await;
    airflow.assert_mirrored("after changes that only a full sync reads").await;
    unlisted_changes::assert_projected(airflow).await;
    airflow.assert_first_sync_mirrors().await;

    airflow.log("a writer of a hundred rows a second");
    writer::write_while_syncing(airflow).await;
    airflow.poll_until_quiet().await;
    airflow.assert_mirrored("after the writer stopped").await;
}
