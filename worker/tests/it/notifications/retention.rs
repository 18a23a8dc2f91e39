//! Retention of incidents, deliveries and inboxes: what is past its days goes, and what is unresolved or
//! still to be delivered stays.

use super::NotificationTest;
use crate::retention::apply_policy;

/// The ages of rows in days; none for what has not ended.
const AGES: &str = "(values (1), (29), (31), (364), (366), (null)) as old (days)";

impl NotificationTest {
    /// Incidents that were all opened long ago, each with a change that is not reported yet.
    async fn old_incidents(&self) {
        self.sql(&format!(
            "insert into incidents (id, space_id, connector_id, pipeline_id, kind, status, opened_at,
                 resolved_at, summary, evidence)
             select gen_random_uuid(), c.space_id, c.id, gen_random_uuid(), 'failing',
                 case when days is null then 'acknowledged' else 'resolved' end, now() - interval '900 days',
                 now() - days * interval '1 day', coalesce(days::text, 'acknowledged'), '{{}}'
             from connectors c, {AGES}"
        ))
        .await;
        self.sql("insert into incident_changes (incident_id, change) select id, 'opened' from incidents")
            .await;
        self.sql(
            "insert into users (id, email, name) values (gen_random_uuid(), 'bob@example.org', 'Bob');
             insert into comments (id, space_id, incident_id, author_id, content)
             select gen_random_uuid(), i.space_id, i.id, u.id, 'why?' from incidents i, users u",
        )
        .await;
    }

    async fn incidents(&self) -> Vec<String> {
        let changes = self.number("select count(*) from incident_changes").await;
        let incidents =
            self.texts("select summary from incidents order by resolved_at desc nulls last").await;
        let comments = self.number("select count(*) from comments").await;
        let count = incidents.len() as i64;
        assert_eq!((changes, comments), (count, count), "changes and comments go with their incident");
        incidents
    }

    /// Deliveries with an attempt each, of which the one without an end is pending, and entries of inboxes.
    async fn old_notifications(&self) {
        let channel = self.channel_without_rule("webhook", serde_json::json!({}), None).await;
        self.sql(&format!(
            "insert into notification_deliveries (id, space_id, channel_id, message, status, next_attempt_at,
                 created_at, ended_at)
             select gen_random_uuid(), c.space_id, c.id, '{{}}',
                 case when days is null then 'pending' else 'delivered' end,
                 case when days is null then now() end,
                 now() - coalesce(days, 900) * interval '1 day', now() - days * interval '1 day'
             from notification_channels c, {AGES} where c.id = '{channel}'"
        ))
        .await;
        self.sql(
            "insert into delivery_attempts (delivery_id, number, duration_ms)
             select id, 1, 5 from notification_deliveries",
        )
        .await;
        self.sql("insert into users (id, email, name) values (gen_random_uuid(), 'ada@example.org', 'Ada')")
            .await;
        self.sql(&format!(
            "insert into inbox (id, user_id, space_id, kind, change, summary, created_at, read_at)
             select gen_random_uuid(), u.id, s.id, 'failing', 'opened', 'It is failing.',
                 now() - days * interval '1 day', case when days > 30 then now() end
             from users u, spaces s, {AGES} where days is not null"
        ))
        .await;
    }

    /// Says that the oldest entry of an inbox is about an incident, which it opens.
    async fn open_incident_of_oldest_entry(&self) {
        let incident = self.incident(self.pipeline("sales", "x", None).await, "failing").await;
        self.sql(&format!(
            "update inbox set incident_id = '{incident}'
             where created_at = (select min(created_at) from inbox)"
        ))
        .await;
    }

    /// The ages of the deliveries and of the inbox's entries that are left, in days.
    async fn notifications(&self) -> (Vec<String>, Vec<String>) {
        let ages = async |table: &str| {
            self.texts(&format!(
                "select round(extract(epoch from now() - created_at) / 86400)::text from {table}
                 order by created_at desc"
            ))
            .await
        };
        let deliveries = ages("notification_deliveries").await;
        let attempts = self.number("select count(*) from delivery_attempts").await;
        assert_eq!(attempts, deliveries.len() as i64, "attempts go with their delivery");
        (deliveries, ages("inbox").await)
    }
}

#[tokio::test]
async fn incidents_are_kept_for_their_days_after_they_were_resolved() {
    let test = NotificationTest::new().await;
    test.old_incidents().await;
    apply_policy(&test.worker, &["--keep-incidents", "forever"]).await;
    assert_eq!(test.incidents().await, ["1", "29", "31", "364", "366", "acknowledged"]);
    apply_policy(&test.worker, &[]).await;
    assert_eq!(test.incidents().await, ["1", "29", "31", "364", "acknowledged"], "a year without a setting");
    apply_policy(&test.worker, &["--keep-incidents", "30"]).await;
    assert_eq!(test.incidents().await, ["1", "29", "acknowledged"]);
}

#[tokio::test]
async fn notifications_are_kept_for_their_days_unless_they_are_still_to_be_delivered() {
    let test = NotificationTest::new().await;
    test.old_notifications().await;
    apply_policy(&test.worker, &["--keep-notifications", "365"]).await;
    let (deliveries, inbox) = test.notifications().await;
    assert_eq!(deliveries, ["1", "29", "31", "364", "900"]);
    assert_eq!(inbox, ["1", "29", "31", "364"]);
    apply_policy(&test.worker, &[]).await;
    let (deliveries, inbox) = test.notifications().await;
    assert_eq!(deliveries, ["1", "29", "900"], "30 days without a setting");
    assert_eq!(inbox, ["1", "29"]);
    apply_policy(&test.worker, &["--keep-notifications", "7"]).await;
    let (deliveries, inbox) = test.notifications().await;
    assert_eq!(deliveries, ["1", "900"]);
    assert_eq!(inbox, ["1"]);
    test.open_incident_of_oldest_entry().await;
    test.sql("update inbox set created_at = now() - interval '90 days'").await;
    apply_policy(&test.worker, &["--keep-notifications", "8"]).await;
    assert_eq!(test.notifications().await.1, ["90"], "who was notified of it is notified of its end");
    test.sql("update incidents set status = 'resolved', resolved_at = now()").await;
    apply_policy(&test.worker, &["--keep-notifications", "7"]).await;
    assert_eq!(test.notifications().await.1, [""; 0]);
}
