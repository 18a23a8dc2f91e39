//! Keys, members and teams over HTTP and on the command line.

use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};

use crate::app::{OTHER_SPACE, SPACE, TestApi};
use crate::command_line::{command, run};
use crate::response::TestResponse;
use crate::seed::{ADMIN, EDITOR, VIEWER};

impl TestApi {
    /// Sends a request of the admin below the first space.
    async fn administrate(&self, method: Method, path: &str, body: Value) -> TestResponse {
        let body = (!body.is_null()).then_some(body);
        self.send(method, ADMIN, &format!("/spaces/{SPACE}{path}"), body).await
    }

    async fn user(&self, name: &str) -> String {
        self.id(&format!("select id from users where name = '{name}'")).await.to_string()
    }

    /// Runs a command that fails, and returns its message.
    async fn administer_in_vain(&self, arguments: &[&str]) -> String {
        let output = run(command(&self.database.url, arguments)).await;
        assert!(!output.status.success(), "{arguments:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

fn names(rows: &Value) -> Vec<&str> {
    rows.as_array().unwrap().iter().map(|row| row["user"]["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn users_create_list_and_revoke_their_own_keys() {
    let test = TestApi::new().await;
    let send = async |method, path: &str, body| test.send(method, EDITOR, path, body).await;
    let wanted = json!({"label": " CI ", "expires_at": "2999-01-31T12:00:00Z", "read_only": true});
    let created = send(Method::POST, "/api-keys", Some(wanted)).await.expect(201);
    let key = created["key"].as_str().unwrap();
    assert!(key.starts_with(created["prefix"].as_str().unwrap()));
    assert_eq!((&created["label"], &created["read_only"]), (&json!(" CI "), &json!(true)));
    assert_eq!(
        (&created["expires_at"], &created["last_used_at"]),
        (&json!("2999-01-31T12:00:00Z"), &Value::Null)
    );
    test.send(Method::GET, key, "/me", None).await.expect(200);
    test.send(Method::POST, key, "/api-keys", Some(json!({"label": "more"}))).await.expect(403);
    let listed = send(Method::GET, "/api-keys", None).await;
    assert_eq!(listed.header("x-total-count"), "2");
    let listed = listed.expect(200);
    assert_eq!(listed[0]["id"], created["id"]);
    assert!(listed[0]["last_used_at"].as_str().unwrap().ends_with(":00:00Z"), "to the hour");
    assert!(!listed.to_string().contains(key));
    let path = format!("/api-keys/{}", created["id"].as_str().unwrap());
    test.send(Method::DELETE, ADMIN, &path, None).await.expect(404);
    send(Method::DELETE, &path, None).await.expect(204);
    send(Method::DELETE, &path, None).await.expect(404);
    test.send(Method::GET, key, "/me", None).await.expect(401);
    for (body, field) in [
        (json!({}), "body.label"),
        (json!({"label": " "}), "body.label"),
        (json!({"label": "x", "expires_at": "2001-01-01"}), "body.expires_at"),
        (json!({"label": "x", "read_only": "no"}), "body.read_only"),
    ] {
        assert_eq!(send(Method::POST, "/api-keys", Some(body)).await.invalid_fields(), [field]);
    }
    let audited = "select count(*) from audit where action in ('key.created', 'key.revoked') and via = 'api'";
    assert_eq!(test.number(audited).await, 2);
}

#[tokio::test]
async fn an_expired_key_is_invalid_and_a_use_is_recorded_once_an_hour() {
    let test = TestApi::new().await;
    test.get("/me").await.expect(200);
    test.sql("update api_key_uses set used_at = used_at - interval '2 hours'").await;
    let before = test.number("select extract(epoch from used_at)::bigint from api_key_uses").await;
    test.get("/me").await.expect(200);
    assert_eq!(
        test.number("select extract(epoch from used_at)::bigint from api_key_uses").await,
        before + 7200
    );
    let xmin = "select xmin::text::bigint from api_key_uses";
    let version = test.number(xmin).await;
    test.get("/me").await.expect(200);
    assert_eq!(test.number(xmin).await, version, "a second use within the hour writes nothing");
    test.sql("update api_keys set expires_at = now() where prefix = 'qk_victor'").await;
    test.get("/me").await.expect(401);
}

#[tokio::test]
async fn keys_on_the_command_line_expire_and_only_read() {
    let test = TestApi::new().await;
    let create = ["key", "create", "victor@x.org", "--expires", "2999-01-31", "--read-only", "--label", "CI"];
    let created = test.administer(&create).await;
    let key = created["key"].as_str().unwrap();
    test.send(Method::GET, key, "/me", None).await.expect(200);
    let watch = format!("/pipelines/{}/watch", test.pipeline("p").await);
    test.request(Method::PUT, key, &watch, Value::Null).await.expect(403);
    let all = test.administer(&["key", "list", "--all"]).await;
    let listed = all.as_array().unwrap().iter().find(|listed| listed["id"] == created["id"]).unwrap();
    assert_eq!((&listed["email"], &listed["read_only"]), (&json!("victor@x.org"), &json!(true)));
    assert_eq!(listed["expires_at"], "2999-01-31T00:00:00Z");
    assert!(listed["last_used_at"].is_string());
    assert_eq!(test.administer(&["key", "list", "victor@x.org"]).await.as_array().unwrap().len(), 2);
    let late = test.administer_in_vain(&["key", "create", "victor@x.org", "--expires", "2001-01-01"]).await;
    assert!(late.contains("the time has passed"), "{late}");
}

#[tokio::test]
async fn members_are_listed_changed_and_removed() {
    let test = TestApi::new().await;
    let members = format!("/spaces/{SPACE}/members");
    let listed = test.send(Method::GET, ADMIN, &members, None).await.expect(200);
    assert_eq!(names(&listed), ["Ada", "Edith", "Emil", "Rex", "Victor"]);
    assert_eq!((&listed[1]["user"]["email"], &listed[1]["role"]), (&json!("edith@x.org"), &json!("editor")));
    assert_eq!(test.get(&members).await.expect(200)[1]["user"]["email"], Value::Null);
    let second = test.send(Method::GET, ADMIN, &format!("{members}?size=2&page=2"), None).await;
    assert_eq!((second.header("x-total-count"), names(&second.body)), ("5", vec!["Emil", "Rex"]));

    let olga = test.user("Olga").await;
    let set = async |user: &str, role: &str| {
        test.administrate(Method::PUT, &format!("/members/{user}"), json!({"role": role})).await
    };
    assert_eq!(set(&olga, "viewer").await.expect(200)["user"]["email"], "olga@x.org");
    assert_eq!(set(&olga, "editor").await.expect(200)["role"], "editor");
    set(&uuid::Uuid::nil().to_string(), "viewer").await.expect(404);
    assert_eq!(set(&olga, "owner").await.invalid_fields(), ["body.role"]);

    let edith = test.user("Edith").await;
    let pipeline = test.pipeline("p").await;
    test.request(Method::PUT, EDITOR, &format!("/pipelines/{pipeline}/watch"), Value::Null).await.expect(204);
    let (cookie, _) = test.sign_in(EDITOR).await;
    test.administrate(Method::DELETE, &format!("/members/{edith}"), Value::Null).await.expect(204);
    test.administrate(Method::DELETE, &format!("/members/{edith}"), Value::Null).await.expect(404);
    test.request(Method::GET, EDITOR, "/runs", Value::Null).await.expect(404);
    assert_eq!(test.status_with(&cookie).await, 401, "a session without any space ends");
    assert_eq!(test.number("select count(*) from pipeline_watches").await, 0);
    let audit =
        test.administrate(Method::GET, &format!("/audit?target_id={edith}"), Value::Null).await.expect(200);
    assert_eq!(audit[0]["action"], "user.role_changed");
    assert_eq!(
        (&audit[0]["details"], &audit[0]["actor"]["name"]),
        (&json!({"from": "editor", "to": null}), &json!("Ada"))
    );
}

#[tokio::test]
async fn the_last_admin_of_a_space_stays() {
    let test = TestApi::new().await;
    let (ada, rex) = (test.user("Ada").await, test.user("Rex").await);
    let demote = async |user: &str| {
        test.administrate(Method::PUT, &format!("/members/{user}"), json!({"role": "editor"})).await
    };
    // A disabled admin cannot help.
    test.administer(&["user", "disable", "rex@x.org"]).await;
    demote(&ada).await.expect(409);
    test.administer(&["user", "enable", "rex@x.org"]).await;
    demote(&rex).await.expect(200);
    demote(&ada).await.expect(409);
    test.administrate(Method::DELETE, &format!("/members/{ada}"), Value::Null).await.expect(409);
    let error = test.administer_in_vain(&["member", "remove", SPACE, "ada@x.org"]).await;
    assert!(error.contains("is the last admin of"), "{error}");
    test.administer(&["member", "set", SPACE, "rex@x.org", "admin"]).await;
    // Two admins who remove each other at the same time: one of them stays.
    let [of_ada, of_rex] = [&ada, &rex].map(|user| format!("/members/{user}"));
    tokio::join!(
        test.administrate(Method::DELETE, &of_ada, Value::Null),
        test.administrate(Method::DELETE, &of_rex, Value::Null),
    );
    let admins = "select count(*) from memberships where role = 'admin'
        and space_id = (select id from spaces where slug = 'finance')";
    assert_eq!(test.number(admins).await, 1);
}

#[tokio::test]
async fn a_disabled_user_loses_keys_and_sessions_until_enabled() {
    let test = TestApi::new().await;
    let (cookie, _) = test.sign_in(VIEWER).await;
    let disabled = test.administer(&["user", "disable", "victor@x.org"]).await;
    assert!(disabled["disabled_at"].is_string());
    test.administer(&["user", "disable", "victor@x.org"]).await;
    test.get("/me").await.expect(401);
    assert_eq!(test.status_with(&cookie).await, 401);
    test.administer(&["user", "enable", "victor@x.org"]).await;
    // An invalid key is not looked up again for some seconds.
    let is_enabled = async || test.get("/me").await.status == 200;
    testkit::eventually("the key is valid again", Duration::from_secs(60), is_enabled).await;
    assert_eq!(test.status_with(&cookie).await, 401, "a session does not come back");
    test.administer(&["member", "remove", SPACE, "victor@x.org"]).await;
    test.get(&format!("/spaces/{SPACE}/teams")).await.expect(404);
    let audited = "select count(*) from audit where action in ('user.disabled', 'user.enabled')";
    assert_eq!(test.number(audited).await, 2);
}

#[tokio::test]
async fn teams_are_created_renamed_and_deleted_and_leave_their_pipelines() {
    let test = TestApi::new().await;
    let wanted = json!({"name": " Risk ", "description": "Models"});
    let created = test.administrate(Method::POST, "/teams", wanted).await;
    let location = created.header("location").to_owned();
    let risk = created.expect(201);
    assert_eq!(
        (&risk["name"], &risk["member_count"], &risk["manager"]),
        (&json!("Risk"), &json!(0), &Value::Null)
    );
    assert_eq!(test.get(location.strip_prefix("/api/v1.0").unwrap()).await.expect(200), risk);
    test.administrate(Method::POST, "/teams", json!({"name": "Risk"})).await.expect(409);
    let path = format!("/teams/{}", risk["id"].as_str().unwrap());
    let change = async |body| test.administrate(Method::PATCH, &path, body).await;
    assert_eq!(change(json!({"name": "Risk models"})).await.expect(200)["description"], "Models");
    assert_eq!(change(json!({"description": null})).await.expect(200)["description"], Value::Null);
    change(json!({"name": "Finance data"})).await.expect(409);
    assert_eq!(change(json!({"name": null})).await.invalid_fields(), ["body.name"]);

    let pipeline = test.pipeline("p").await;
    let of_pipeline = format!("/pipelines/{pipeline}");
    let owned = test
        .request(Method::PATCH, EDITOR, &format!("{of_pipeline}/team"), json!({"team_id": risk["id"]}))
        .await
        .expect(200);
    assert_eq!(owned["team"]["name"], "Risk models");
    test.administrate(Method::DELETE, &path, Value::Null).await.expect(204);
    assert_eq!(test.read(&of_pipeline).await["team"], Value::Null);
    test.administrate(Method::GET, &path, Value::Null).await.expect(404);
    let audit = test.administrate(Method::GET, "/audit?action=team.deleted", Value::Null).await.expect(200);
    assert_eq!(audit[0]["details"], json!({"name": "Risk models", "pipelines": 1}));
    let audit = test.administrate(Method::GET, "/audit?action=team.changed", Value::Null).await.expect(200);
    let renamed = &audit.as_array().unwrap().last().unwrap()["details"];
    assert_eq!((&renamed["from"]["name"], &renamed["to"]["name"]), (&json!("Risk"), &json!("Risk models")));
}

#[tokio::test]
async fn a_team_has_members_of_the_space_and_one_manager() {
    let test = TestApi::new().await;
    let members = format!("/teams/{}/members", test.team);
    let (edith, victor, olga) =
        (test.user("Edith").await, test.user("Victor").await, test.user("Olga").await);
    let set = async |user: &str, role: &str| {
        test.administrate(Method::PUT, &format!("{members}/{user}"), json!({"role": role})).await
    };
    assert_eq!(set(&edith, "manager").await.expect(200)["role"], "manager");
    set(&victor, "member").await.expect(200);
    set(&olga, "member").await.expect(404);
    set(&victor, "boss").await.expect(422);
    set(&victor, "manager").await.expect(200);
    let listed = test.administrate(Method::GET, &members, Value::Null).await.expect(200);
    assert_eq!(names(&listed), ["Edith", "Victor"]);
    assert_eq!((&listed[0]["role"], &listed[1]["role"]), (&json!("member"), &json!("manager")));
    let team = test.get(&format!("/spaces/{SPACE}/teams")).await.expect(200)[0].clone();
    assert_eq!((&team["member_count"], &team["manager"]["full_name"]), (&json!(2), &json!("Victor")));
    test.administrate(Method::DELETE, &format!("{members}/{edith}"), Value::Null).await.expect(204);
    test.administrate(Method::DELETE, &format!("{members}/{edith}"), Value::Null).await.expect(404);
    // A user who leaves the space leaves its teams.
    test.administrate(Method::DELETE, &format!("/members/{victor}"), Value::Null).await.expect(204);
    assert_eq!(test.administrate(Method::GET, &members, Value::Null).await.expect(200), json!([]));
    let audited =
        test.administrate(Method::GET, "/audit?action=team.member_changed", Value::Null).await.expect(200);
    let change =
        |user: &str, from: Option<&str>, to: Option<&str>| json!({"user_id": user, "from": from, "to": to});
    let (member, manager) = (Some("member"), Some("manager"));
    let details: Vec<&Value> = audited.as_array().unwrap().iter().map(|entry| &entry["details"]).collect();
    let expected = [
        change(&victor, manager, None),
        change(&edith, member, None),
        change(&victor, member, manager),
        change(&edith, manager, member),
        change(&victor, None, member),
        change(&edith, None, manager),
    ];
    assert_eq!(details, expected.iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn teams_are_administered_on_the_command_line() {
    let test = TestApi::new().await;
    test.administer(&["team", "create", SPACE, "Risk"]).await;
    test.administer(&["team", "set-member", SPACE, "Risk", "edith@x.org", "manager"]).await;
    let renamed = test.administer(&["team", "rename", SPACE, "Risk", "Models"]).await;
    assert_eq!((&renamed["name"], &renamed["manager"]["full_name"]), (&json!("Models"), &json!("Edith")));
    let listed = test.administer(&["team", "members", SPACE, "Models"]).await;
    assert_eq!(names(&listed), ["Edith"]);
    let error =
        test.administer_in_vain(&["team", "set-member", SPACE, "Models", "olga@x.org", "member"]).await;
    assert!(error.contains("is no member"), "{error}");
    test.administer(&["team", "remove-member", SPACE, "Models", "edith@x.org"]).await;
    test.administer(&["team", "remove", SPACE, "Models"]).await;
    assert_eq!(test.administer(&["team", "list", SPACE]).await.as_array().unwrap().len(), 1);
    let error = test.administer_in_vain(&["team", "remove", OTHER_SPACE, "Models"]).await;
    assert!(error.contains("There is no team"), "{error}");
}

#[tokio::test]
async fn admins_look_people_up_by_address_or_name() {
    let test = TestApi::new().await;
    let look_up = async |key: &str, text: &str| {
        test.send(Method::GET, key, &format!("/spaces/{SPACE}/people?q={text}"), None).await
    };
    let found_names = |found: Value| -> Vec<String> {
        let people = found.as_array().unwrap().iter();
        people.map(|person| person["name"].as_str().unwrap().to_owned()).collect()
    };
    let found = look_up(ADMIN, "DI").await.expect(200);
    assert_eq!((&found[0]["name"], &found[0]["role"]), (&json!("Edith"), &json!("editor")));
    assert_eq!(found_names(look_up(ADMIN, "@x.org").await.expect(200)).len(), 5);
    // People of other spaces are found by their whole address alone.
    assert_eq!(found_names(look_up(ADMIN, "olga").await.expect(200)), [""; 0]);
    let olga = look_up(ADMIN, "Olga@X.org").await.expect(200);
    assert_eq!((&olga[0]["name"], &olga[0]["role"]), (&json!("Olga"), &Value::Null));
    let path = format!("/members/{}", olga[0]["id"].as_str().unwrap());
    test.administrate(Method::PUT, &path, json!({"role": "viewer"})).await.expect(200);
    assert_eq!(found_names(look_up(ADMIN, "olga").await.expect(200)), ["Olga"]);
    test.sql("update users set disabled_at = now() where name = 'Olga'").await;
    assert_eq!(found_names(look_up(ADMIN, "olga@x.org").await.expect(200)), [""; 0]);
    look_up(EDITOR, "olga").await.expect(403);
}
