//! The mirror beside real Airflows of three releases: each is led through everything that its API hides, and after
//! each wave one look must make the read model equal to it. One file a theme; their DAGs lie in `dags/`.

mod by_hand;
mod causes;
mod crowd;
mod definitions;
mod outcomes;
mod record;
mod scene;
mod unseen;
mod writer;

use std::panic::{AssertUnwindSafe, resume_unwind};

use futures::FutureExt;
use local::AirflowVersion;
use scene::Scene;
use tokio::sync::Mutex;

#[tokio::test(flavor = "multi_thread")]
async fn airflow_2_11_is_mirrored_whatever_happens_there() {
    alone(AirflowVersion::V2_11).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn airflow_3_1_is_mirrored_whatever_happens_there() {
    alone(AirflowVersion::V3_1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn airflow_3_3_is_mirrored_whatever_happens_there() {
    alone(AirflowVersion::V3_3).await;
}

/// One Airflow at a time, gone when its scenarios are over: each takes a gigabyte and most of a core.
async fn alone(version: AirflowVersion) {
    static ALONE: Mutex<()> = Mutex::const_new(());
    let _alone = ALONE.lock().await;
    let scene = Scene::open(version).await;
    let played = AssertUnwindSafe(play(&scene)).catch_unwind().await;
    scene.close().await;
    if let Err(panic) = played {
        resume_unwind(panic);
    }
}

async fn play(scene: &Scene) {
    scene.say("runs of every kind");
    outcomes::begin(scene).await;
    by_hand::begin(scene).await;
    causes::begin(scene).await;
    crowd::begin(scene).await;
    scene.poll().await;
    by_hand::until_resumed(scene).await;
    scene.poll_until_quiet().await;
    scene.assert_mirrored("after runs of every kind").await;
    record::record(scene).await;
    outcomes::assert_told(scene).await;
    by_hand::assert_told(scene).await;
    causes::assert_told(scene).await;

    scene.say("thousands of mapped tasks, interference by hand, and other definitions");
    crowd::grow(scene).await;
    scene.poll().await;
    crowd::assert_told(scene).await;
    by_hand::interfere(scene).await;
    crowd::try_again(scene).await;
    definitions::change(scene).await;
    scene.poll_until_quiet().await;
    scene.assert_mirrored("after interference by hand and changed definitions").await;
    by_hand::assert_interference_told(scene).await;
    definitions::assert_told(scene).await;
    crowd::assert_told(scene).await;

    scene.say("what no list of changes tells");
    unseen::change(scene).await;
    scene.reconcile().await;
    scene.assert_mirrored("after what only a full sync can see").await;
    unseen::assert_told(scene).await;
    scene.assert_first_sync_mirrors().await;

    scene.say("a writer of a hundred rows a second");
    writer::write_while_syncing(scene).await;
    scene.poll_until_quiet().await;
    scene.assert_mirrored("after the writer stopped").await;
}
