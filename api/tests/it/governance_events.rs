//! The events of governance and comments: each act puts one into the outbox, within its transaction.

use axum::http::Method;
use contract::events::{CommentChanged, GovernanceChanged, IncidentChanged};
use contract::state::Criticality;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::app::{SPACE, TestApi};
use crate::command_line::{command, run};
use crate::seed::{ADMIN, EDITOR, comment, hours_ago};

impl TestApi {
    /// The events of a topic that wait for the relay, oldest first.
    async fn enqueued<E: DeserializeOwned>(&self, topic: &str) -> Vec<E> {
        let payloads: Vec<Vec<u8>> =
            sqlx::query_scalar("select payload from outbox where topic #>> '{}' = $1 order by id")
                .bind(topic)
                .fetch_all(&self.db)
                .await
                .unwrap();
        payloads.iter().map(|payload| serde_json::from_slice(payload).unwrap()).collect()
    }

    async fn governance_events(&self) -> Vec<GovernanceChanged> {
        self.enqueued("orchestration.governance.v1").await
    }
}

#[tokio::test]
async fn each_change_of_governance_is_published_once() {
    let test = TestApi::new().await;
    let pipeline = test.pipeline("p").await;
    let set = async |what: &str, value: Value| {
        test.request(Method::PATCH, EDITOR, &format!("/pipelines/{pipeline}/{what}"), value).await.expect(200)
    };
    for _ in 0..2 {
        set("team", json!({"team_id": test.team})).await;
        set("criticality", json!({"criticality": "high"})).await;
    }
    let events = test.governance_events().await;
    assert_eq!(events.len(), 2, "what does not change is not published: {events:?}");
    assert!(events[0].version < events[1].version);
    let last = &events[1];
    assert_eq!((last.id, last.connector_id, last.space.as_str()), (pipeline, test.connector, SPACE));
    assert_eq!(last.team.as_ref().unwrap().name, "Finance data");
    assert_eq!((last.criticality, events[0].criticality), (Some(Criticality::High), None));
    assert_eq!(last.changed_by.as_ref().unwrap().name, "Edith");
    set("team", json!({"team_id": null})).await;
    assert_eq!(test.governance_events().await[2].team, None);
}

#[tokio::test]
async fn bulk_changes_and_changes_of_a_team_are_published_for_their_pipelines() {
    let test = TestApi::new().await;
    let (first, second) = (test.pipeline("first").await, test.pipeline("second").await);
    let bulk = json!({"ids": [first, second], "team_id": test.team});
    test.request(Method::POST, EDITOR, "/pipelines/bulk", bulk.clone()).await.expect(200);
    test.request(Method::POST, EDITOR, "/pipelines/bulk", bulk).await.expect(200);
    assert_eq!(test.governance_events().await.len(), 2);
    let path = format!("/spaces/{SPACE}/teams/{}", test.team);
    let change = async |body| test.send(Method::PATCH, ADMIN, &path, Some(body)).await.expect(200);
    change(json!({"description": "new"})).await;
    assert_eq!(test.governance_events().await.len(), 2, "events have no description");
    change(json!({"name": "Renamed"})).await;
    let events = test.governance_events().await;
    assert_eq!(events.len(), 4);
    assert!(events[2..].iter().all(|event| event.team.as_ref().unwrap().name == "Renamed"));
    test.send(Method::DELETE, ADMIN, &path, None).await.expect(204);
    let events = test.governance_events().await;
    assert_eq!(events.len(), 6);
    assert!(events[4..].iter().all(|event| event.team.is_none() && event.version > events[3].version));
}

#[tokio::test]
async fn a_comment_is_published_when_it_is_written_edited_and_deleted() {
    let test = TestApi::new().await;
    let pipeline = test.pipeline("p").await;
    let run = test.run(pipeline, "r", "failed", hours_ago(1)).await;
    let task_run = test.task_run(run, "t", -1, "failed").await;
    let path = format!("/task-runs/{task_run}/comments");
    let written = test.request(Method::POST, EDITOR, &path, comment("Backfill")).await.expect(201);
    let path = format!("/comments/{}", written["id"].as_str().unwrap());
    test.request(Method::PATCH, EDITOR, &path, comment("Backfilled")).await.expect(200);
    test.request(Method::DELETE, ADMIN, &path, Value::Null).await.expect(204);
    test.request(Method::DELETE, ADMIN, &path, Value::Null).await.expect(404);
    let events: Vec<CommentChanged> = test.enqueued("orchestration.comments.v1").await;
    assert_eq!(events.len(), 3);
    assert!(events.windows(2).all(|pair| pair[0].version < pair[1].version));
    let contents: Vec<_> = events.iter().map(|event| event.content.as_deref()).collect();
    assert_eq!(contents, [Some("Backfill"), Some("Backfilled"), None]);
    let states: Vec<_> = events.iter().map(|event| (event.edited, event.deleted)).collect();
    assert_eq!(states, [(false, false), (true, false), (true, true)]);
    let last = &events[2];
    let ids = (last.pipeline_id, last.run_id, last.task_run_id, last.incident_id);
    assert_eq!(ids, (Some(pipeline), Some(run), Some(task_run), None));
    assert_eq!((last.target_type.as_str(), last.author.name.as_str()), ("task_run", "Edith"));
    assert_eq!(serde_json::to_value(last.id).unwrap(), written["id"]);
}

#[tokio::test]
async fn a_comment_on_an_incident_is_published_like_one_on_a_run() {
    let test = TestApi::new().await;
    let pipeline = test.pipeline("p").await;
    let of_pipeline = test.incident(pipeline, "failing").await;
    let of_connector = test.incident(pipeline, "slow").await;
    test.sql(&format!(
        "update incidents set kind = 'connector_stale', pipeline_id = null where id = '{of_connector}'"
    ))
    .await;
    for (incident, expected) in [(of_pipeline, Some(pipeline)), (of_connector, None)] {
        let path = format!("/incidents/{incident}/comments");
        let written = test.request(Method::POST, EDITOR, &path, comment("Who looks?")).await.expect(201);
        let path = format!("/comments/{}", written["id"].as_str().unwrap());
        test.request(Method::PATCH, EDITOR, &path, comment("I look")).await.expect(200);
        test.request(Method::DELETE, EDITOR, &path, Value::Null).await.expect(204);
        let events: Vec<CommentChanged> = test.enqueued("orchestration.comments.v1").await;
        test.sql("delete from outbox").await;
        let contents: Vec<_> = events.iter().map(|event| event.content.as_deref()).collect();
        assert_eq!(contents, [Some("Who looks?"), Some("I look"), None]);
        let last = &events[2];
        assert_eq!((last.target_type.as_str(), last.deleted), ("incident", true));
        assert_eq!((last.run_id, last.task_run_id), (None, None));
        assert_eq!((last.incident_id.unwrap().0, last.pipeline_id), (incident, expected));
        assert_eq!((last.connector_id, last.space.as_str()), (test.connector, SPACE));
    }
}

#[tokio::test]
async fn what_postgresql_alone_stores_is_published_again_after_a_loss_of_kafka() {
    let test = TestApi::new().await;
    let pipeline = test.pipeline("p").await;
    let run_id = test.run(pipeline, "r", "failed", hours_ago(1)).await;
    let team = json!({"team_id": test.team});
    test.request(Method::PATCH, EDITOR, &format!("/pipelines/{pipeline}/team"), team).await.expect(200);
    let comments = format!("/runs/{run_id}/comments");
    test.request(Method::POST, EDITOR, &comments, comment("Backfill")).await.expect(201);
    let incident = test.incident(pipeline, "failing").await;
    let comments = format!("/incidents/{incident}/comments");
    test.request(Method::POST, EDITOR, &comments, comment("I look")).await.expect(201);
    let published = test.governance_events().await.remove(0);
    // A worker has relayed everything to the topics that were lost.
    test.sql("delete from outbox").await;
    for times in 1..=2 {
        let output = run(command(&test.database.api_url, &["republish"])).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let output = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.contains("1 pipelines, 2 comments and 1 incidents"), "{output}");
        let governance = test.governance_events().await;
        assert_eq!(governance.len(), times);
        let last = &governance[times - 1];
        assert_eq!((last.id, &last.team), (pipeline, &published.team));
        assert!(last.version > published.version);
        let comments: Vec<CommentChanged> = test.enqueued("orchestration.comments.v1").await;
        assert_eq!(comments.len(), 2 * times);
        let newest = comments[2 * (times - 1)..].iter();
        let mut contents: Vec<_> = newest.map(|event| event.content.as_deref()).collect();
        contents.sort_unstable();
        assert_eq!(contents, [Some("Backfill"), Some("I look")]);
        let incidents: Vec<IncidentChanged> = test.enqueued("orchestration.incidents.v1").await;
        assert_eq!(incidents.iter().filter(|event| event.id.0 == incident).count(), times);
    }
    assert_eq!(test.number("select count(*) from incident_changes").await, 0, "no one is notified again");
}
