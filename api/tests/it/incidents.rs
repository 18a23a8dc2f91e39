//! Incidents: the list, acknowledging and muting, and the health of pipelines.

use axum::http::Method;
use serde_json::{Value, json};

use crate::app::TestApi;
use crate::seed::{ADMIN, EDITOR, VIEWER, hours_ago};

fn kinds(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|incident| incident["kind"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn incidents_are_listed_by_their_filters() {
    let test = TestApi::new().await;
    let sales = test.pipeline("sales").await;
    let stock = test.pipeline("stock").await;
    for (pipeline, kind, hours) in [(sales, "failing", 3), (sales, "slow", 2), (stock, "late_start", 1)] {
        let id = test.incident(pipeline, kind).await;
        let opened = hours_ago(hours);
        test.sql(&format!("update incidents set opened_at = '{opened}' where id = '{id}'")).await;
    }
    test.sql("update incidents set status = 'resolved', resolved_at = now() where kind = 'slow'").await;
    test.sql(&format!(
        "insert into pipeline_governance (pipeline_id, space_id, team_id, criticality)
         select id, space_id, '{}', 'high' from pipelines where name = 'sales'",
        test.team
    ))
    .await;
    let theirs = test.pipeline_of(test.other_connector, "theirs").await;
    let foreign = test.incident(theirs, "failing").await;

    let all = test.read("/incidents").await;
    assert_eq!(kinds(&all), ["late_start", "slow", "failing"]);
    assert_eq!(all[0]["pipeline_name"], "stock");
    assert_eq!(all[0]["acknowledged"], Value::Null);
    let of = async |query: &str| test.read(&format!("/incidents?{query}")).await;
    assert_eq!(kinds(&of("status=open").await), ["late_start", "failing"]);
    assert_eq!(kinds(&of("status=resolved").await), ["slow"]);
    assert_eq!(kinds(&of("kind=slow&kind=failing").await), ["slow", "failing"]);
    assert_eq!(kinds(&of(&format!("pipeline_id={stock}")).await), ["late_start"]);
    assert_eq!(kinds(&of(&format!("team_id={}", test.team)).await), ["slow", "failing"]);
    assert_eq!(kinds(&of("criticality=none").await), ["late_start"]);
    let from = hours_ago(2).format("%Y-%m-%dT%H:%M:%SZ");
    assert_eq!(kinds(&of(&format!("opened_from={from}")).await), ["late_start", "slow"]);
    let get = async |path: &str| test.request(Method::GET, VIEWER, path, Value::Null).await;
    get(&format!("/incidents/{foreign}")).await.expect(404);
    get("/incidents?status=closed").await.expect(422);
}

#[tokio::test]
async fn an_incident_is_acknowledged_and_muted_once() {
    let test = TestApi::new().await;
    let pipeline = test.pipeline("sales").await;
    let id = test.incident(pipeline, "failing").await;
    let acknowledge = format!("/incidents/{id}/acknowledge");
    let first = test.request(Method::POST, EDITOR, &acknowledge, Value::Null).await.expect(200);
    assert_eq!(first["status"], "acknowledged");
    assert_eq!(first["acknowledged"]["by"]["name"], "Edith");
    let second = test.request(Method::POST, ADMIN, &acknowledge, Value::Null).await.expect(200);
    assert_eq!(second["acknowledged"], first["acknowledged"], "who was first stays");

    let mute = format!("/incidents/{id}/mute");
    let until = "2100-01-01T00:00:00Z";
    for _ in 0..2 {
        let muted = test.request(Method::POST, EDITOR, &mute, json!({"until": until})).await.expect(200);
        assert_eq!(muted["muted_until"], until);
    }
    let past = json!({"until": "2000-01-01T00:00:00Z"});
    test.request(Method::POST, EDITOR, &mute, past).await.expect(422);
    test.request(Method::POST, EDITOR, &mute, json!({})).await.expect(422);

    let changes = "select count(*) from incident_changes where change in ('acknowledged', 'muted')";
    assert_eq!(test.number(changes).await, 2);
    let events = "select count(*) from outbox where topic = '\"orchestration.incidents.v1\"'";
    assert_eq!(test.number(events).await, 2);
    let audited = "select count(*) from audit where action in ('incident.acknowledged', 'incident.muted')";
    assert_eq!(test.number(audited).await, 2);

    test.sql("update incidents set status = 'resolved', resolved_at = now()").await;
    test.request(Method::POST, EDITOR, &acknowledge, Value::Null).await.expect(409);
    test.request(Method::POST, EDITOR, &mute, json!({"until": null})).await.expect(409);
}

/// Inserts a pipeline of each health.
async fn insert_healths(test: &TestApi) {
    for (name, incidents) in [
        ("failing", ["failing", "slow"].as_slice()),
        ("late", &["late_finish", "slow"]),
        ("never", &["failing"]),
        ("ok", &["failing"]),
        ("slow", &["slow"]),
    ] {
        let pipeline = test.pipeline(name).await;
        for kind in incidents {
            test.incident(pipeline, kind).await;
        }
        if name != "never" {
            test.run(pipeline, "r", "success", hours_ago(1)).await;
        }
    }
    test.sql(
        "update incidents set status = 'resolved', resolved_at = now()
         where pipeline_id = (select id from pipelines where name = 'ok')",
    )
    .await;
}

#[tokio::test]
async fn health_is_the_worst_of_the_unresolved_incidents() {
    let test = TestApi::new().await;
    insert_healths(&test).await;
    let healths = async |query: &str| {
        let list = test.read(&format!("/pipelines?{query}")).await;
        let pairs = list.as_array().unwrap().iter();
        pairs.map(|it| format!("{} {}", it["name"], it["health"]).replace('"', "")).collect::<Vec<_>>()
    };
    let all = ["failing failing", "late late", "never unknown", "ok ok", "slow slow"];
    assert_eq!(healths("").await, all);
    test.sql("update connectors set is_active = false where name = 'prod airflow'").await;
    assert!(healths("").await.iter().all(|health| health.ends_with("unknown")), "it is not mirrored");
    assert_eq!(healths("health=unknown").await.len(), 5);
    test.sql("update connectors set is_active = true where name = 'prod airflow'").await;
    assert_eq!(healths("health=late&health=ok").await, ["late late", "ok ok"]);
    let facets = test.read("/pipelines/facets?health=ok").await;
    assert_eq!(facets["health"].as_array().unwrap().len(), 5);
    assert_eq!(facets["status"], json!([{"value": "success", "name": "success", "count": 1}]));

    test.sql(
        "insert into incidents (id, space_id, connector_id, kind, opened_at, summary, evidence)
         select gen_random_uuid(), space_id, id, 'connector_stale', now(), '', '{}' from connectors
         where name = 'prod airflow'",
    )
    .await;
    assert_eq!(healths("health=unknown").await.len(), 5, "what is not seen is unknown");
}

#[tokio::test]
async fn expectations_are_shown_with_pipelines_and_runs() {
    let test = TestApi::new().await;
    let pipeline = test.pipeline("sales").await;
    let run = test.run(pipeline, "r", "success", hours_ago(1)).await;
    let learning = test.read(&format!("/pipelines/{pipeline}")).await;
    assert_eq!(learning["expectation"]["learning"], true);
    assert_eq!(learning["expectation"]["next"], Value::Null);
    assert_eq!(test.read(&format!("/runs/{run}")).await["expected"], Value::Null);

    test.sql("update pipelines set next_run_at = '2100-01-01T05:00:00Z'").await;
    test.sql("update runs set run_type = 'scheduled', run_after = '2026-01-01T05:00:00Z'").await;
    test.sql(
        "insert into expectations (pipeline_id, space_id, zone, revision, failures)
         select id, space_id, 'UTC', 1, 0 from pipelines",
    )
    .await;
    test.sql("insert into expectation_classes select id, 'all', 0, 20, 60, 90, 120, 5, 300 from pipelines")
        .await;
    let expectation = test.read(&format!("/pipelines/{pipeline}")).await["expectation"].clone();
    assert_eq!(
        expectation,
        json!({
            "class": "all", "runs": 20, "duration_p50_seconds": 60.0, "duration_p95_seconds": 90.0,
            "slow_after_seconds": 120.0, "learning": false,
            "next": {
                "due_at": "2100-01-01T05:00:00Z", "start_by": "2100-01-01T05:00:05Z",
                "finish_by": "2100-01-01T05:05:00Z",
            },
        })
    );
    let expected = test.read(&format!("/runs/{run}")).await["expected"].clone();
    let finish_by = "2026-01-01T05:05:00Z";
    assert_eq!(
        expected,
        json!({"duration_seconds": 60.0, "slow_after_seconds": 120.0, "finish_by": finish_by})
    );
}
