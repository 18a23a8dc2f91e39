//! Keys are rotated under running replicas: API keys by creating and revoking, sealing keys by resealing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::Method;
use serde_json::json;
use testkit::{FakeAirflow, keyring, sealing_keys};

use crate::app::{SPACE, TestApi};
use crate::command_line::{command, run};
use crate::seed::{ADMIN, EDITOR};

/// Rotates an API key. True if each replica rejects the old key before its cache entry expires.
async fn rotate_api_key(test: &TestApi, replicas: &[TestApi]) -> bool {
    let path = format!("/spaces/{SPACE}/teams");
    let status = async |replica: &TestApi, key: &str| {
        replica.send(Method::GET, key, &path, None).await.status.as_u16()
    };
    let make = async |label| test.administer(&["key", "create", "victor@x.org", "--label", label]).await;
    let (old, new) = (make("old").await, make("new").await);
    let (old_key, new_key) = (old["key"].as_str().unwrap(), new["key"].as_str().unwrap());
    for replica in replicas {
        for key in [old_key, new_key, old_key] {
            assert_eq!(status(replica, key).await, 200);
        }
    }
    test.administer(&["key", "revoke", old["id"].as_str().unwrap()]).await;
    let is_rejected = async {
        for replica in replicas {
            while status(replica, old_key).await != 401 {
                assert_eq!(status(replica, new_key).await, 200);
            }
        }
    };
    let is_rejected = tokio::time::timeout(Duration::from_secs(3), is_rejected).await;
    for replica in replicas {
        assert_eq!(status(replica, new_key).await, 200);
    }
    is_rejected.is_ok()
}

#[tokio::test]
async fn a_revoked_key_is_rejected_by_every_replica_at_once() {
    let test = TestApi::new().await;
    let replicas = [test.replica(keyring("a")), test.replica(keyring("a"))];
    for replica in &replicas {
        replica.cache_access();
    }
    // Repeated, since a busy machine may be too slow now and then.
    for _ in 0..8 {
        if rotate_api_key(&test, &replicas).await {
            return;
        }
    }
    panic!("the replicas are not notified");
}

/// Whether this replica can open the connector's credentials and log in with them.
async fn logs_in(replica: &TestApi) -> bool {
    let path = format!("/catalog/spaces/{SPACE}/connectors/{}/test", replica.connector);
    replica.send(Method::POST, EDITOR, &path, None).await.expect(200)["success"] == true
}

async fn set_password(replica: &TestApi, fake: &FakeAirflow) {
    let path = format!("/catalog/spaces/{SPACE}/connectors/{}", replica.connector);
    let change = json!({
        "config": {"base_url": fake.url},
        "credentials": {"auth_type": "basic", "username": "svc", "password": "right"},
    });
    replica.send(Method::PATCH, EDITOR, &path, Some(change)).await.expect(200);
}

async fn reseal(test: &TestApi, letters: &str) -> (bool, String) {
    let mut reseal = command(&test.database.url, &["credentials", "reseal"]);
    reseal.env("ORCHESTRATION_SEALING_KEYS", sealing_keys(letters));
    let output = run(reseal).await;
    let printed = if output.status.success() { output.stdout } else { output.stderr };
    (output.status.success(), String::from_utf8(printed).unwrap().trim().to_owned())
}

#[tokio::test]
async fn sealing_keys_are_rotated_under_a_running_api() {
    let test = TestApi::new().await;
    let fake = FakeAirflow::start(0).await;
    set_password(&test, &fake).await;
    // Every replica opens with the new key before any replica seals with it, so that both can run side by
    // side.
    let opens_both = test.replica(keyring("ab"));
    assert!(logs_in(&test).await && logs_in(&opens_both).await);
    set_password(&opens_both, &fake).await;
    assert!(logs_in(&test).await, "a replica of the step before opens what this one seals");
    let seals_with_new = test.replica(keyring("ba"));
    set_password(&seals_with_new, &fake).await;
    assert!(logs_in(&opens_both).await && !logs_in(&test).await);
    // Sealed with the old key again, and more connectors than one batch.
    set_password(&opens_both, &fake).await;
    for n in 0..119 {
        let more = json!({"name": format!("more {n}"), "connector_type": "dbt",
                          "credentials": {"auth_type": "token", "token": "t"}});
        test.send(Method::POST, EDITOR, &format!("/catalog/spaces/{SPACE}/connectors"), Some(more))
            .await
            .expect(201);
    }
    let stop = AtomicBool::new(false);
    let use_both = async {
        let mut times = 0;
        while !stop.load(Ordering::Relaxed) || times == 0 {
            assert!(logs_in(&seals_with_new).await && logs_in(&opens_both).await);
            times += 1;
        }
    };
    let reseal_all = async {
        let output = reseal(&test, "ba").await;
        stop.store(true, Ordering::Relaxed);
        output
    };
    let ((), output) = tokio::join!(use_both, reseal_all);
    assert_eq!(output, (true, r#"{"resealed":120,"unchanged":0}"#.to_owned()));
    assert_eq!(reseal(&test, "ba").await, (true, r#"{"resealed":0,"unchanged":120}"#.to_owned()));
    let new_only = test.replica(keyring("b"));
    assert!(logs_in(&new_only).await, "the new key opens all credentials");
    assert!(!logs_in(&test).await, "the old key opens none");
    let path = format!("/spaces/{SPACE}/audit?action=connector.resealed");
    let is_rejected = test.send(Method::GET, ADMIN, &path, None).await;
    assert_eq!(is_rejected.header("x-total-count"), "120");
}

#[tokio::test]
async fn credentials_that_no_key_opens_are_reported_and_the_others_are_resealed() {
    let test = TestApi::new().await;
    let fake = FakeAirflow::start(0).await;
    set_password(&test, &fake).await;
    test.sql("update connectors set credentials_sealed = 'broken' where name = 'other airflow'").await;
    let (succeeded, output) = reseal(&test, "ba").await;
    assert!(!succeeded && output.contains("1 resealed") && output.contains("other airflow"), "{output}");
    assert!(logs_in(&test.replica(keyring("b"))).await);
}
