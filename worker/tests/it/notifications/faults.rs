//! Receivers that refuse, redirect or hang.

use std::time::Duration;

use testkit::eventually;

use super::NotificationTest;
use super::receiver::{Answer, FakeReceiver};

#[tokio::test]
async fn a_failing_receiver_is_tried_on_schedule_and_each_attempt_is_logged() {
    let test = NotificationTest::new().await;
    let receiver = FakeReceiver::start(Answer::Status(500)).await;
    let channel = test.webhook(&receiver.url).await;
    test.enqueue(channel).await;
    let deliverer = test.deliverer();
    let mut waits = Vec::new();
    for _ in 0..10 {
        deliverer.deliver_due().await.unwrap();
        let wait = "select coalesce(extract(epoch from next_attempt_at - now()), 0)::bigint
            from notification_deliveries";
        waits.push(test.number(wait).await);
        test.make_due().await;
    }
    let expected = [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400];
    for (wait, expected) in waits.iter().zip(expected) {
        // Up to a fifth longer, and some seconds shorter because time passes before it is read.
        assert!((expected - 5..=expected + expected / 5 + 1).contains(wait), "{waits:?}");
    }
    assert_eq!(waits[9], 0, "the last attempt has failed");
    assert_eq!(test.attempts().await, ["500 The receiver answered 500: the receiver's words"; 10]);
    let failed = "select count(*) from notification_deliveries where status = 'failed' and attempts = 10";
    assert_eq!(test.number(failed).await, 1);
    deliverer.deliver_due().await.unwrap();
    assert_eq!(receiver.received().len(), 10);
    // Sent again by hand, it begins anew.
    receiver.set_answer(Answer::Status(204));
    test.sql(
        "update notification_deliveries set status = 'pending', retries = 0, next_attempt_at = now(),
             ended_at = null",
    )
    .await;
    deliverer.deliver_due().await.unwrap();
    assert_eq!(test.number("select count(*) from notification_channels where failures = 0").await, 1);
    assert_eq!(test.attempts().await[10..], ["204"]);
    let ids = receiver.ids();
    assert!(ids.iter().all(|id| *id == ids[0]));
}

#[tokio::test]
async fn a_receiver_that_answers_500_for_an_hour_gets_each_message_afterwards() {
    let test = NotificationTest::new().await;
    let receiver = FakeReceiver::start(Answer::Status(500)).await;
    let channel = test.webhook(&receiver.url).await;
    let deliverer = test.deliverer();
    let mut ids = vec![test.enqueue(channel).await.to_string()];
    for minute in 0..60 {
        if minute == 30 {
            ids.push(test.enqueue(channel).await.to_string());
        }
        deliverer.deliver_due().await.unwrap();
        test.pass("1 minute").await;
    }
    let failed = receiver.ids();
    let attempts: Vec<usize> =
        ids.iter().map(|id| failed.iter().filter(|failed| *failed == id).count()).collect();
    assert_eq!(attempts, [4, 3], "after 0 s, 5 s, 5 min and 30 min");
    receiver.set_answer(Answer::Status(200));
    test.pass("3 hours").await;
    deliverer.deliver_due().await.unwrap();
    assert_eq!(receiver.ids()[failed.len()..], ids);
    let delivered = "select count(*) from notification_deliveries where status = 'delivered'";
    assert_eq!(test.number(delivered).await, 2);
}

#[tokio::test]
async fn the_pause_that_a_receiver_asks_for_holds_for_its_channel() {
    let test = NotificationTest::new().await;
    let receiver = FakeReceiver::start(Answer::RetryAfter(3600)).await;
    let channel = test.webhook(&receiver.url).await;
    for _ in 0..3 {
        test.enqueue(channel).await;
    }
    test.deliverer().deliver_due().await.unwrap();
    assert_eq!(receiver.received().len(), 1, "the others wait, too");
    let paused = "select count(*) from notification_channels c
        join notification_deliveries d on d.channel_id = c.id
        where least(c.paused_until, d.next_attempt_at) > now() + interval '50 minutes'";
    assert_eq!(test.number(paused).await, 1);
}

#[tokio::test]
async fn a_receiver_that_is_gone_switches_its_channel_off() {
    let test = NotificationTest::new().await;
    let receiver = FakeReceiver::start(Answer::Status(410)).await;
    let channel = test.webhook(&receiver.url).await;
    test.enqueue(channel).await;
    test.enqueue(channel).await;
    test.deliverer().deliver_due().await.unwrap();
    assert_eq!(receiver.received().len(), 1);
    let states = test.texts("select status from notification_deliveries order by created_at").await;
    assert_eq!(states, ["failed", "cancelled"]);
    let reason = test.texts("select disabled_reason from notification_channels where not is_active").await;
    assert_eq!(reason, ["The receiver answered 410: it wants no more messages."]);
    // It is not notified of anything any more.
    test.incident(test.pipeline("sales", "x", None).await, "failing").await;
    test.dispatch().await;
    test.dispatch_after("31 seconds").await;
    assert_eq!(test.number("select count(*) from notification_deliveries").await, 2);
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_a_private_address_not_reached() {
    let test = NotificationTest::new().await;
    let target = FakeReceiver::start(Answer::Status(200)).await;
    let location: &'static str = Box::leak(target.url.clone().into_boxed_str());
    let receiver = FakeReceiver::start(Answer::Redirect(location)).await;
    let channel = test.webhook(&receiver.url).await;
    test.enqueue(channel).await;
    test.deliverer().deliver_due().await.unwrap();
    assert_eq!(test.attempts().await, ["302 The receiver answered 302: redirects are not followed."]);
    test.make_due().await;
    let by_name = receiver.url.replace("127.0.0.1", "localhost");
    let closed = test.deliverer_with(false, &super::no_smtp());
    closed.deliver_due().await.unwrap();
    test.sql(&format!("update notification_channels set config = '{{\"url\": \"{by_name}\"}}'")).await;
    test.make_due().await;
    closed.deliver_due().await.unwrap();
    let attempts = test.attempts().await;
    assert!(attempts[1..].iter().all(|error| error.contains("is not allowed")), "{attempts:?}");
    assert_eq!((attempts.len(), receiver.received().len(), target.received().len()), (3, 1, 0));
}

#[tokio::test]
async fn a_receiver_that_hangs_fails_after_the_time_out_and_pauses() {
    let test = NotificationTest::new().await;
    let receiver = FakeReceiver::start(Answer::Silence).await;
    let channel = test.webhook(&receiver.url).await;
    test.enqueue(channel).await;
    let deliverer = test.deliverer();
    tokio::spawn(async move { deliverer.deliver_due().await });
    eventually("the attempt ends", Duration::from_secs(60), async || !test.attempts().await.is_empty()).await;
    assert_eq!(test.attempts().await, ["- The receiver gave no answer: none within 10 s."]);
}
