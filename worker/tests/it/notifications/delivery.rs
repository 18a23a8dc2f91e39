//! How messages reach their receivers: in order, from several workers, and after a worker was killed.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use platform::health::Heartbeat;
use platform::notifications::ChannelSecrets;
use serde_json::json;
use testkit::eventually;

use super::receiver::{Answer, FakeReceiver};
use super::{NotificationTest, address};

const TIMEOUT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_message_reaches_every_type_of_channel_in_its_form() {
    let test = NotificationTest::new().await;
    let receiver = FakeReceiver::start(Answer::Status(202)).await;
    let url = receiver.url.as_str();
    test.webhook(url).await;
    test.channel("slack", json!({"host": "x"}), Some(address(url))).await;
    test.channel("teams", json!({"host": "x"}), Some(address(url))).await;
    let key = ChannelSecrets::RoutingKey { routing_key: "the key".into() };
    test.channel("pagerduty", json!({ "url": url }), Some(key)).await;
    let incident = test.incident(test.pipeline("sales", "x", Some("critical")).await, "failing").await;
    test.dispatch().await;
    test.dispatch_after("31 seconds").await;
    test.deliverer().deliver_due().await.unwrap();
    let received: Vec<_> = receiver.received().iter().map(super::receiver::ReceivedRequest::json).collect();
    let find = |field: &str| received.iter().find(|body| !body[field].is_null()).unwrap();
    assert_eq!(received.len(), 4);
    assert_eq!(find("data")["type"], "incident.opened");
    assert_eq!(find("blocks")["text"], "Failing: sales");
    assert_eq!(find("attachments")["type"], "message");
    let event = find("event_action");
    assert_eq!(
        (&event["event_action"], &event["dedup_key"], &event["routing_key"]),
        (&json!("trigger"), &json!(incident), &json!("the key"))
    );
    test.change(incident, "resolved").await;
    test.dispatch().await;
    test.make_due().await;
    test.deliverer().deliver_due().await.unwrap();
    let last: Vec<_> = receiver.received()[4..].iter().map(super::receiver::ReceivedRequest::json).collect();
    let resolved = last.iter().find(|body| body["event_action"] == "resolve").expect("an event");
    assert_eq!(resolved["dedup_key"], json!(incident));
    let undelivered = "select count(*) from notification_deliveries where status <> 'delivered'";
    assert_eq!(test.number(undelivered).await, 0);
}

#[tokio::test]
async fn several_workers_send_each_message_once_and_in_order() {
    let test = NotificationTest::new().await;
    let receiver = FakeReceiver::start(Answer::Status(200)).await;
    let mut expected = Vec::new();
    for _ in 0..10 {
        let channel = test.webhook(&receiver.url).await;
        for _ in 0..4 {
            expected.push(test.enqueue(channel).await.to_string());
        }
    }
    let workers: Vec<_> = (0..3).map(|_| test.deliverer()).collect();
    let deliveries =
        futures::future::join_all(workers.iter().map(worker::notifications::Deliverer::deliver_due));
    deliveries.await.into_iter().for_each(|delivered| delivered.unwrap());
    let ids = receiver.ids();
    assert_eq!(ids.len(), expected.len(), "none is sent twice");
    assert_eq!(ids.iter().collect::<BTreeSet<_>>(), expected.iter().collect());
    for of_channel in expected.chunks(4) {
        let order: Vec<_> = ids.iter().filter(|id| of_channel.contains(id)).collect();
        assert_eq!(order, of_channel.iter().collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_message_of_a_killed_worker_is_sent_again_with_its_id() {
    let test = NotificationTest::new().await;
    let receiver = FakeReceiver::start(Answer::Silence).await;
    let channel = test.webhook(&receiver.url).await;
    let id = test.enqueue(channel).await.to_string();
    let killed = test.deliverer();
    let sending = tokio::spawn(async move { killed.deliver_due().await });
    eventually("the request arrives", TIMEOUT, async || !receiver.received().is_empty()).await;
    sending.abort();
    receiver.set_answer(Answer::Status(200));
    // The lease of the killed worker holds others off, until it ends.
    test.deliverer().deliver_due().await.unwrap();
    assert_eq!(receiver.ids(), [id.as_str()]);
    test.sql("update notification_channels set lease_until = now()").await;
    test.deliverer().deliver_due().await.unwrap();
    assert_eq!(receiver.ids(), [id.as_str(), id.as_str()]);
    assert_eq!(
        test.number("select count(*) from notification_deliveries where status = 'delivered'").await,
        1
    );
}

#[tokio::test]
async fn a_silent_receiver_delays_no_other_channel() {
    let test = NotificationTest::new().await;
    let silent = FakeReceiver::start(Answer::Silence).await;
    let well = FakeReceiver::start(Answer::Status(200)).await;
    for _ in 0..20 {
        let channel = test.webhook(&silent.url).await;
        test.enqueue(channel).await;
    }
    let channel = test.webhook(&well.url).await;
    test.enqueue(channel).await;
    tokio::spawn(test.deliverer().run(Heartbeat::default()));
    eventually("the other channel's message arrives", TIMEOUT, async || !well.received().is_empty()).await;
    let ended =
        "select count(*) from delivery_attempts a join notification_deliveries d on d.id = a.delivery_id
        where d.status <> 'delivered'";
    assert_eq!(test.number(ended).await, 0, "no attempt at a silent receiver has timed out yet");
}

#[tokio::test]
async fn a_hundred_silent_receivers_delay_no_other_channel_of_a_fleet() {
    let test = NotificationTest::new().await;
    let silent = FakeReceiver::start(Answer::Silence).await;
    let well = FakeReceiver::start(Answer::Status(200)).await;
    test.fleet(&silent.url, 100).await;
    test.fleet(&well.url, 900).await;
    let start = Instant::now();
    tokio::spawn(test.deliverer().run(Heartbeat::default()));
    eventually("every other channel gets its message", TIMEOUT, async || well.received().len() >= 900).await;
    println!("900 of 1000 channels delivered after {:.1} s", start.elapsed().as_secs_f64());
    assert_eq!(well.ids().iter().collect::<BTreeSet<_>>().len(), 900);
}

#[tokio::test]
async fn slack_gets_a_message_a_second() {
    let test = NotificationTest::new().await;
    let receiver = FakeReceiver::start(Answer::Status(200)).await;
    let channel = test.channel("slack", json!({}), Some(address(&receiver.url))).await;
    for _ in 0..3 {
        test.enqueue(channel).await;
    }
    test.deliverer().deliver_due().await.unwrap();
    let times: Vec<_> = receiver.received().iter().map(|request| request.at).collect();
    assert_eq!(times.len(), 3);
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_secs(1)), "{times:?}");
}
