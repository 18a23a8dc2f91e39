//! The cache of what keys and sessions give: nothing is read with them once they have expired.

use std::time::Duration;

use axum::http::Method;

use crate::app::TestApi;
use crate::seed::VIEWER;

/// Statements about the viewer's key, and the sessions that it has opened.
const EXPIRE_KEY: &str = "update api_keys set expires_at = now() + interval '2 s' where prefix = 'qk_victor'";
const EXPIRE_SESSIONS: &str = "update sessions set expires_at = now() + interval '2 s'";

async fn status_of_key(test: &TestApi) -> u16 {
    test.send(Method::GET, VIEWER, "/me", None).await.status.as_u16()
}

/// Returns whether a key is used without a query: a revocation without a notification is not noticed.
async fn is_cached(test: &TestApi) -> bool {
    status_of_key(test).await;
    test.sql(
        "alter table api_keys disable trigger user;
         update api_keys set revoked_at = now() where prefix = 'qk_victor';
         alter table api_keys enable trigger user",
    )
    .await;
    let status = status_of_key(test).await;
    test.sql("update api_keys set revoked_at = null where prefix = 'qk_victor'").await;
    status == 200
}

/// The API with a cache that is in use.
async fn with_cache() -> TestApi {
    let test = TestApi::new().await;
    test.cache_access();
    testkit::eventually("keys are cached", Duration::from_secs(60), async || is_cached(&test).await).await;
    testkit::eventually("the key is valid", Duration::from_secs(60), async || {
        status_of_key(&test).await == 200
    })
    .await;
    test
}

/// Reads until a second after the expiry, and asserts that no read succeeds then.
async fn assert_no_read_after(test: &TestApi, expired: &str, read: impl AsyncFn() -> u16) {
    assert_eq!(read().await, 200);
    loop {
        let is_over = test.number(&format!("select ({expired})::int8")).await == 1;
        let status = read().await;
        if is_over {
            assert_eq!(status, 401);
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_key_is_used_until_it_expires() {
    let test = with_cache().await;
    test.sql(EXPIRE_KEY).await;
    let expired =
        "select (expires_at + interval '1 s' < now())::int from api_keys where prefix = 'qk_victor'";
    assert_no_read_after(&test, expired, async || status_of_key(&test).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_session_is_used_until_it_or_its_key_expires() {
    let test = with_cache().await;
    let (cookie, _) = test.sign_in(VIEWER).await;
    test.sql(EXPIRE_SESSIONS).await;
    let expired = "select (min(expires_at) + interval '1 s' < now())::int from sessions";
    assert_no_read_after(&test, expired, async || test.status_with(&cookie).await).await;
    let (cookie, _) = test.sign_in(VIEWER).await;
    test.sql(EXPIRE_KEY).await;
    let expired =
        "select (expires_at + interval '1 s' < now())::int from api_keys where prefix = 'qk_victor'";
    assert_no_read_after(&test, expired, async || test.status_with(&cookie).await).await;
}
