//! The audit log contains every change with its actor, and neither reads nor secrets.

use axum::http::Method;
use serde_json::{Value, json};
use testkit::FakeAirflow;

use crate::app::{SPACE, TestApi};
use crate::assertions::field_of_each;
use crate::seed::{ADMIN, EDITOR, OTHER_EDITOR, VIEWER, comment, hours_ago};

impl TestApi {
    /// Returns the audit log as the admin, newest first.
    async fn audit(&self, query: &str) -> Value {
        self.send(Method::GET, ADMIN, &format!("/spaces/{SPACE}/audit{query}"), None).await.expect(200)
    }
}

/// Returns the actor, action and channel of each entry, oldest first.
fn entries_of(audit: &Value) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let entries = audit.as_array().unwrap().iter().rev();
    entries
        .map(|entry| (text(&entry["actor"]["name"]), text(&entry["action"]), text(&entry["via"])))
        .collect()
}

fn entry_of(name: &str, action: &str, via: &str) -> (String, String, String) {
    (name.to_owned(), action.to_owned(), via.to_owned())
}

#[expect(clippy::too_many_lines, reason = "one line a change and one an entry")]
#[tokio::test]
async fn every_change_over_http_is_audited_with_its_actor() {
    let test = TestApi::new().await;
    let fake = FakeAirflow::start(0).await;
    let pipeline = test.pipeline("p").await;
    let run = test.run(pipeline, "r", "success", hours_ago(1)).await;
    let catalog = format!("/catalog/spaces/{SPACE}/connectors");
    let connector = format!("{catalog}/{}", test.connector);
    let change = json!({
        "name": "renamed", "config": {"base_url": fake.url, "schedule": "0 * * * * *"},
        "credentials": {"auth_type": "basic", "username": "svc", "password": "right"},
    });
    test.send(Method::PATCH, EDITOR, &connector, Some(change)).await.expect(200);
    let send = async |method, key, path: String, body| test.request(method, key, &path, body).await;
    let team = format!("/pipelines/{pipeline}/team");
    send(Method::PATCH, EDITOR, team.clone(), json!({"team_id": test.team})).await.expect(200);
    send(Method::PATCH, OTHER_EDITOR, team, json!({"team_id": null})).await.expect(200);
    let criticality = format!("/pipelines/{pipeline}/criticality");
    send(Method::PATCH, EDITOR, criticality, json!({"criticality": "high"})).await.expect(200);
    let triggered =
        send(Method::POST, EDITOR, format!("/pipelines/{pipeline}/trigger"), Value::Null).await.expect(201);
    let sync = format!("/connectors/{}/sync", test.connector);
    let synced = send(Method::POST, EDITOR, sync.clone(), Value::Null).await.expect(202);
    send(Method::POST, OTHER_EDITOR, sync, json!({"full": true})).await.expect(202);
    let comment_id =
        send(Method::POST, EDITOR, format!("/runs/{run}/comments"), comment("hush")).await.expect(201);
    let comment_id = comment_id["id"].as_str().unwrap().to_owned();
    send(Method::DELETE, ADMIN, format!("/comments/{comment_id}"), Value::Null).await;
    let created = json!({"name": "made", "connector_type": "dbt", "config": {"token": "hunter2"}});
    let created = test.send(Method::POST, EDITOR, &catalog, Some(created)).await.expect(201);
    let created = created["id"].as_str().unwrap().to_owned();
    test.send(Method::DELETE, ADMIN, &format!("{catalog}/{created}"), None).await;

    let audit = test.audit("").await;
    assert_eq!(
        entries_of(&audit),
        [
            entry_of("Edith", "connector.changed", "api"),
            entry_of("Edith", "pipeline.team_changed", "api"),
            entry_of("Emil", "pipeline.team_changed", "api"),
            entry_of("Edith", "pipeline.criticality_changed", "api"),
            entry_of("Edith", "pipeline.triggered", "api"),
            entry_of("Edith", "connector.sync_requested", "api"),
            entry_of("Emil", "connector.sync_requested", "api"),
            entry_of("Ada", "comment.deleted", "api"),
            entry_of("Edith", "connector.created", "api"),
            entry_of("Ada", "connector.deleted", "api"),
        ]
    );
    let entry = |from_oldest: usize| &audit[9 - from_oldest];
    assert_eq!(
        entry(0)["details"],
        json!({"name": "renamed", "changed": ["name", "config.api_version", "config.base_url",
               "config.ca_certificate", "config.history_days", "config.max_requests_in_flight",
               "config.max_requests_per_second", "config.redact_conf", "config.schedule",
               "config.verify_tls", "credentials"]})
    );
    assert_eq!(entry(1)["details"], json!({"from": null, "to": test.team}));
    assert_eq!(entry(2)["details"], json!({"from": test.team, "to": null}));
    assert_eq!((&entry(3)["target_type"], &entry(3)["target_id"]), (&json!("pipeline"), &json!(pipeline)));
    assert_eq!(entry(4)["details"]["run_id"], triggered["id"]);
    assert_eq!(
        entry(5)["details"],
        json!({"sync_id": synced["id"], "full": false, "accept_mass_deletion": false})
    );
    assert_eq!(
        (&entry(6)["details"]["sync_id"], &entry(6)["details"]["full"]),
        (&synced["id"], &json!(true))
    );
    assert_eq!((&entry(7)["target_id"], &entry(7)["details"]["run_id"]), (&json!(comment_id), &json!(run)));
    assert_eq!((&entry(9)["target_id"], &entry(9)["details"]["name"]), (&json!(created), &json!("made")));
    let all = audit.to_string();
    assert!(!["hunter2", "hush", "right"].iter().any(|secret| all.contains(secret)), "{all}");
}

#[tokio::test]
async fn rejected_and_ineffective_changes_and_own_comments_are_not_audited() {
    let test = TestApi::new().await;
    let pipeline = test.pipeline("p").await;
    let run = test.run(pipeline, "r", "success", hours_ago(1)).await;
    let criticality = format!("/pipelines/{pipeline}/criticality");
    test.request(Method::PATCH, VIEWER, &criticality, json!({"criticality": "low"})).await.expect(403);
    test.request(Method::PATCH, EDITOR, &criticality, json!({"criticality": null})).await.expect(200);
    let team = format!("/pipelines/{pipeline}/team");
    test.request(Method::PATCH, EDITOR, &team, json!({"team_id": test.other_team})).await.expect(404);
    let connector = format!("/catalog/spaces/{SPACE}/connectors/{}", test.connector);
    test.send(Method::PATCH, EDITOR, &connector, Some(json!({"name": "prod airflow"}))).await.expect(200);
    let comment_id = test
        .request(Method::POST, EDITOR, &format!("/runs/{run}/comments"), comment("mine"))
        .await
        .expect(201);
    let comment_id = format!("/comments/{}", comment_id["id"].as_str().unwrap());
    assert_eq!(test.request(Method::DELETE, EDITOR, &comment_id, Value::Null).await.status, 204);
    assert_eq!(test.audit("").await, json!([]));
}

#[tokio::test]
async fn a_change_that_cannot_be_audited_is_rolled_back() {
    let test = TestApi::new().await;
    let pipeline = test.pipeline("p").await;
    test.sql("alter table audit add constraint full_up check (false)").await;
    let criticality = format!("/pipelines/{pipeline}/criticality");
    let response = test.request(Method::PATCH, EDITOR, &criticality, json!({"criticality": "high"})).await;
    assert!(response.status.is_server_error(), "{}", response.status);
    assert!(test.read(&format!("/pipelines/{pipeline}")).await["criticality"].is_null());
    let sync = format!("/connectors/{}/sync", test.connector);
    assert!(test.request(Method::POST, EDITOR, &sync, Value::Null).await.status.is_server_error());
    assert_eq!(test.number("select count(*) from syncs").await, 0);
}

#[tokio::test]
async fn changes_on_the_command_line_are_audited_without_an_actor() {
    let test = TestApi::new().await;
    for arguments in [
        &["space", "create", SPACE, "--name", "Money"][..],
        &["space", "create", SPACE, "--name", "Money"],
        &["user", "create", "new@x.org", "--name", "New"],
        &["member", "set", SPACE, "new@x.org", "viewer"],
        &["member", "set", SPACE, "new@x.org", "viewer"],
        &["member", "set", SPACE, "new@x.org", "admin"],
        &["user", "create", "new@x.org", "--name", "Newer"],
        &["team", "create", SPACE, "Data"],
        &["team", "create", SPACE, "Data"],
    ] {
        test.administer(arguments).await;
    }
    let created = test.administer(&["key", "create", "new@x.org", "--label", "laptop"]).await;
    let id = created["id"].as_str().unwrap();
    test.administer(&["key", "revoke", id]).await;
    test.administer(&["key", "revoke", id]).await;
    let audit = test.audit("").await;
    let actions = [
        "space.renamed",
        "user.role_changed",
        "user.role_changed",
        "user.renamed",
        "team.created",
        "key.created",
        "key.revoked",
    ];
    assert_eq!(entries_of(&audit), actions.map(|action| entry_of("-", action, "cli")));
    assert_eq!(audit[4]["details"], json!({"from": "viewer", "to": "admin"}));
    assert_eq!((&audit[0]["target_id"], &audit[0]["details"]["label"]), (&json!(id), &json!("laptop")));
    assert!(!audit.to_string().contains(created["key"].as_str().unwrap()));
    // The creation of a user has no space: the entry is stored, but no admin can read it.
    let of_no_space = "select count(*) from audit where space_id is null and action = 'user.created'";
    assert_eq!(test.number(of_no_space).await, 1);
}

#[tokio::test]
async fn audit_entries_are_filtered_and_paged_newest_first() {
    let test = TestApi::new().await;
    let (first, second) = (test.pipeline("first").await, test.pipeline("second").await);
    let set = async |key, pipeline, criticality| {
        let path = format!("/pipelines/{pipeline}/criticality");
        test.request(Method::PATCH, key, &path, json!({"criticality": criticality})).await.expect(200);
    };
    for criticality in ["low", "medium", "high"] {
        set(EDITOR, first, criticality).await;
    }
    set(OTHER_EDITOR, second, "critical").await;
    let team = format!("/pipelines/{second}/team");
    test.request(Method::PATCH, EDITOR, &team, json!({"team_id": test.team})).await.expect(200);
    let of = async |query: String| test.audit(&query).await.as_array().unwrap().len();
    let edith = test.id("select id from users where name = 'Edith'").await;
    assert_eq!(of(format!("?actor_id={edith}")).await, 4);
    assert_eq!(of(format!("?target_id={second}")).await, 2);
    assert_eq!(of("?action=pipeline.team_changed".to_owned()).await, 1);
    assert_eq!(of("?action=pipeline.team_changed&action=pipeline.criticality_changed".to_owned()).await, 5);
    test.sql("update audit set at = '2026-01-01T12:00:00Z' where details->>'to' = 'low'").await;
    assert_eq!(of("?from=2026-01-01&to=2026-01-02".to_owned()).await, 1);
    assert_eq!(of("?from=2026-01-01T12:00:00Z".to_owned()).await, 5);
    assert_eq!(of("?to=2026-01-01T12:00:00Z".to_owned()).await, 0);
    let path = format!("/spaces/{SPACE}/audit?action=pipeline.criticality_changed&size=3");
    let page = test.send(Method::GET, ADMIN, &path, None).await;
    assert_eq!((page.header("x-total-count"), page.header("x-total-pages")), ("4", "2"));
    assert!(page.header("link").contains("rel=\"next\"") && !page.header("etag").is_empty());
    let page = page.expect(200);
    let criticalities: Vec<_> =
        page.as_array().unwrap().iter().map(|entry| entry["details"]["to"].as_str()).collect();
    assert_eq!(criticalities, [Some("critical"), Some("high"), Some("medium")]);
    let invalid =
        test.send(Method::GET, ADMIN, &format!("/spaces/{SPACE}/audit?action=x&from=y"), None).await;
    assert_eq!(invalid.field_errors().len(), 2);
    assert_eq!(field_of_each(&test.audit("?page=9").await, "action"), [""; 0]);
}
