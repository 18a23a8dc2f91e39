//! The inbox: watchers are notified of incidents, and users of the ends of the runs that they triggered.

use uuid::Uuid;

use super::NotificationTest;

impl NotificationTest {
    async fn user(&self, name: &str) -> Uuid {
        let id = Uuid::now_v7();
        self.sql(&format!(
            "insert into users (id, email, name) values ('{id}', '{name}@example.org', '{name}')"
        ))
        .await;
        id
    }

    async fn watch(&self, pipeline: impl std::fmt::Display, user: Uuid) {
        self.sql(&format!(
            "insert into pipeline_watches (pipeline_id, user_id, space_id)
             values ('{pipeline}', '{user}', '{}')",
            self.space
        ))
        .await;
    }

    /// The entries of all inboxes, oldest first.
    async fn entries(&self) -> Vec<String> {
        self.texts(
            "select u.name || ': ' || n.kind || ' ' || n.change || ', ' || n.summary
             from inbox n join users u on u.id = n.user_id order by n.created_at, u.name",
        )
        .await
    }
}

#[tokio::test]
async fn watchers_find_the_beginning_and_the_end_of_incidents() {
    let test = NotificationTest::new().await;
    let (sales, stock) = (test.pipeline("sales", "x", None).await, test.pipeline("stock", "x", None).await);
    let (ada, bob) = (test.user("ada").await, test.user("bob").await);
    test.watch(sales, ada).await;
    test.watch(stock, bob).await;
    let incident = test.incident(sales, "failing").await;
    test.change(incident, "counted").await;
    test.dispatch().await;
    test.change(incident, "resolved").await;
    test.dispatch().await;
    test.sql(&format!(
        "update incidents set muted_until = now() + interval '1 hour' where id = '{incident}'"
    ))
    .await;
    test.change(incident, "reopened").await;
    test.dispatch().await;
    assert_eq!(
        test.entries().await,
        ["ada: failing opened, It is failing.", "ada: failing resolved, It is failing."]
    );
}

#[tokio::test]
async fn the_end_of_an_incident_is_reported_to_those_who_were_notified_of_it() {
    let test = NotificationTest::new().await;
    let sales = test.pipeline("sales", "x", None).await;
    let (ada, bob) = (test.user("ada").await, test.user("bob").await);
    test.watch(sales, ada).await;
    let incident = test.incident(sales, "failing").await;
    test.dispatch().await;
    test.sql("delete from pipeline_watches").await;
    test.watch(sales, bob).await;
    test.change(incident, "resolved").await;
    test.dispatch().await;
    assert_eq!(
        test.entries().await,
        ["ada: failing opened, It is failing.", "ada: failing resolved, It is failing."]
    );
}

#[tokio::test]
async fn a_stale_connector_notifies_each_watcher_of_its_pipelines_once() {
    let test = NotificationTest::new().await;
    let ada = test.user("ada").await;
    for name in ["sales", "stock"] {
        test.watch(test.pipeline(name, "x", None).await, ada).await;
    }
    let id = Uuid::now_v7();
    test.sql(&format!(
        "insert into incidents (id, space_id, connector_id, kind, opened_at, summary, evidence)
         values ('{id}', '{}', '{}', 'connector_stale', now(), 'Not synced.', '{{}}')",
        test.space, test.connector
    ))
    .await;
    test.change(id, "opened").await;
    test.dispatch().await;
    assert_eq!(test.entries().await, ["ada: connector_stale opened, Not synced."]);
}

#[tokio::test]
async fn the_end_of_a_triggered_run_is_in_the_inbox_of_its_user_once() {
    let test = NotificationTest::new().await;
    let pipeline = test.pipeline("sales", "x", None).await;
    let ada = test.user("ada").await;
    for (name, status, ended) in [
        ("done", "success", "now()"),
        ("broken", "failed", "now()"),
        ("running", "running", "null"),
        ("long ago", "success", "now() - interval '2 days'"),
    ] {
        let run = Uuid::now_v7();
        test.sql(&format!(
            "insert into runs (id, space_id, connector_id, pipeline_id, provider, external_id, version,
                 fingerprint, log_offset, observed_at, status, run_type, ended_at, conf)
             values ('{run}', '{0}', '{1}', '{pipeline}', 'airflow', '{name}', 1, '', 0, now(), '{status}',
                 'manual', {ended}, '{{}}');
             insert into triggers (id, space_id, connector_id, pipeline_id, user_id, run_external_id, run_id,
                 command_sha256, attempt_until)
             values (gen_random_uuid(), '{0}', '{1}', '{pipeline}', '{ada}', '{name}', '{run}', '', now())",
            test.space, test.connector
        ))
        .await;
    }
    test.dispatch().await;
    test.dispatch().await;
    let mut entries = test.entries().await;
    entries.sort();
    assert_eq!(
        entries,
        [
            "ada: run finished, Your run of sales has failed.",
            "ada: run finished, Your run of sales has succeeded.",
        ]
    );
    test.sql("update runs set status = 'success', ended_at = now() where external_id = 'running'").await;
    test.dispatch().await;
    assert_eq!(test.entries().await.len(), 3);
}
