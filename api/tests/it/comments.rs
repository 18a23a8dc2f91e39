//! Comments on runs, task runs and incidents.

use axum::http::Method;
use contract::ids::RunId;
use serde_json::json;

use crate::app::TestApi;
use crate::assertions::field_of_each;
use crate::seed::{ADMIN, EDITOR, OTHER_EDITOR, VIEWER, comment, hours_ago};

async fn create_run(test: &TestApi) -> RunId {
    test.run(test.pipeline("p").await, "r", "failed", hours_ago(2)).await
}

#[tokio::test]
async fn comments_are_listed_oldest_first_and_counted() {
    let test = TestApi::new().await;
    let run = create_run(&test).await;
    let task = test.task_run(run, "extract", -1, "failed").await;
    let (on_run, on_task) = (format!("/runs/{run}/comments"), format!("/task-runs/{task}/comments"));
    for n in 0..3 {
        test.request(Method::POST, EDITOR, &on_run, comment(&format!("run {n}"))).await.expect(201);
    }
    let created = test.request(Method::POST, EDITOR, &on_task, comment("task")).await.expect(201);
    assert_eq!(created["target_type"], "task_run");
    assert_eq!((&created["run_id"], &created["task_run_id"]), (&json!(run), &json!(task)));
    assert_eq!(field_of_each(&test.read(&on_run).await, "content"), ["run 0", "run 1", "run 2"]);
    assert_eq!(field_of_each(&test.read(&format!("{on_run}?size=2&page=2")).await, "content"), ["run 2"]);
    assert_eq!(field_of_each(&test.read(&on_task).await, "content"), ["task"]);
    let detail = test.read(&format!("/runs/{run}")).await;
    assert_eq!((&detail["comment_count"], &detail["tasks"][0]["comment_count"]), (&json!(3), &json!(1)));
    assert_eq!(test.read("/runs").await[0]["comment_count"], 3);
    assert_eq!(test.read(&format!("/task-runs/{task}")).await["comment_count"], 1);
}

#[tokio::test]
async fn only_its_author_edits_a_comment_and_an_admin_may_delete_it() {
    let test = TestApi::new().await;
    let run = create_run(&test).await;
    let created = test
        .request(Method::POST, EDITOR, &format!("/runs/{run}/comments"), comment("first"))
        .await
        .expect(201);
    assert_eq!((&created["edited"], &created["author"]["name"]), (&json!(false), &json!("Edith")));
    let path = format!("/comments/{}", created["id"].as_str().unwrap());
    for key in [OTHER_EDITOR, ADMIN, VIEWER] {
        assert_eq!(test.request(Method::PUT, key, &path, comment("mine")).await.status, 403);
    }
    for key in [OTHER_EDITOR, VIEWER] {
        assert_eq!(test.request(Method::DELETE, key, &path, json!(null)).await.status, 403);
    }
    for (method, content) in [(Method::PUT, "second"), (Method::PATCH, "third")] {
        let changed = test.request(method, EDITOR, &path, comment(content)).await.expect(200);
        assert_eq!((&changed["content"], &changed["edited"]), (&json!(content), &json!(true)));
        assert_eq!(changed["created_at"], created["created_at"]);
        assert!(changed["updated_at"].as_str() > created["updated_at"].as_str());
    }
    assert_eq!(test.request(Method::PUT, EDITOR, &path, comment(" ")).await.status, 422);
    assert_eq!(test.request(Method::DELETE, ADMIN, &path, json!(null)).await.status, 204);
    for method in [Method::PUT, Method::PATCH, Method::DELETE] {
        assert_eq!(test.request(method, EDITOR, &path, comment("late")).await.status, 404);
    }
    let own = test
        .request(Method::POST, EDITOR, &format!("/runs/{run}/comments"), comment("own"))
        .await
        .expect(201);
    let own = format!("/comments/{}", own["id"].as_str().unwrap());
    assert_eq!(test.request(Method::DELETE, EDITOR, &own, json!(null)).await.status, 204);
}

#[tokio::test]
async fn comments_of_ten_thousand_characters_are_stored_unchanged() {
    let test = TestApi::new().await;
    let run = create_run(&test).await;
    let path = format!("/runs/{run}/comments");
    let longest = format!(" \n{}\t", "é".repeat(10_000));
    let created = test.request(Method::POST, EDITOR, &path, comment(&longest)).await.expect(201);
    assert_eq!(created["content"], longest);
    let crabs = "🦀".repeat(10_000);
    assert_eq!(
        test.request(Method::POST, EDITOR, &path, comment(&crabs)).await.expect(201)["content"],
        crabs
    );
    let blank = "\u{a0}\u{2003}\u{3000}\u{85}\r\n";
    let nothing = test.request(Method::POST, EDITOR, &path, comment(blank)).await;
    assert_eq!(
        nothing.field_errors(),
        [("body.content".to_owned(), "value_error.any_str.min_length".to_owned())]
    );
    let longer = test.request(Method::POST, EDITOR, &path, comment(&"é".repeat(10_001))).await;
    assert_eq!(
        longer.field_errors(),
        [("body.content".to_owned(), "value_error.any_str.max_length".to_owned())]
    );
}

#[tokio::test]
async fn a_comment_whose_task_run_is_deleted_is_not_found() {
    let test = TestApi::new().await;
    let run = create_run(&test).await;
    let task = test.task_run(run, "extract", -1, "failed").await;
    let path = format!("/task-runs/{task}/comments");
    let created = test.request(Method::POST, EDITOR, &path, comment("on a task")).await.expect(201);
    let path = format!("/comments/{}", created["id"].as_str().unwrap());
    test.sql("delete from task_runs").await;
    for method in [Method::PUT, Method::PATCH, Method::DELETE] {
        test.request(method, EDITOR, &path, comment("late")).await.expect(404);
    }
    assert_eq!(test.number("select count(*) from comments where content = 'on a task'").await, 1);
}

#[tokio::test]
async fn a_task_run_without_a_row_for_its_run_rejects_comments() {
    let test = TestApi::new().await;
    let run = create_run(&test).await;
    let task = test.task_run(run, "extract", -1, "failed").await;
    test.sql("delete from runs").await;
    let path = format!("/task-runs/{task}/comments");
    let refused = test.request(Method::POST, EDITOR, &path, comment("early")).await.expect(404);
    assert_eq!(refused, json!({"detail": "Run not found"}));
}

#[tokio::test]
async fn a_deleted_run_keeps_its_comments() {
    let test = TestApi::new().await;
    let run = create_run(&test).await;
    let path = format!("/runs/{run}/comments");
    test.request(Method::POST, EDITOR, &path, comment("before")).await.expect(201);
    test.sql("update runs set deleted_at = now()").await;
    assert_eq!(test.read("/runs").await, json!([]));
    assert_eq!(test.read(&format!("/runs/{run}")).await["comment_count"], 1);
    test.request(Method::POST, EDITOR, &path, comment("after")).await.expect(201);
    assert_eq!(field_of_each(&test.read(&path).await, "content"), ["before", "after"]);
}

#[tokio::test]
async fn an_incident_is_commented_like_a_run() {
    let test = TestApi::new().await;
    let pipeline = test.pipeline("p").await;
    let incident = test.incident(pipeline, "failing").await;
    let on_incident = format!("/incidents/{incident}/comments");
    let send = async |method, key, path: &str, body| test.request(method, key, path, body).await;
    for n in 0..2 {
        send(Method::POST, EDITOR, &on_incident, comment(&format!("note {n}"))).await.expect(201);
    }
    let listed = test.read(&on_incident).await;
    assert_eq!(field_of_each(&listed, "content"), ["note 0", "note 1"]);
    assert_eq!(listed[0]["target_type"], "incident");
    assert_eq!((&listed[0]["run_id"], &listed[0]["incident_id"]), (&json!(null), &json!(incident)));

    let path = format!("/comments/{}", listed[0]["id"].as_str().unwrap());
    assert_eq!(send(Method::PUT, OTHER_EDITOR, &path, comment("mine")).await.status, 403);
    let edited = send(Method::PUT, EDITOR, &path, comment("changed")).await.expect(200);
    assert_eq!((&edited["content"], &edited["edited"]), (&json!("changed"), &json!(true)));
    send(Method::DELETE, ADMIN, &path, json!(null)).await.expect(204);
    let audited = "select count(*) from audit where action = 'comment.deleted'
        and details->>'incident_id' is not null and details->>'run_id' is null";
    assert_eq!(test.number(audited).await, 1);
    assert_eq!(field_of_each(&test.read(&on_incident).await, "content"), ["note 1"]);

    send(Method::POST, VIEWER, &on_incident, comment("no")).await.expect(403);
    let theirs = test.pipeline_of(test.other_connector, "theirs").await;
    let foreign = format!("/incidents/{}/comments", test.incident(theirs, "failing").await);
    send(Method::POST, EDITOR, &foreign, comment("no")).await.expect(404);
    send(Method::GET, VIEWER, &foreign, json!(null)).await.expect(404);

    test.sql("delete from incidents").await;
    assert_eq!(test.number("select count(*) from comments").await, 0, "they go with their incident");
    send(Method::POST, EDITOR, &on_incident, comment("late")).await.expect(404);
}
