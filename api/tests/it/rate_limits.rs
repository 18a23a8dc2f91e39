//! The rate limits of a key over all replicas, and those of wrong keys.

use std::time::Duration;

use api::auth::rate_limit::KeyRateLimiter;
use contract::ids::KeyId;
use testkit::{ApiProcess, ProgramSettings, kafka_config, sealing_keys};

use crate::app::TestApi;
use crate::seed::{EDITOR, VIEWER};

const LIMIT: u32 = 500;

/// Counts requests until the limit is far behind, most of them by one replica. Returns how many were
/// admitted; none when a new hour has begun meanwhile.
async fn admitted(test: &TestApi, key: KeyId) -> Option<u32> {
    let replicas = [(); 3].map(|()| KeyRateLimiter::new(0, LIMIT));
    let (mut admitted, mut resets) = (0, std::collections::BTreeSet::new());
    for n in 0..2 * LIMIT {
        let replica = match n % 10 {
            0 => 1,
            1 => 2,
            _ => 0,
        };
        let status = replicas[replica].count(&test.app.control_db, key).await.unwrap();
        admitted += u32::from(status.retry_after.is_none());
        resets.insert(status.reset);
    }
    (resets.len() == 1).then_some(admitted)
}

#[tokio::test]
async fn replicas_share_the_limit_of_a_key() {
    let test = TestApi::new().await;
    for _ in 0..2 {
        let key = KeyId(uuid::Uuid::new_v4());
        if let Some(admitted) = admitted(&test, key).await {
            assert!((LIMIT * 9 / 10..=LIMIT).contains(&admitted), "{admitted} of {LIMIT}");
            return;
        }
    }
    panic!("a new hour has begun twice");
}

async fn start(test: &TestApi, arguments: &[&str]) -> ApiProcess {
    let settings = ProgramSettings {
        database_url: test.database.api_url.clone(),
        kafka: kafka_config("127.0.0.1:9", ""),
        sealing_keys: sealing_keys("a"),
    };
    ApiProcess::start(&settings, arguments).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_with_many_wrong_keys_waits_and_a_valid_key_does_not() {
    let test = TestApi::new().await;
    let api = start(&test, &[]).await;
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
    let status = async |key: &str| {
        let response = client.get(format!("{}/api/v1.0/me", api.url)).bearer_auth(key).send().await.unwrap();
        response.status().as_u16()
    };
    assert_eq!(status(VIEWER).await, 200);
    let mut found = std::collections::BTreeSet::new();
    for n in 0..200 {
        found.insert(status(&format!("qk_wrong{n}")).await);
    }
    // Two minutes at most begin meanwhile.
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [401, 429]);
    assert_eq!(status(VIEWER).await, 200);
}

/// A client chooses what it sends as `X-Forwarded-For`, but not what the proxy appends.
#[tokio::test(flavor = "multi_thread")]
async fn clients_of_a_trusted_proxy_wait_for_their_own_wrong_keys_alone() {
    let test = TestApi::new().await;
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
    let trusting = start(&test, &["--trusted-proxies", "127.0.0.0/8"]).await;
    let status = async |api: &ApiProcess, key: &str, forwarded: &str| {
        let request = client.get(format!("{}/api/v1.0/me", api.url)).bearer_auth(key);
        request.header("x-forwarded-for", forwarded).send().await.unwrap().status().as_u16()
    };
    let mut found = std::collections::BTreeSet::new();
    for n in 0..200 {
        found.insert(status(&trusting, &format!("qk_wrong{n}"), &format!("192.0.2.{n}, 203.0.113.1")).await);
    }
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [401, 429]);
    assert_eq!(status(&trusting, EDITOR, "203.0.113.1, 203.0.113.2").await, 200);

    let direct = start(&test, &[]).await;
    let mut found = std::collections::BTreeSet::new();
    for n in 0..200 {
        found.insert(status(&direct, &format!("qk_wrong{n}"), &format!("203.0.113.{n}")).await);
    }
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [401, 429], "the header of a stranger is ignored");
}
