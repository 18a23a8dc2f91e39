//! Changes of the team and the criticality of several pipelines at once.

use axum::http::Method;
use contract::ids::PipelineId;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{SPACE, TestApi};
use crate::response::TestResponse;
use crate::seed::{ADMIN, EDITOR, VIEWER};

async fn change(test: &TestApi, body: Value) -> TestResponse {
    test.request(Method::POST, EDITOR, "/pipelines/bulk", body).await
}

/// The team's name and the criticality of a pipeline.
async fn governance(test: &TestApi, pipeline: PipelineId) -> (Value, Value) {
    let found = test.read(&format!("/pipelines/{pipeline}")).await;
    (found["team"]["name"].clone(), found["criticality"].clone())
}

async fn audited(test: &TestApi) -> Vec<Value> {
    let path = format!("/spaces/{SPACE}/audit?action=space.pipelines_changed");
    test.send(Method::GET, ADMIN, &path, None).await.expect(200).as_array().unwrap().clone()
}

#[tokio::test]
async fn team_and_criticality_of_several_pipelines_change_together() {
    let test = TestApi::new().await;
    let (a, b) = (test.pipeline("a").await, test.pipeline("b").await);
    let foreign = test.pipeline_of(test.other_connector, "theirs").await;
    let body = json!({"ids": [b, foreign, a, b], "team_id": test.team, "criticality": "high"});
    let result = change(&test, body).await.expect(200);
    let failed = json!([{"id": foreign, "detail": "Pipeline not found"}]);
    assert_eq!(result, json!({"updated": [b, a], "failed": failed}));
    for pipeline in [a, b] {
        assert_eq!(governance(&test, pipeline).await, (json!("Finance data"), json!("high")));
    }
    assert_eq!(test.number("select count(*) from pipeline_governance").await, 2);

    // A key that is left out keeps its value.
    change(&test, json!({"ids": [a], "criticality": null})).await.expect(200);
    assert_eq!(governance(&test, a).await, (json!("Finance data"), Value::Null));
    change(&test, json!({"ids": [a, b], "team_id": null})).await.expect(200);
    assert_eq!(governance(&test, a).await, (Value::Null, Value::Null));
    assert_eq!(governance(&test, b).await, (Value::Null, json!("high")));
}

#[tokio::test]
async fn a_change_has_one_audit_entry_with_the_previous_values() {
    let test = TestApi::new().await;
    let (a, b) = (test.pipeline("a").await, test.pipeline("b").await);
    change(&test, json!({"ids": [a], "criticality": "low"})).await.expect(200);
    let body = json!({"ids": [a, b], "criticality": "low", "team_id": null});
    change(&test, body.clone()).await.expect(200);
    let entries = audited(&test).await;
    assert_eq!(entries.len(), 2);
    assert_eq!(
        entries[0]["details"],
        json!({"team_id": null, "criticality": "low",
               "pipelines": [{"id": b, "team_id": null, "criticality": null}]})
    );
    assert_eq!(
        (&entries[0]["actor"]["name"], &entries[0]["target_type"]),
        (&json!("Edith"), &json!("space"))
    );
    // The same change again changes nothing.
    assert_eq!(change(&test, body).await.expect(200)["updated"], json!([a, b]));
    assert_eq!(audited(&test).await.len(), 2);
}

#[tokio::test]
async fn an_unknown_team_changes_no_pipeline() {
    let test = TestApi::new().await;
    let a = test.pipeline("a").await;
    for team in [test.other_team, Uuid::nil()] {
        let body = json!({"ids": [a], "team_id": team, "criticality": "high"});
        assert_eq!(change(&test, body).await.expect(404), json!({"detail": "Team not found"}));
    }
    assert_eq!(governance(&test, a).await, (Value::Null, Value::Null));
    let body = json!({"ids": [a], "criticality": "high"});
    assert_eq!(test.request(Method::POST, VIEWER, "/pipelines/bulk", body).await.status, 403);
}

#[tokio::test]
async fn ids_and_values_of_a_change_are_checked() {
    let test = TestApi::new().await;
    let ids = |n: u128| (1..=n).map(Uuid::from_u128).collect::<Vec<_>>();
    for (body, field, kind) in [
        (json!({"ids": ids(1)}), "body.team_id", "value_error.missing"),
        (json!({"team_id": null}), "body.ids", "value_error.missing"),
        (json!({"ids": null, "team_id": null}), "body.ids", "type_error.none.not_allowed"),
        (json!({"ids": "x", "team_id": null}), "body.ids", "type_error.list"),
        (json!({"ids": ["x"], "team_id": null}), "body.ids", "type_error.uuid"),
        (json!({"ids": [], "team_id": null}), "body.ids", "value_error.list.min_items"),
        (json!({"ids": ids(501), "team_id": null}), "body.ids", "value_error.list.max_items"),
        (json!({"ids": ids(1), "team_id": "none"}), "body.team_id", "type_error.uuid"),
        (json!({"ids": ids(1), "criticality": "urgent"}), "body.criticality", "type_error.enum"),
    ] {
        let errors = change(&test, body.clone()).await.field_errors();
        assert_eq!(errors, [(field.to_owned(), kind.to_owned())], "{body}");
    }
    let result = change(&test, json!({"ids": ids(500), "team_id": null})).await.expect(200);
    assert_eq!(result["failed"].as_array().unwrap().len(), 500);
}
