//! Unusual text: it is returned unchanged, found by search, or rejected with a 4xx.

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};

use crate::access::{fill_path, path_ids, routes};
use crate::app::TestApi;
use crate::assertions::field_of_each;
use crate::seed::{ADMIN, EDITOR, comment, hours_ago};

const TEXTS: [&str; 10] = [
    "%_\\",
    "'; drop table runs; --",
    "\"quoted\"",
    "emoji 🦀👩‍👩‍👧",
    "שלום עולם",
    "e\u{301}a\u{308}\u{323}",
    "\u{202e}reversed",
    "tab\tand\nline",
    "\u{feff}bom",
    "\u{1}\u{7f}",
];

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn text_is_returned_unchanged() {
    let test = TestApi::new().await;
    let run = test.run(test.pipeline("p").await, "r", "success", hours_ago(1)).await;
    let path = format!("/runs/{run}/comments");
    for text in TEXTS {
        let created = test.request(Method::POST, EDITOR, &path, comment(text)).await.expect(201);
        assert_eq!(created["content"], text);
        let body = json!({"name": text, "connector_type": "other", "config": {text: [text]}});
        let created = test
            .send(Method::POST, ADMIN, "/catalog/spaces/finance/connectors", Some(body))
            .await
            .expect(201);
        assert_eq!((&created["name"], &created["config"]), (&json!(text.trim()), &json!({text: [text]})));
    }
    assert_eq!(field_of_each(&test.read(&path).await, "content"), TEXTS);
}

#[tokio::test]
async fn text_is_found_by_filters_and_search() {
    let test = TestApi::new().await;
    for (n, text) in TEXTS.iter().enumerate() {
        let pipeline = test.pipeline(&format!("p{n}")).await;
        test.run(pipeline, text, "success", hours_ago(1)).await;
        sqlx::query(
            "update pipelines set description = $1, owners = array[$1], tags = array[$1] where id = $2",
        )
        .bind(text)
        .bind(pipeline)
        .execute(&test.db)
        .await
        .unwrap();
    }
    for (n, text) in TEXTS.iter().enumerate() {
        let text = encoded(text);
        for query in [format!("q={text}"), format!("owner={text}"), format!("tag={text}")] {
            assert_eq!(
                field_of_each(&test.read(&format!("/pipelines?{query}")).await, "name"),
                [format!("p{n}")],
                "{query}"
            );
        }
        let runs = test.read(&format!("/runs?run_id={text}&q={text}&owner={text}&tag={text}")).await;
        assert_eq!(field_of_each(&runs, "pipeline_name"), [format!("p{n}")]);
    }
}

#[tokio::test]
async fn text_in_the_ids_of_scheduled_runs_is_found_as_in_others() {
    let test = TestApi::new().await;
    let pipeline = test.pipeline("p").await;
    let time = "2026-03-01T07:15:00+00:00";
    let [scheduled, manual] = ["scheduled", "manual"].map(|word| format!("{word}__{time}"));
    let ids = [scheduled.as_str(), manual.as_str(), "scheduled__2026", "scheduled__2026-03-01T07:15:00"];
    for (hours, id) in ids.iter().enumerate() {
        test.run(pipeline, id, "success", hours_ago(hours as i64)).await;
    }
    for (text, found) in [
        ("sCHED", &[0, 2, 3][..]),
        ("d__2026", &[0, 2, 3]),
        (scheduled.as_str(), &[0]),
        (manual.as_str(), &[1]),
        ("2026-03-01", &[0, 1, 3]),
        ("3-01t07:1", &[0, 1, 3]),
        ("07:15", &[0, 1, 3]),
        ("15:00+", &[0, 1]),
        (":00+00:00", &[0, 1]),
        ("T07:16", &[]),
        ("-03-02", &[]),
        ("al__2026-03-01", &[1]),
        ("%", &[]),
    ] {
        let expected: Vec<&str> = found.iter().map(|&place: &usize| ids[place]).collect();
        for list in ["/runs".to_owned(), format!("/pipelines/{pipeline}/runs")] {
            let runs = test.read(&format!("{list}?run_id={}", encoded(text))).await;
            assert_eq!(field_of_each(&runs, "external_id"), expected, "{text}");
        }
    }
}

/// Without statistics PostgreSQL expects that one run in twenty-five matches, and reads the whole table.
#[tokio::test]
async fn few_runs_are_expected_to_have_a_rare_text_in_their_ids() {
    let test = TestApi::new().await;
    let pipeline = test.pipeline("p").await;
    for n in 0..120 {
        test.run(pipeline, &format!("run {n}"), "success", hours_ago(n)).await;
    }
    assert!(platform::db::create_text_indexes(&test.db).await.unwrap());
    let plan: Value = sqlx::query_scalar(
        r#"explain (format json) select from runs where lower(external_id collate "und-x-icu") like '%zzz%'"#,
    )
    .fetch_one(&test.db)
    .await
    .unwrap();
    assert_eq!(plan[0]["Plan"]["Plan Rows"], 1, "{plan}");
}

#[tokio::test]
async fn nul_characters_and_invalid_slugs_are_rejected() {
    let test = TestApi::new().await;
    for query in ["q", "owner", "tag", "provider"] {
        let response = test.get(&format!("/spaces/finance/orchestration/pipelines?{query}=a%00")).await;
        assert_eq!(response.field_errors()[0].0, format!("query.{query}"));
    }
    for slug in ["%00", "%ff", "a%2fb", "%F0%9F%A6%80", "';--"] {
        let response = test.get(&format!("/spaces/{slug}/teams")).await;
        assert_eq!(response.expect(404), json!({"detail": "Space not found"}), "{slug}");
        let response = test.get(&format!("/spaces/finance/orchestration/runs/{slug}")).await;
        assert!([404, 422].contains(&response.status.as_u16()), "{slug}");
    }
    let pipeline = test.pipeline("p").await;
    let trigger = format!("/pipelines/{pipeline}/trigger");
    for body in [
        json!({"conf": {"a": ["\u{0}"]}}),
        json!({"conf": {"\u{0}": 1}}),
        json!({"note": "\u{0}"}),
        json!({"run_id": "\u{0}"}),
    ] {
        assert_eq!(test.request(Method::POST, EDITOR, &trigger, body).await.status, 422);
    }
    for body in
        [json!({"name": "\u{0}", "connector_type": "x"}), json!({"name": "x", "connector_type": "x\u{0}"})]
    {
        let response = test.send(Method::POST, ADMIN, "/catalog/spaces/finance/connectors", Some(body)).await;
        assert_eq!(response.status, 422);
    }
}

/// Every query parameter, and every string of every body.
#[tokio::test]
async fn nul_characters_are_rejected_in_every_documented_text() {
    let test = TestApi::new().await;
    let ids = path_ids(&test, false).await;
    let document = api::server::document();
    let mut requests = 0;
    for row in routes().iter().filter(|row| row.1.starts_with(api::http::BASE_PATH)) {
        let operation = &document["paths"][row.1][row.0.to_lowercase()];
        let request = || {
            let key = format!("Bearer {ADMIN}");
            Request::builder().method(row.0).header("authorization", key)
        };
        let path = fill_path(row.1, &ids);
        for parameter in
            operation["parameters"].as_array().unwrap().iter().filter(|known| known["in"] == "query")
        {
            let name = parameter["name"].as_str().unwrap();
            let request_with_nul = request().uri(format!("{path}?{name}=%00")).body(Body::empty()).unwrap();
            let response = test.raw(request_with_nul).await;
            assert_eq!(response.field_errors()[0].0, format!("query.{name}"), "{row:?}");
            requests += 1;
        }
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        let reference = schema["$ref"].as_str().or(schema["oneOf"][0]["$ref"].as_str());
        let Some(schema_name) = reference.and_then(|reference| reference.rsplit('/').next()) else {
            continue;
        };
        for body in with_nul(&api::openapi::examples()[schema_name]) {
            let request_with_nul = request().uri(&path).body(Body::from(body.to_string())).unwrap();
            assert_eq!(test.raw(request_with_nul).await.status, 422, "{row:?} {body}");
            requests += 1;
        }
    }
    assert!(requests > 80, "only {requests} requests");
}

/// Copies of the example, each with a NUL character in another string.
fn with_nul(example: &Value) -> Vec<Value> {
    match example {
        Value::String(text) => vec![json!(format!("{text}\u{0}"))],
        Value::Object(fields) => {
            let replaced = fields.iter().flat_map(|(name, value)| {
                with_nul(value).into_iter().map(move |value| {
                    let mut with = fields.clone();
                    with.insert(name.clone(), value);
                    Value::Object(with)
                })
            });
            replaced.collect()
        }
        Value::Array(items) => items.iter().flat_map(with_nul).map(|item| json!([item])).collect(),
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn searches_of_two_hundred_characters_succeed() {
    let test = TestApi::new().await;
    test.pipeline("p").await;
    for q in ["x".repeat(200), "p+".repeat(100), "%F0%9F%A6%80".repeat(200)] {
        let list = test.read(&format!("/pipelines?q={q}")).await;
        assert_eq!(list == json!([]), !q.starts_with('p'));
        assert_ne!(list, Value::Null);
    }
}
