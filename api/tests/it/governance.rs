//! Team, criticality and watching.

use axum::http::Method;
use serde_json::json;
use uuid::Uuid;

use crate::app::TestApi;
use crate::assertions::field_of_each;
use crate::seed::{EDITOR, OTHER_EDITOR, VIEWER, hours_ago};

#[tokio::test]
async fn a_pipeline_is_assigned_to_a_team_and_unassigned() {
    let test = TestApi::new().await;
    let pipeline = test.pipeline("p").await;
    let path = format!("/pipelines/{pipeline}/team");
    let set = async |body| test.request(Method::PATCH, EDITOR, &path, body).await;
    let assigned = set(json!({"team_id": test.team})).await.expect(200);
    assert_eq!(assigned["team"], json!({"id": test.team, "name": "Finance data"}));
    assert_eq!(field_of_each(&test.read(&format!("/pipelines?team_id={}", test.team)).await, "name"), ["p"]);
    assert_eq!(
        set(json!({"team_id": test.other_team})).await.expect(404),
        json!({"detail": "Team not found"})
    );
    assert_eq!(set(json!({"team_id": Uuid::nil()})).await.status, 404);
    assert_eq!(
        set(json!({})).await.field_errors(),
        [("body.team_id".to_owned(), "value_error.missing".to_owned())]
    );
    assert_eq!(set(json!({"team_id": 7})).await.field_errors()[0].1, "type_error.uuid");
    assert_eq!(test.read(&format!("/pipelines/{pipeline}")).await["team"]["name"], "Finance data");
    assert!(set(json!({"team_id": null})).await.expect(200)["team"].is_null());
}

#[tokio::test]
async fn criticality_is_one_of_four_values_or_null() {
    let test = TestApi::new().await;
    let (high, low) = (test.pipeline("high").await, test.pipeline("low").await);
    let set = async |pipeline, body| {
        test.request(Method::PATCH, EDITOR, &format!("/pipelines/{pipeline}/criticality"), body).await
    };
    assert_eq!(set(high, json!({"criticality": "high"})).await.expect(200)["criticality"], "high");
    set(low, json!({"criticality": "low"})).await.expect(200);
    assert_eq!(field_of_each(&test.read("/pipelines?criticality=high").await, "name"), ["high"]);
    assert_eq!(
        field_of_each(&test.read("/pipelines?criticality=high&criticality=low").await, "name"),
        ["high", "low"]
    );
    assert_eq!(set(high, json!({"criticality": "urgent"})).await.field_errors()[0].1, "type_error.enum");
    assert_eq!(set(high, json!({})).await.field_errors()[0].1, "value_error.missing");
    assert!(set(high, json!({"criticality": null})).await.expect(200)["criticality"].is_null());
    assert_eq!(field_of_each(&test.read("/pipelines?criticality=high").await, "name"), [""; 0]);
}

#[tokio::test]
async fn each_user_has_their_own_watches() {
    let test = TestApi::new().await;
    let watched = test.pipeline("watched").await;
    let other = test.pipeline("other").await;
    test.run(watched, "r1", "success", hours_ago(1)).await;
    test.run(other, "r2", "success", hours_ago(1)).await;
    let watch = format!("/pipelines/{watched}/watch");
    for _ in 0..2 {
        assert_eq!(test.request(Method::PUT, VIEWER, &watch, json!(null)).await.status, 204);
    }
    assert_eq!(field_of_each(&test.read("/pipelines?watched_only=true").await, "name"), ["watched"]);
    assert_eq!(field_of_each(&test.read("/runs?watched_only=true").await, "pipeline_name"), ["watched"]);
    assert_eq!(test.read(&format!("/pipelines/{watched}")).await["watched"], true);
    let others = test.request(Method::GET, OTHER_EDITOR, "/pipelines?watched_only=1", json!(null)).await;
    assert_eq!(others.expect(200), json!([]));
    for _ in 0..2 {
        assert_eq!(test.request(Method::DELETE, VIEWER, &watch, json!(null)).await.status, 204);
    }
    assert_eq!(test.read("/pipelines?watched_only=true").await, json!([]));
}

#[tokio::test]
async fn governance_and_comments_survive_a_rebuild_of_the_read_model() {
    let test = TestApi::new().await;
    let pipeline = test.pipeline("p").await;
    let run = test.run(pipeline, "r", "success", hours_ago(1)).await;
    let send = async |method, path: String, body| test.request(method, EDITOR, &path, body).await;
    send(Method::PATCH, format!("/pipelines/{pipeline}/team"), json!({"team_id": test.team}))
        .await
        .expect(200);
    send(Method::PATCH, format!("/pipelines/{pipeline}/criticality"), json!({"criticality": "low"}))
        .await
        .expect(200);
    send(Method::PUT, format!("/pipelines/{pipeline}/watch"), json!(null)).await.expect(204);
    send(Method::POST, format!("/runs/{run}/comments"), json!({"content": "kept"})).await.expect(201);
    test.sql("truncate pipelines, runs, task_runs").await;
    assert_eq!(test.read("/pipelines").await, json!([]));
    test.pipeline("p").await;
    test.run(pipeline, "r", "success", hours_ago(1)).await;
    let detail =
        test.request(Method::GET, EDITOR, &format!("/pipelines/{pipeline}"), json!(null)).await.expect(200);
    assert_eq!((&detail["team"]["name"], &detail["criticality"]), (&json!("Finance data"), &json!("low")));
    assert_eq!(detail["watched"], true);
    assert_eq!(field_of_each(&test.read(&format!("/runs/{run}/comments")).await, "content"), ["kept"]);
}
