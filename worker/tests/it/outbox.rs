//! The relay of the outbox: a batch is bounded in bytes, and all records are sent in the end.

use contract::events::RunObserved;
use contract::state::RunState;
use platform::outbox;

use crate::test_worker::TestWorker;

#[tokio::test(flavor = "multi_thread")]
async fn large_records_are_relayed_in_small_batches() {
    let test = TestWorker::idle().await;
    let mut db = test.pool.acquire().await.unwrap();
    for number in 0..10 {
        let conf = serde_json::json!({"text": "x".repeat(1 << 20)}).into();
        let run = test.run("sales", &format!("r{number}"), 1, RunState::Success);
        outbox::enqueue(&mut db, &RunObserved { conf, ..run }).await.unwrap();
    }
    let mut batches = Vec::new();
    while batches.last() != Some(&0) {
        batches.push(outbox::relay(&test.pool, test.producer()).await.unwrap());
    }
    assert_eq!(batches, [4, 4, 2, 0]);
    assert_eq!(test.published_records(), 10);
}
