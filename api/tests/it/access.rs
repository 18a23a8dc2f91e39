//! Every route of the API, requested with every role.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::Method;
use contract::ids::RunId;
use contract::state::SyncStatus;
use serde_json::{Value, json};
use testkit::SeededSync;
use uuid::Uuid;

use crate::app::{ApiSetup, OTHER_SPACE, SPACE, TestApi};
use crate::seed::{
    ADMIN, EDITOR, MESSAGE, REVOKED, STRANGER, VIEWER, hours_ago, insert_channel, insert_of_channel,
    unused_key,
};

/// The lowest role that a route needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RequiredRole {
    /// No key is needed.
    Public,
    /// A session; a valid key finds none.
    Session,
    /// Any valid key.
    User,
    Viewer,
    Editor,
    Admin,
}

use RequiredRole::{Admin, Editor, Public, Session, User, Viewer};

/// A route: its method, path and required role, the status that a sufficient role gets, and the body to send.
pub(crate) type RouteRow = (&'static str, &'static str, RequiredRole, u16, Value);

#[expect(clippy::too_many_lines, reason = "one line a route")]
pub(crate) fn routes() -> Vec<RouteRow> {
    let base = "/api/v1.0/spaces/{slug}/orchestration";
    let catalog = "/api/v1.0/catalog/spaces/{slug}/connectors";
    let under =
        |base: &str, path: &str| -> &'static str { Box::leak(format!("{base}{path}").into_boxed_str()) };
    let o = |path: &str| under(base, path);
    let c = |path: &str| under(catalog, path);
    let s = |path: &str| under("/api/v1.0/spaces/{slug}", path);
    let none = Value::Null;
    let text = json!({"content": "a word"});
    let named = json!({"name": "made", "connector_type": "other"});
    let channel = json!({"type": "email", "name": "made", "config": {"to": ["ada@example.org"]}});
    vec![
        ("GET", "/health", Public, 200, none.clone()),
        ("GET", "/readyz", Public, 200, none.clone()),
        ("GET", "/metrics", Public, 200, none.clone()),
        ("GET", "/openapi.json", Public, 200, none.clone()),
        ("GET", "/docs", Public, 200, none.clone()),
        ("GET", "/docs/{file}", Public, 200, none.clone()),
        ("GET", "/api/v1.0/session/providers", Public, 200, none.clone()),
        ("POST", "/api/v1.0/session", Public, 201, json!({"key": ADMIN})),
        ("GET", "/api/v1.0/session", Session, 404, none.clone()),
        // No provider is configured.
        ("GET", "/api/v1.0/session/oidc", Public, 404, none.clone()),
        ("GET", "/api/v1.0/session/oidc/callback", Public, 404, none.clone()),
        ("GET", "/api/v1.0/session/oidc/sign-out", Public, 404, none.clone()),
        ("GET", "/api/v1.0/sessions", User, 200, none.clone()),
        ("GET", "/api/v1.0/me", User, 200, none.clone()),
        ("GET", "/api/v1.0/me/notifications", User, 200, none.clone()),
        ("PUT", "/api/v1.0/me/notifications/read", User, 204, none.clone()),
        ("GET", "/api/v1.0/api-keys", User, 200, none.clone()),
        ("POST", "/api/v1.0/api-keys", User, 201, json!({"label": "made"})),
        ("GET", s("/people"), Admin, 200, none.clone()),
        ("GET", s("/group-mappings"), Admin, 200, none.clone()),
        ("POST", s("/group-mappings"), Admin, 201, json!({"group": "made", "role": "viewer"})),
        ("PATCH", s("/group-mappings/{group_mapping_id}"), Admin, 200, json!({"role": "editor"})),
        ("GET", s("/members"), Viewer, 200, none.clone()),
        ("PUT", s("/members/{user_id}"), Admin, 200, json!({"role": "viewer"})),
        ("GET", s("/teams"), Viewer, 200, none.clone()),
        ("POST", s("/teams"), Admin, 201, json!({"name": "made"})),
        ("GET", s("/teams/{team_id}"), Viewer, 200, none.clone()),
        ("PATCH", s("/teams/{team_id}"), Admin, 200, json!({"description": "new"})),
        ("GET", s("/teams/{team_id}/members"), Viewer, 200, none.clone()),
        ("PUT", s("/teams/{team_id}/members/{user_id}"), Admin, 200, json!({"role": "manager"})),
        ("GET", s("/audit"), Admin, 200, none.clone()),
        ("GET", o("/pipelines"), Viewer, 200, none.clone()),
        ("GET", o("/pipelines/facets"), Viewer, 200, none.clone()),
        ("POST", o("/pipelines/bulk"), Editor, 200, json!({"ids": [Uuid::nil()], "criticality": "low"})),
        ("GET", o("/pipelines/{pipeline_id}"), Viewer, 200, none.clone()),
        ("PATCH", o("/pipelines/{pipeline_id}/team"), Editor, 200, json!({"team_id": null})),
        ("PATCH", o("/pipelines/{pipeline_id}/criticality"), Editor, 200, json!({"criticality": "low"})),
        ("POST", o("/pipelines/{pipeline_id}/trigger"), Editor, 502, none.clone()),
        ("PUT", o("/pipelines/{pipeline_id}/watch"), Viewer, 204, none.clone()),
        ("DELETE", o("/pipelines/{pipeline_id}/watch"), Viewer, 204, none.clone()),
        ("GET", o("/pipelines/{pipeline_id}/runs"), Viewer, 200, none.clone()),
        ("GET", o("/pipelines/{pipeline_id}/parameters"), Editor, 200, none.clone()),
        ("GET", o("/pipelines/{pipeline_id}/grid"), Viewer, 200, none.clone()),
        ("GET", o("/runs"), Viewer, 200, none.clone()),
        ("GET", o("/runs/{run_id}"), Viewer, 200, none.clone()),
        ("GET", o("/runs/{run_id}/comments"), Viewer, 200, none.clone()),
        ("POST", o("/runs/{run_id}/comments"), Editor, 201, text.clone()),
        ("GET", o("/task-runs/{task_run_id}"), Viewer, 200, none.clone()),
        ("GET", o("/task-runs/{task_run_id}/comments"), Viewer, 200, none.clone()),
        ("POST", o("/task-runs/{task_run_id}/comments"), Editor, 201, text.clone()),
        // The comment is the admin's: an editor has the role, and is refused for not being its author.
        ("PUT", o("/comments/{comment_id}"), Editor, 200, text.clone()),
        ("PATCH", o("/comments/{comment_id}"), Editor, 200, text.clone()),
        ("GET", o("/incidents"), Viewer, 200, none.clone()),
        ("GET", o("/incidents/{incident_id}"), Viewer, 200, none.clone()),
        ("POST", o("/incidents/{incident_id}/acknowledge"), Editor, 200, none.clone()),
        ("POST", o("/incidents/{incident_id}/mute"), Editor, 200, json!({"until": null})),
        ("GET", o("/incidents/{incident_id}/comments"), Viewer, 200, none.clone()),
        ("POST", o("/incidents/{incident_id}/comments"), Editor, 201, text),
        // Kafka is unavailable in this test.
        ("GET", o("/events"), Viewer, 503, none.clone()),
        ("POST", o("/connectors/{connector_id}/sync"), Editor, 202, none.clone()),
        ("GET", o("/connectors/{connector_id}/syncs"), Viewer, 200, none.clone()),
        ("GET", o("/connectors/{connector_id}/syncs/{sync_id}"), Viewer, 200, none.clone()),
        // The sync has ended.
        ("DELETE", o("/connectors/{connector_id}/syncs/{sync_id}"), Editor, 409, none.clone()),
        ("GET", c(""), Viewer, 200, none.clone()),
        ("POST", c(""), Editor, 201, named),
        ("GET", c("/{connector_id}"), Viewer, 200, none.clone()),
        ("PATCH", c("/{connector_id}"), Editor, 200, json!({})),
        ("POST", c("/{connector_id}/test"), Editor, 200, none.clone()),
        ("POST", c("/{connector_id}/sync"), Editor, 202, none.clone()),
        ("GET", "/api/v1.0/catalog/spaces/{slug}/sync-history", Viewer, 200, none.clone()),
        ("GET", o("/notifications/channels"), Admin, 200, none.clone()),
        ("POST", o("/notifications/channels"), Admin, 201, channel),
        ("GET", o("/notifications/channels/{channel_id}"), Admin, 200, none.clone()),
        ("PATCH", o("/notifications/channels/{channel_id}"), Admin, 200, json!({})),
        ("POST", o("/notifications/channels/{channel_id}/test"), Admin, 202, none.clone()),
        ("GET", o("/notifications/channels/{channel_id}/deliveries"), Admin, 200, none.clone()),
        (
            "POST",
            o("/notifications/channels/{channel_id}/deliveries/{delivery_id}/redeliver"),
            Admin,
            202,
            none.clone(),
        ),
        ("GET", o("/notifications/rules"), Admin, 200, none.clone()),
        // The space has no such channel.
        ("POST", o("/notifications/rules"), Admin, 404, json!({"channel_id": Uuid::nil()})),
        ("GET", o("/notifications/rules/{rule_id}"), Admin, 200, none.clone()),
        ("PATCH", o("/notifications/rules/{rule_id}"), Admin, 200, json!({})),
        // Deletions come last, since other rows need what they delete.
        ("DELETE", s("/group-mappings/{group_mapping_id}"), Admin, 204, none.clone()),
        ("DELETE", s("/teams/{team_id}/members/{user_id}"), Admin, 204, none.clone()),
        ("DELETE", s("/teams/{team_id}"), Admin, 204, none.clone()),
        ("DELETE", s("/members/{user_id}"), Admin, 204, none.clone()),
        ("DELETE", "/api/v1.0/api-keys/{key_id}", User, 204, none.clone()),
        ("DELETE", "/api/v1.0/session", Session, 404, none.clone()),
        ("DELETE", "/api/v1.0/sessions/{session_id}", User, 204, none.clone()),
        ("DELETE", o("/comments/{comment_id}"), Editor, 204, none.clone()),
        ("DELETE", o("/notifications/rules/{rule_id}"), Admin, 204, none.clone()),
        ("DELETE", o("/notifications/channels/{channel_id}"), Admin, 204, none.clone()),
        ("DELETE", c("/{connector_id}"), Admin, 204, none),
    ]
}

/// The ids to fill into paths: those of the first space, or of the other one.
pub(crate) async fn path_ids(test: &TestApi, of_other_space: bool) -> BTreeMap<&'static str, String> {
    let connector = if of_other_space { test.other_connector } else { test.connector };
    let name = if of_other_space { "theirs" } else { "ours" };
    let pipeline = test.pipeline_of(connector, name).await;
    let run = test.run(pipeline, "r1", "success", hours_ago(1)).await;
    let task_run = test.task_run(run, "t1", -1, "success").await;
    let comment = insert_comment(test, run).await;
    let incident = test.incident(pipeline, "failing").await;
    let succeeded = SeededSync { status: SyncStatus::Succeeded, ..SeededSync::default() };
    let sync = testkit::insert_sync(&test.db, connector, succeeded).await;
    let owner = if of_other_space { STRANGER } else { ADMIN };
    let session = test.begin_session(owner, &format!("a session of {owner}")).await;
    let key = unused_key(test, owner).await;
    // Rex has no key that is valid.
    let name = if of_other_space { "Olga" } else { "Rex" };
    let user = test.id(&format!("select id from users where name = '{name}'")).await;
    let group_mapping = test.group_mapping(if of_other_space { OTHER_SPACE } else { SPACE }, name).await;
    let team = if of_other_space { test.other_team } else { test.team };
    let channel = insert_channel(test, if of_other_space { OTHER_SPACE } else { SPACE }).await;
    BTreeMap::from([
        ("{channel_id}", channel.to_string()),
        ("{rule_id}", insert_of_channel(test, "notification_rules", channel, "").await),
        ("{delivery_id}", insert_of_channel(test, "notification_deliveries", channel, MESSAGE).await),
        ("{key_id}", key.to_string()),
        ("{user_id}", user.to_string()),
        ("{team_id}", team.to_string()),
        ("{group_mapping_id}", group_mapping.to_string()),
        ("{slug}", SPACE.to_owned()),
        ("{session_id}", session.to_string()),
        ("{file}", "swagger-ui.css".to_owned()),
        ("{pipeline_id}", pipeline.to_string()),
        ("{run_id}", run.to_string()),
        ("{task_run_id}", task_run.to_string()),
        ("{comment_id}", comment.to_string()),
        ("{connector_id}", connector.to_string()),
        ("{sync_id}", sync.to_string()),
        ("{incident_id}", incident.to_string()),
    ])
}

async fn insert_comment(test: &TestApi, run: RunId) -> Uuid {
    test.id(&format!(
        "insert into comments (id, space_id, run_id, author_id, content)
         select gen_random_uuid(), r.space_id, r.id, u.id, 'a word' from runs r, users u
         where r.id = '{run}' and u.name = 'Ada' returning id"
    ))
    .await
}

pub(crate) fn fill_path(path: &str, path_ids: &BTreeMap<&str, String>) -> String {
    path_ids.iter().fold(path.to_owned(), |path, (name, id)| path.replace(name, id))
}

async fn status_code(test: &TestApi, row: &RouteRow, path: &str, key: Option<&str>) -> u16 {
    let mut request = axum::http::Request::builder().method(row.0).uri(path);
    if let Some(key) = key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    let body = if row.4.is_null() { String::new() } else { row.4.to_string() };
    let response = test.raw(request.body(body.into()).unwrap()).await;
    if !response.status.is_success() {
        assert!(
            !response.body["detail"].is_null(),
            "{} {path} returns {} without a detail",
            row.0,
            response.status
        );
    }
    response.status.as_u16()
}

#[test]
fn the_table_contains_every_route() {
    let document = api::server::document();
    let documented = document["paths"].as_object().unwrap().iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().keys().map(|method| method.to_uppercase());
        methods.filter(|method| method.parse::<Method>().is_ok()).map(move |method| (method, path.clone()))
    });
    let mut documented: Vec<_> = documented.collect();
    let mut rows: Vec<_> = routes().iter().map(|row| (row.0.to_owned(), row.1.to_owned())).collect();
    documented.sort();
    rows.sort();
    assert_eq!(documented, rows);
}

#[tokio::test]
async fn every_route_requires_its_role() {
    let test = TestApi::with(short_timeout()).await;
    let ids = path_ids(&test, false).await;
    for row in routes() {
        let (method, path, ..) = &row;
        let path = fill_path(path, &ids);
        for (key, expected) in expected_statuses(&row) {
            // The name is unique, so an earlier request's connector goes first.
            test.sql(
                "delete from connectors where name = 'made'; delete from teams where name = 'made';
                 delete from notification_channels where name = 'made';
                 delete from group_mappings where group_name = 'made'",
            )
            .await;
            assert_eq!(status_code(&test, &row, &path, key).await, expected, "{method} {path} with {key:?}");
        }
    }
}

/// A stream waits for Kafka until this timeout.
fn short_timeout() -> ApiSetup {
    ApiSetup { request_timeout: Duration::from_secs(12), ..ApiSetup::default() }
}

/// The status of a route for each key.
fn expected_statuses((method, path, required, success, _): &RouteRow) -> Vec<(Option<&'static str>, u16)> {
    if *required == Public {
        return vec![(None, *success)];
    }
    let mut statuses = vec![(None, 401), (Some("qk_wrong"), 401), (Some(REVOKED), 401)];
    if *required <= User {
        // A user's own things are found by their own keys alone.
        let is_own = path.contains("_id}");
        statuses.push((Some(STRANGER), if is_own { 404 } else { *success }));
        statuses.push((Some(ADMIN), *success));
        return statuses;
    }
    let expected = |role: RequiredRole| if role < *required { 403 } else { *success };
    // An editor must not change the comment of another author.
    let is_other_author = path.contains("{comment_id}") && *method != "GET";
    statuses.extend([
        (Some(STRANGER), 404),
        (Some(VIEWER), expected(Viewer)),
        (Some(EDITOR), if is_other_author { 403 } else { expected(Editor) }),
        (Some(ADMIN), expected(Admin)),
    ]);
    statuses
}

#[tokio::test]
async fn ids_and_spaces_that_do_not_match_are_not_found() {
    let test = TestApi::with(short_timeout()).await;
    let (own, other) = (path_ids(&test, false).await, path_ids(&test, true).await);
    let with_ids = |path: &str, id: &str| {
        let replaced = other
            .keys()
            .map(|name| (*name, if *name == "{slug}" { SPACE.to_owned() } else { id.to_owned() }));
        fill_path(path, &replaced.collect())
    };
    for row in routes() {
        let (method, path, required, ..) = &row;
        let mut expected = Vec::new();
        if path.contains("_id}") {
            // A user of no or of another space can be added.
            let is_added = *method == "PUT" && path.ends_with("{slug}/members/{user_id}");
            if !is_added {
                expected.push((fill_path(path, &other), 404));
            }
            expected.push((with_ids(path, &Uuid::nil().to_string()), 404));
            expected.push((with_ids(path, "x"), 422));
        }
        if *required >= Viewer {
            for space in [OTHER_SPACE, "nowhere"] {
                let space = format!("/spaces/{space}/");
                expected.push((fill_path(path, &own).replace(&format!("/spaces/{SPACE}/"), &space), 404));
            }
        }
        for (path, expected) in expected {
            assert_eq!(status_code(&test, &row, &path, Some(ADMIN)).await, expected, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_revoked_key_and_a_removed_membership_lose_access_at_once() {
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
async fn me_returns_the_user_and_their_spaces() {
    let test = TestApi::new().await;
    let me = test.send(Method::GET, EDITOR, "/me", None).await.expect(200);
    assert_eq!(me["user"]["name"], "Edith");
    assert_eq!(me["spaces"], json!([{"slug": "finance", "name": "Finance", "role": "editor"}]));
}

/// Keys are cached while the API listens for changes of access; a change invalidates them.
#[tokio::test]
async fn a_cached_key_is_invalidated_when_access_changes() {
    let test = TestApi::new().await;
    test.cache_access();
    let path = format!("/spaces/{SPACE}/orchestration/runs");
    let status = async |key: &str| test.send(Method::GET, key, &path, None).await.status.as_u16();
    let wait_for_status = async |key: &str, expected: u16| {
        let is_changed = async || status(key).await == expected;
        testkit::eventually("the key's access changes", Duration::from_secs(60), is_changed).await;
    };
    let is_cached = async {
        // While the table is renamed, only a cached key is accepted.
        while {
            assert_eq!(status(VIEWER).await, 200);
            let mut hidden = test.db.begin().await.unwrap();
            sqlx::query("alter table api_keys rename to hidden").execute(&mut *hidden).await.unwrap();
            let response = tokio::time::timeout(Duration::from_millis(300), status(VIEWER)).await;
            hidden.rollback().await.unwrap();
            response.is_err()
        } {}
    };
    tokio::time::timeout(Duration::from_secs(60), is_cached).await.expect("a key is cached");

    test.sql("update api_keys set revoked_at = now() where prefix = 'qk_victor'").await;
    wait_for_status(VIEWER, 401).await;
    test.sql("update api_keys set revoked_at = null where prefix = 'qk_victor'").await;
    wait_for_status(VIEWER, 200).await;
    test.sql("delete from memberships where user_id in (select id from users where name = 'Victor')").await;
    wait_for_status(VIEWER, 404).await;
}
