//! The order of the messages about an incident, while its channel fails.

use std::time::Duration;

use uuid::Uuid;

use super::NotificationTest;
use super::receiver::{Answer, FakeReceiver};

impl NotificationTest {
    /// Opens an incident of a pipeline, and puts its message into the outbox.
    async fn opened(&self, pipeline: &str) -> Uuid {
        let incident = self.incident(self.pipeline(pipeline, "x", None).await, "failing").await;
        self.dispatch().await;
        self.dispatch_after("31 seconds").await;
        incident
    }

    /// Delivers what is due, after this much time.
    async fn deliver_after(&self, interval: &str) {
        self.pass(interval).await;
        self.deliverer().deliver_due().await.unwrap();
    }

    /// In how many seconds the messages that wait are sent.
    async fn waits(&self) -> Vec<String> {
        self.texts(
            "select round(extract(epoch from next_attempt_at - now()))::text from notification_deliveries
             where status = 'pending' order by created_at",
        )
        .await
    }
}

/// What was received since so many requests, such as `opened sales`.
fn received(receiver: &FakeReceiver, since: usize) -> Vec<String> {
    let describe = |body: serde_json::Value| {
        let incident = &body["data"]["incidents"][0];
        format!("{} {}", incident["change"], incident["pipeline"]["name"]).replace('"', "")
    };
    receiver.received()[since..].iter().map(|request| describe(request.json())).collect()
}

#[tokio::test]
async fn an_end_is_delivered_after_the_opening_that_waits_for_its_retry() {
    let test = NotificationTest::new().await;
    let receiver = FakeReceiver::start(Answer::Status(503)).await;
    test.webhook(&receiver.url).await;
    let sales = test.opened("sales").await;
    for interval in ["0 seconds", "7 seconds", "7 minutes"] {
        test.deliver_after(interval).await;
    }
    assert_eq!(received(&receiver, 0), ["opened sales"; 3]);
    // The receiver works again. Another incident is delivered meanwhile.
    receiver.set_answer(Answer::Status(200));
    test.opened("stock").await;
    test.deliver_after("5 minutes").await;
    assert_eq!(received(&receiver, 3), ["opened stock"]);
    test.change(sales, "counted").await;
    test.dispatch().await;
    test.dispatch_after("1 hour").await;
    test.deliver_after("0 seconds").await;
    assert_eq!(received(&receiver, 4), [""; 0], "what was not reported is not updated");
    test.change(sales, "resolved").await;
    test.dispatch().await;
    test.deliver_after("0 seconds").await;
    assert_eq!(received(&receiver, 4), ["opened sales", "resolved sales"]);
}

#[tokio::test]
async fn an_end_that_is_not_delivered_waits_with_the_opening_and_costs_no_retry() {
    let test = NotificationTest::new().await;
    let receiver = FakeReceiver::start(Answer::Status(503)).await;
    test.webhook(&receiver.url).await;
    let sales = test.opened("sales").await;
    for interval in ["0 seconds", "7 seconds", "7 minutes"] {
        test.deliver_after(interval).await;
    }
    test.change(sales, "resolved").await;
    test.dispatch().await;
    test.deliver_after("5 minutes").await;
    assert_eq!(received(&receiver, 0), ["opened sales"; 4]);
    // The next message that is due finds the first one waiting.
    test.deliver_after("5 minutes").await;
    assert_eq!(received(&receiver, 0).len(), 4);
    let waits = test.waits().await;
    assert_eq!(waits[0], waits[1]);
    let wait: i64 = waits[0].parse().unwrap();
    assert!((20 * 60..=36 * 60).contains(&wait), "half an hour, as after the third attempt: {wait}");
    receiver.set_answer(Answer::Status(200));
    test.deliver_after("40 minutes").await;
    assert_eq!(received(&receiver, 4), ["opened sales", "resolved sales"]);
}

#[tokio::test]
async fn what_is_never_delivered_delays_nothing_for_good() {
    let test = NotificationTest::new().await;
    let receiver = FakeReceiver::start(Answer::Status(503)).await;
    test.webhook(&receiver.url).await;
    let sales = test.opened("sales").await;
    test.sql("update notification_deliveries set retries = 9").await;
    test.deliver_after("0 seconds").await;
    test.change(sales, "resolved").await;
    test.dispatch().await;
    receiver.set_answer(Answer::Status(200));
    test.deliver_after("5 minutes").await;
    assert_eq!(received(&receiver, 1), ["resolved sales"]);
}

#[tokio::test]
async fn many_messages_that_wait_do_not_keep_a_worker_busy() {
    let test = NotificationTest::new().await;
    let receiver = FakeReceiver::start(Answer::Status(503)).await;
    let channel = test.webhook(&receiver.url).await;
    test.opened("sales").await;
    test.deliver_after("0 seconds").await;
    test.sql("update notification_deliveries set next_attempt_at = now() + interval '1 hour'").await;
    for _ in 0..200 {
        let id = test.enqueue(channel).await;
        test.sql(&format!(
            "update notification_deliveries set message =
                 (select message from notification_deliveries order by created_at limit 1)
             where id = '{id}'"
        ))
        .await;
    }
    test.sql("update notification_channels set paused_until = null").await;
    let deliverer = test.deliverer();
    tokio::time::timeout(Duration::from_secs(60), deliverer.deliver_due()).await.unwrap().unwrap();
    assert_eq!(received(&receiver, 0).len(), 1);
    let waits = test.waits().await;
    assert_eq!(waits.len(), 201);
    assert!(waits.iter().all(|wait| *wait == waits[0]), "{waits:?}");
}
