//! Every route of the route table, asked by everybody.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{ApiSetup, OTHER_SPACE, SPACE, TestApi};
use crate::seed::{ADMIN, EDITOR, REVOKED, STRANGER, VIEWER, hours_ago};

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// No key is asked for.
    Everybody,
    /// Any valid key.
    Caller,
    Viewer,
    Editor,
    Admin,
}

use Right::{Admin, Caller, Editor, Everybody, Viewer};

/// The code that somebody with the right gets on a test with nothing special in it, and the body to send.
pub type Row = (&'static str, &'static str, Right, u16, Value);

pub fn table() -> Vec<Row> {
    let base = "/api/v1.0/spaces/{slug}/orchestration";
    let catalog = "/api/v1.0/catalog/spaces/{slug}/connectors";
    let under =
        |base: &str, path: &str| -> &'static str { Box::leak(format!("{base}{path}").into_boxed_str()) };
    let o = |path: &str| under(base, path);
    let c = |path: &str| under(catalog, path);
    let none = Value::Null;
    let text = json!({"content": "a word"});
    let named = json!({"name": "made", "connector_type": "other"});
    vec![
        ("GET", "/health", Everybody, 200, none.clone()),
        ("GET", "/readyz", Everybody, 503, none.clone()),
        ("GET", "/metrics", Everybody, 200, none.clone()),
        ("GET", "/openapi.json", Everybody, 200, none.clone()),
        ("GET", "/docs", Everybody, 200, none.clone()),
        ("GET", "/docs/{file}", Everybody, 200, none.clone()),
        ("GET", "/api/v1.0/me", Caller, 200, none.clone()),
        ("GET", "/api/v1.0/spaces/{slug}/teams", Viewer, 200, none.clone()),
        ("GET", "/api/v1.0/spaces/{slug}/audit", Admin, 200, none.clone()),
        ("GET", o("/pipelines"), Viewer, 200, none.clone()),
        ("GET", o("/pipelines/{pipeline_id}"), Viewer, 200, none.clone()),
        ("PATCH", o("/pipelines/{pipeline_id}/team"), Editor, 200, json!({"team_id": null})),
        ("PATCH", o("/pipelines/{pipeline_id}/criticality"), Editor, 200, json!({"criticality": "low"})),
        ("POST", o("/pipelines/{pipeline_id}/trigger"), Editor, 502, none.clone()),
        ("PUT", o("/pipelines/{pipeline_id}/watch"), Viewer, 204, none.clone()),
        ("DELETE", o("/pipelines/{pipeline_id}/watch"), Viewer, 204, none.clone()),
        ("GET", o("/pipelines/{pipeline_id}/runs"), Viewer, 200, none.clone()),
        ("GET", o("/runs"), Viewer, 200, none.clone()),
        ("GET", o("/runs/{run_id}"), Viewer, 200, none.clone()),
        ("GET", o("/runs/{run_id}/comments"), Viewer, 200, none.clone()),
        ("POST", o("/runs/{run_id}/comments"), Editor, 201, text.clone()),
        ("GET", o("/task-runs/{task_run_id}"), Viewer, 200, none.clone()),
        ("GET", o("/task-runs/{task_run_id}/comments"), Viewer, 200, none.clone()),
        ("POST", o("/task-runs/{task_run_id}/comments"), Editor, 201, text.clone()),
        // The comment is the admin's own, so that an editor passes the role and fails as its author alone.
        ("PUT", o("/comments/{comment_id}"), Editor, 200, text.clone()),
        ("PATCH", o("/comments/{comment_id}"), Editor, 200, text),
        // Kafka is away in this test.
        ("GET", o("/events"), Viewer, 503, none.clone()),
        ("POST", o("/connectors/{connector_id}/sync"), Editor, 202, none.clone()),
        ("GET", o("/connectors/{connector_id}/syncs"), Viewer, 200, none.clone()),
        ("GET", o("/connectors/{connector_id}/syncs/{sync_id}"), Viewer, 200, none.clone()),
        ("GET", c(""), Viewer, 200, none.clone()),
        ("POST", c(""), Editor, 201, named),
        ("GET", c("/{connector_id}"), Viewer, 200, none.clone()),
        ("PATCH", c("/{connector_id}"), Editor, 200, json!({})),
        ("POST", c("/{connector_id}/test"), Editor, 200, none.clone()),
        // What is deleted is gone for the rows after it.
        ("DELETE", o("/comments/{comment_id}"), Editor, 204, none.clone()),
        ("DELETE", c("/{connector_id}"), Admin, 204, none),
    ]
}

/// The ids to put into the paths: those of the space, or another space's.
pub async fn ids(test: &TestApi, of_other_space: bool) -> BTreeMap<&'static str, String> {
    let connector = if of_other_space { test.other_connector } else { test.connector };
    let name = if of_other_space { "theirs" } else { "ours" };
    let pipeline = test.pipeline_of(connector, name).await;
    let run = test.run(pipeline, "r1", "success", hours_ago(1)).await;
    let task_run = test.task_run(run, "t1", -1, "success").await;
    let comment = test
        .id(&format!(
            "insert into comments (id, space_id, run_id, author_id, content)
             select gen_random_uuid(), r.space_id, r.id, u.id, 'a word' from runs r, users u
             where r.id = '{run}' and u.name = 'Ada' returning id"
        ))
        .await;
    let sync = test
        .id(&format!(
            "insert into syncs (id, space_id, connector_id, status, trigger, requested_at)
             select gen_random_uuid(), space_id, id, 'succeeded', 'manual', now() from connectors
             where id = '{connector}' returning id"
        ))
        .await;
    BTreeMap::from([
        ("{slug}", SPACE.to_owned()),
        ("{file}", "swagger-ui.css".to_owned()),
        ("{pipeline_id}", pipeline.to_string()),
        ("{run_id}", run.to_string()),
        ("{task_run_id}", task_run.to_string()),
        ("{comment_id}", comment.to_string()),
        ("{connector_id}", connector.to_string()),
        ("{sync_id}", sync.to_string()),
    ])
}

pub fn fill(path: &str, ids: &BTreeMap<&str, String>) -> String {
    ids.iter().fold(path.to_owned(), |path, (name, id)| path.replace(name, id))
}

async fn code(test: &TestApi, row: &Row, path: &str, key: Option<&str>) -> u16 {
    let mut request = axum::http::Request::builder().method(row.0).uri(path);
    if let Some(key) = key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    let body = if row.4.is_null() { String::new() } else { row.4.to_string() };
    let answer = test.raw(request.body(body.into()).unwrap()).await;
    if !answer.status.is_success() {
        assert!(
            !answer.body["detail"].is_null(),
            "{} {path} answers {} without a detail",
            row.0,
            answer.status
        );
    }
    answer.status.as_u16()
}

#[test]
fn the_table_names_every_route() {
    let document = api::openapi::document();
    let routes = document["paths"].as_object().unwrap().iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().keys().map(|method| method.to_uppercase());
        methods.filter(|method| method.parse::<Method>().is_ok()).map(move |method| (method, path.clone()))
    });
    let mut routes: Vec<_> = routes.collect();
    let mut rows: Vec<_> = table().iter().map(|row| (row.0.to_owned(), row.1.to_owned())).collect();
    routes.sort();
    rows.sort();
    assert_eq!(routes, rows);
}

#[tokio::test]
async fn every_route_is_open_to_those_with_the_right_and_to_nobody_else() {
    // Short, since a stream waits for Kafka.
    let test =
        TestApi::with(ApiSetup { request_timeout: Duration::from_secs(12), ..ApiSetup::default() }).await;
    let (ours, theirs) = (ids(&test, false).await, ids(&test, true).await);
    for row in table() {
        let (method, path, right, good, _) = &row;
        let ours = fill(path, &ours);
        let expected = |role: Right| match right {
            Everybody => *good,
            _ if role < *right => 403,
            _ => *good,
        };
        let mut asked = vec![(None, 401), (Some("qk_wrong"), 401), (Some(REVOKED), 401)];
        match right {
            Everybody => asked = vec![(None, *good)],
            Caller => asked.push((Some(STRANGER), *good)),
            _ => asked.extend([(Some(STRANGER), 404), (Some(VIEWER), expected(Viewer))]),
        }
        if *right >= Viewer {
            // A comment of somebody else's is not the editor's to touch.
            let others = path.contains("{comment_id}") && *method != "GET";
            asked.push((Some(EDITOR), if others { 403 } else { expected(Editor) }));
            asked.push((Some(ADMIN), expected(Admin)));
        }
        for (key, expected) in asked {
            // A name may be had once.
            test.sql("delete from connectors where name = 'made'").await;
            assert_eq!(code(&test, &row, &ours, key).await, expected, "{method} {ours} with {key:?}");
        }
        if path.contains("_id}") {
            let stray = fill(path, &theirs);
            assert_eq!(
                code(&test, &row, &stray, Some(ADMIN)).await,
                404,
                "{method} {stray} of another space"
            );
            let unknown = theirs
                .keys()
                .map(|name| (*name, if *name == "{slug}" { SPACE.into() } else { Uuid::nil().to_string() }));
            let unknown = fill(path, &unknown.collect());
            assert_eq!(code(&test, &row, &unknown, Some(ADMIN)).await, 404, "{method} {unknown}");
            let malformed = fill(
                path,
                &theirs
                    .keys()
                    .map(|name| (*name, if *name == "{slug}" { SPACE.into() } else { "x".into() }))
                    .collect(),
            );
            assert_eq!(code(&test, &row, &malformed, Some(ADMIN)).await, 422, "{method} {malformed}");
        }
        if *right >= Viewer {
            let elsewhere = ours.replace(&format!("/spaces/{SPACE}/"), &format!("/spaces/{OTHER_SPACE}/"));
            assert_eq!(code(&test, &row, &elsewhere, Some(ADMIN)).await, 404, "{method} {elsewhere}");
            let nowhere = ours.replace(&format!("/spaces/{SPACE}/"), "/spaces/nowhere/");
            assert_eq!(code(&test, &row, &nowhere, Some(ADMIN)).await, 404, "{method} {nowhere}");
        }
    }
}

#[tokio::test]
async fn a_revoked_key_and_a_lost_membership_stop_at_once() {
    let test = TestApi::new().await;
    let path = format!("/spaces/{SPACE}/teams");
    test.get(&path).await.expect(200);
    test.sql("update memberships set role = 'editor' where role = 'viewer'").await;
    test.send(
        Method::POST,
        VIEWER,
        &format!("/catalog/spaces/{SPACE}/connectors"),
        Some(json!({"name": "x", "connector_type": "y"})),
    )
    .await
    .expect(201);
    test.sql("delete from memberships where user_id = (select id from users where name = 'Victor')").await;
    assert_eq!(test.get(&path).await.expect(404), json!({"detail": "Space not found"}));
    test.sql("update api_keys set revoked_at = now() where prefix = 'qk_victor'").await;
    assert_eq!(test.get(&path).await.status, 401);
}

#[tokio::test]
async fn me_tells_who_and_where() {
    let test = TestApi::new().await;
    let me = test.send(Method::GET, EDITOR, "/me", None).await.expect(200);
    assert_eq!(me["user"]["name"], "Edith");
    assert_eq!(me["spaces"], json!([{"slug": "finance", "name": "Finance", "role": "editor"}]));
}

/// While changes are told, keys are remembered; what is changed holds at once all the same.
#[tokio::test]
async fn what_is_remembered_of_a_key_is_forgotten_when_it_changes() {
    let test = TestApi::new().await;
    let app = test.app.clone();
    tokio::spawn(async move { app.access.listen(&app.db, &app.stopping).await });
    let path = format!("/spaces/{SPACE}/orchestration/runs");
    let status = async |key: &str| test.send(Method::GET, key, &path, None).await.status.as_u16();
    let becomes = async |key: &str, wanted: u16| {
        let becomes = async { while status(key).await != wanted {} };
        tokio::time::timeout(Duration::from_secs(60), becomes).await.expect("it is told");
    };
    let remembered = async {
        // With the tables away, only what is remembered can answer for the key.
        while {
            assert_eq!(status(VIEWER).await, 200);
            let mut hidden = test.db.begin().await.unwrap();
            sqlx::query("alter table api_keys rename to hidden").execute(&mut *hidden).await.unwrap();
            let answer = tokio::time::timeout(Duration::from_millis(300), status(VIEWER)).await;
            hidden.rollback().await.unwrap();
            answer.is_err()
        } {}
    };
    tokio::time::timeout(Duration::from_secs(60), remembered).await.expect("a key is remembered");

    test.sql("update api_keys set revoked_at = now() where prefix = 'qk_victor'").await;
    becomes(VIEWER, 401).await;
    test.sql("update api_keys set revoked_at = null where prefix = 'qk_victor'").await;
    becomes(VIEWER, 200).await;
    test.sql("delete from memberships where user_id in (select id from users where name = 'Victor')").await;
    becomes(VIEWER, 404).await;
}
