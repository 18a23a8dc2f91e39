//! After a loss of Kafka, what the provider still has is published once more.

use crate::syncing::small_provider;
use crate::test_worker::TestWorker;

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_the_provider_has_is_published_again() {
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    let first = test.sync(&provider, true).await.unwrap().report;
    assert!(first.events_published > 10);
    let entities = "select (select count(*) from pipelines) + (select count(*) from runs)
        + (select count(*) from task_runs)";
    let entities = test.number(entities).await;
    assert_eq!(test.sync(&provider, true).await.unwrap().report.events_published, 0, "nothing has changed");
    test.execute(
        "update connector_state set published_at = now(),
             published_offsets = '[{\"topic\": \"t\", \"partition\": 0, \"next_offset\": 9}]'",
    )
    .await;
    let output = test.run_command(&["republish"]).await;
    assert!(output.contains("1 full syncs") && output.contains(&format!("of {entities} ")), "{output}");
    let scheduled =
        "select count(*) from connector_state where full_sync_at <= now() and published_offsets is null";
    assert_eq!(test.number(scheduled).await, 1);
    let again = test.sync(&provider, true).await.unwrap().report;
    assert_eq!(again.events_published, first.events_published);
    assert_eq!(test.sync(&provider, true).await.unwrap().report.events_published, 0);
}
