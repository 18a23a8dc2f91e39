//! The inbox: its entries are those of its user, in the spaces of which they are a member.

use axum::http::Method;
use serde_json::json;

use crate::app::{OTHER_SPACE, SPACE, TestApi};
use crate::seed::{EDITOR, STRANGER, VIEWER};

impl TestApi {
    /// Inserts an entry into the inbox of a user.
    pub(crate) async fn insert_notification(&self, user: &str, space: &str, summary: &str) -> String {
        self.id(&format!(
            "insert into inbox (id, user_id, space_id, kind, change, summary)
             select gen_random_uuid(), u.id, s.id, 'failing', 'opened', '{summary}' from users u, spaces s
             where u.name = '{user}' and s.slug = '{space}' returning id"
        ))
        .await
        .to_string()
    }
}

#[tokio::test]
async fn an_inbox_has_the_entries_of_its_user_in_their_spaces() {
    let test = TestApi::new().await;
    let first = test.insert_notification("Victor", SPACE, "first").await;
    let second = test.insert_notification("Victor", SPACE, "second").await;
    test.insert_notification("Victor", OTHER_SPACE, "of a space without Victor").await;
    let of_edith = test.insert_notification("Edith", SPACE, "of Edith").await;
    let inbox = "/me/notifications";
    let listed = test.get(inbox).await.expect(200);
    let summaries: Vec<_> = listed.as_array().unwrap().iter().map(|row| &row["summary"]).collect();
    assert_eq!(summaries, ["second", "first"]);
    assert_eq!(listed[0]["space"], json!({"slug": SPACE, "name": "Finance"}));
    let read = format!("{inbox}/read");
    let ids = json!({"ids": [first, of_edith]});
    test.send(Method::PUT, VIEWER, &read, Some(ids)).await.expect(204);
    let unread = test.get(&format!("{inbox}?unread=true")).await;
    assert_eq!(unread.header("x-total-count"), "1");
    assert_eq!(unread.expect(200)[0]["id"], json!(second));
    test.send(Method::PUT, VIEWER, &read, Some(json!({"until": "2001-01-01"}))).await.expect(204);
    assert_eq!(test.get(&format!("{inbox}?unread=true")).await.header("x-total-count"), "1");
    test.send(Method::PUT, VIEWER, &read, None).await.expect(204);
    assert_eq!(test.get(&format!("{inbox}?unread=true")).await.header("x-total-count"), "0");
    let unread_of_edith = test.send(Method::GET, EDITOR, &format!("{inbox}?unread=true"), None).await;
    assert_eq!(unread_of_edith.expect(200)[0]["id"], json!(of_edith));
    assert_eq!(test.send(Method::GET, STRANGER, inbox, None).await.expect(200), json!([]));
    let bad = test.send(Method::PUT, VIEWER, &read, Some(json!({"ids": [], "until": "soon"}))).await;
    assert_eq!(bad.invalid_fields(), ["body.ids", "body.until"]);
    test.sql("delete from memberships where user_id = (select id from users where name = 'Victor')").await;
    assert_eq!(test.get(inbox).await.expect(200), json!([]));
}
