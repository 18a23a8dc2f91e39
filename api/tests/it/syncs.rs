//! Requests for syncs.

use api::http::BASE_PATH;
use axum::body::Body;
use axum::http::{Method, Request, header};
use contract::state::{SyncStatus, SyncTrigger};
use contract::trace::TraceContext;
use serde_json::{Value, json};
use testkit::SeededSync;

use crate::app::{SPACE, TestApi};
use crate::assertions::field_of_each;
use crate::seed::{EDITOR, OTHER_EDITOR, VIEWER};

fn path(test: &TestApi) -> String {
    format!("/connectors/{}/sync", test.connector)
}

#[tokio::test]
async fn a_request_is_stored_together_with_its_events() {
    let test = TestApi::new().await;
    let response = test.request(Method::POST, EDITOR, &path(&test), json!({"full": true})).await;
    let location = response.header("location").to_owned();
    let sync = response.expect(202);
    assert_eq!(
        location,
        format!("/api/v1.0/spaces/finance/orchestration{}s/{}", path(&test), sync["id"].as_str().unwrap())
    );
    assert_eq!(test.read(location.split("orchestration").last().unwrap()).await, sync);
    assert_eq!(
        (&sync["status"], &sync["trigger"], &sync["full"]),
        (&json!("queued"), &json!("manual"), &json!(true))
    );
    assert_eq!(sync["requested_by"]["name"], "Edith");
    let records: Vec<(Value, Value)> =
        sqlx::query_as("select topic, convert_from(payload, 'UTF8')::jsonb from outbox order by id")
            .fetch_all(&test.db)
            .await
            .unwrap();
    let topics: Vec<_> = records.iter().map(|(topic, _)| topic.as_str().unwrap()).collect();
    assert_eq!(topics, ["orchestration.sync-requests.v1", "orchestration.syncs.v1"]);
    assert_eq!((&records[0].1["id"], &records[0].1["full"]), (&sync["id"], &json!(true)));
    assert_eq!((&records[1].1["status"], &records[1].1["space"]), (&json!("queued"), &json!("finance")));
}

#[tokio::test]
async fn the_callers_trace_is_propagated_and_an_invalid_one_is_replaced() {
    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for (headers, is_propagated) in
        [(&[GIVEN][..], true), (&["00-nonsense-01"], false), (&[GIVEN, GIVEN], false)]
    {
        let test = TestApi::new().await;
        let mut request = Request::post(format!("{BASE_PATH}/spaces/{SPACE}/orchestration{}", path(&test)))
            .header(header::AUTHORIZATION, format!("Bearer {EDITOR}"));
        for traceparent in headers {
            request = request.header("traceparent", *traceparent);
        }
        test.raw(request.body(Body::empty()).unwrap()).await.expect(202);
        let traces: Vec<Option<String>> = sqlx::query_scalar(
            "select (select header->>1 from jsonb_array_elements(headers) header
                     where header->>0 = 'traceparent')
             from outbox union all select traceparent from syncs",
        )
        .fetch_all(&test.db)
        .await
        .unwrap();
        let ids: Vec<String> = traces
            .iter()
            .map(|trace| trace.as_deref().unwrap().parse::<TraceContext>().unwrap().trace_id())
            .collect();
        assert_eq!(ids.len(), 3);
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        assert_eq!(ids[0] == "4bf92f3577b34da6a3ce929d0e0e4736", is_propagated, "{headers:?}");
    }
}

#[tokio::test]
async fn requests_join_a_queued_sync_and_not_a_running_one() {
    let test = TestApi::new().await;
    let first = test.request(Method::POST, EDITOR, &path(&test), Value::Null).await.expect(202);
    let second = test
        .request(
            Method::POST,
            OTHER_EDITOR,
            &path(&test),
            json!({"full": true, "accept_mass_deletion": true}),
        )
        .await
        .expect(202);
    assert_eq!((&second["id"], &second["full"]), (&first["id"], &json!(true)));
    assert_eq!(second["requested_by"]["name"], "Edith");
    let third = test.request(Method::POST, EDITOR, &path(&test), json!({"full": false})).await.expect(202);
    assert_eq!((&third["id"], &third["full"]), (&first["id"], &json!(true)));
    // The sync must start after the request that joined it last.
    assert_eq!(test.number("select count(*) from syncs where asked_at > requested_at").await, 1);
    assert_eq!(test.number("select count(*) from syncs where accept_mass_deletion").await, 1);
    test.sql("update syncs set status = 'running', started_at = now()").await;
    let next = test.request(Method::POST, EDITOR, &path(&test), Value::Null).await.expect(202);
    assert_ne!(next["id"], first["id"]);
    let list = test.read(&format!("{}s", path(&test))).await;
    assert_eq!(field_of_each(&list, "status"), ["queued", "running"]);
    assert_eq!(
        field_of_each(&test.read(&format!("{}s?size=1&page=2", path(&test))).await, "status"),
        ["running"]
    );
}

#[tokio::test]
async fn concurrent_requests_become_one_sync() {
    let test = TestApi::new().await;
    let path = path(&test);
    let requested =
        futures::future::join_all((0..8).map(|_| test.request(Method::POST, EDITOR, &path, Value::Null)))
            .await;
    let ids: std::collections::BTreeSet<_> =
        requested.into_iter().map(|response| response.expect(202)["id"].to_string()).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(test.number("select count(*) from outbox").await, 2);
}

#[tokio::test]
async fn a_request_takes_over_a_queued_scheduled_sync() {
    let test = TestApi::new().await;
    let scheduled = SeededSync { trigger: SyncTrigger::Schedule, ..SeededSync::default() };
    let id = testkit::insert_sync(&test.db, test.connector, scheduled).await;
    for _ in 0..2 {
        let requested = test.request(Method::POST, EDITOR, &path(&test), Value::Null).await.expect(202);
        let of = (&requested["id"], &requested["trigger"], &requested["requested_by"]["name"]);
        assert_eq!(of, (&json!(id), &json!("manual"), &json!("Edith")));
    }
    assert_eq!(test.number("select count(*) from syncs").await, 1);
    assert_eq!(test.number("select count(*) from sync_queue where trigger = 'manual'").await, 1);
    assert_eq!(test.number("select count(*) from outbox").await, 1, "it is the user's once");
}

#[tokio::test]
async fn connectors_of_other_types_and_inactive_ones_reject_syncs() {
    let test = TestApi::new().await;
    test.sql("update connectors set connector_type = 'dbt'").await;
    let rejected = test.request(Method::POST, EDITOR, &path(&test), Value::Null).await;
    assert_eq!(rejected.expect(400), json!({"detail": "Only Airflow connectors are supported"}));
    test.sql("update connectors set connector_type = 'airflow', is_active = false").await;
    test.request(Method::POST, EDITOR, &path(&test), Value::Null).await.expect(409);
    test.sql("update connectors set deleted_at = now()").await;
    test.request(Method::POST, EDITOR, &path(&test), Value::Null).await.expect(404);
    let invalid = test
        .request(Method::POST, EDITOR, &path(&test), json!({"full": "yes", "accept_mass_deletion": 1}))
        .await;
    assert_eq!(invalid.field_errors().len(), 2);
    assert_eq!(test.number("select count(*) from syncs").await, 0);
}

#[tokio::test]
async fn a_queued_or_running_sync_is_cancelled_and_names_who_did_it() {
    let test = TestApi::new().await;
    for status in [SyncStatus::Queued, SyncStatus::Running] {
        let open = SeededSync { status, ..SeededSync::default() };
        let sync = testkit::insert_sync(&test.db, test.connector, open).await;
        let path = format!("/connectors/{}/syncs/{sync}", test.connector);
        test.request(Method::DELETE, VIEWER, &path, Value::Null).await.expect(403);
        test.request(Method::DELETE, EDITOR, &path, Value::Null).await.expect(204);
        test.request(Method::DELETE, EDITOR, &path, Value::Null).await.expect(409);
        let cancelled = test.read(&path).await;
        assert_eq!((&cancelled["status"], cancelled["finished_at"].is_string()), (&json!("failed"), true));
        assert_eq!(cancelled["error"], "Edith cancelled this sync; the next one goes on from there.");
        let events =
            format!("select count(*) from outbox where topic::text like '%syncs.v1%' and key = '{sync}'");
        assert_eq!(test.number(&events).await, 1);
    }
    assert_eq!(test.number("select count(*) from audit where action = 'sync.cancelled'").await, 2);
}

#[tokio::test]
async fn the_history_has_the_syncs_of_all_connectors_of_the_space() {
    let test = TestApi::new().await;
    let other =
        testkit::create_connector(&test.db, SPACE, "second", json!({"base_url": "http://127.0.0.1:9"})).await;
    for connector in [test.connector, other] {
        let path = format!("/catalog/spaces/{SPACE}/connectors/{connector}/sync");
        let requested = test.send(Method::POST, EDITOR, &path, None).await;
        assert!(requested.header("location").contains(&format!("/connectors/{connector}/syncs/")));
        requested.expect(202);
    }
    testkit::insert_sync(&test.db, test.other_connector, SeededSync::default()).await;
    let history = test.get(&format!("/catalog/spaces/{SPACE}/sync-history")).await.expect(200);
    let of = |connector: contract::ids::ConnectorId| json!(connector);
    assert_eq!(field_of_each(&history, "connector_id").len(), 2);
    assert_eq!((&history[0]["connector_id"], &history[1]["connector_id"]), (&of(other), &of(test.connector)));
}

/// The status of a sync, or `trigger` for one that a trigger requested.
fn status_or_trigger(sync: &Value) -> &str {
    match sync["trigger"].as_str().unwrap() {
        "trigger" => "trigger",
        _ => sync["status"].as_str().unwrap(),
    }
}

#[tokio::test]
async fn syncs_are_filtered_by_status_trigger_and_what_they_changed() {
    let test = TestApi::new().await;
    for (status, trigger, published) in [
        (SyncStatus::Queued, SyncTrigger::Manual, None),
        (SyncStatus::Succeeded, SyncTrigger::Schedule, Some(0)),
        (SyncStatus::Succeeded, SyncTrigger::Trigger, Some(7)),
        (SyncStatus::Failed, SyncTrigger::Schedule, Some(0)),
    ] {
        let sync = SeededSync { status, trigger, ..SeededSync::default() };
        let id = testkit::insert_sync(&test.db, test.connector, sync).await;
        if let Some(published) = published {
            let report = json!({"events_published": published});
            test.sql(&format!("update syncs set report = '{report}' where id = '{id}'")).await;
        }
    }
    let lists = [
        format!("/spaces/{SPACE}/orchestration{}s", path(&test)),
        format!("/catalog/spaces/{SPACE}/sync-history"),
    ];
    for list in lists {
        for (filter, expected) in [
            ("", "failed trigger succeeded queued"),
            ("status=failed&status=queued", "failed queued"),
            ("status=succeeded&trigger=trigger", "trigger"),
            ("changed=true", "failed trigger"),
            ("changed=false", "succeeded queued"),
            ("changed=true&trigger=schedule", "failed"),
        ] {
            let found = test.get(&format!("{list}?{filter}")).await.expect(200);
            let shown: Vec<&str> = found.as_array().unwrap().iter().map(status_or_trigger).collect();
            assert_eq!(shown.join(" "), expected, "{list}?{filter}");
        }
        let invalid = test.get(&format!("{list}?status=late&trigger=cron&changed=perhaps")).await;
        assert_eq!(invalid.field_errors().len(), 3);
    }
}
