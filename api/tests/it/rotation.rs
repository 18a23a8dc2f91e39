//! Keys are exchanged while everything runs: API keys one after the other, sealing keys by resealing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::Method;
use serde_json::json;
use testkit::{FakeAirflow, keyring, sealing_keys};

use crate::app::{SPACE, TestApi};
use crate::command_line::{command, run};
use crate::seed::{ADMIN, EDITOR};

/// Exchanges a key under everybody; whether each replica knew it sooner than what it remembers runs out by itself.
async fn exchange_key(test: &TestApi, replicas: &[TestApi]) -> bool {
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
    let told = async {
        for replica in replicas {
            while status(replica, old_key).await != 401 {
                assert_eq!(status(replica, new_key).await, 200);
            }
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(3), told).await;
    for replica in replicas {
        assert_eq!(status(replica, new_key).await, 200);
    }
    told.is_ok()
}

#[tokio::test]
async fn a_new_key_takes_over_and_the_old_one_is_worthless_on_every_replica_at_once() {
    let test = TestApi::new().await;
    let replicas = [test.replica(keyring("a")), test.replica(keyring("a"))];
    for replica in &replicas {
        let app = replica.app.clone();
        tokio::spawn(async move { app.access.listen(&app.db, &app.stopping).await });
    }
    // A machine that is busy with something else may be slow once, but not each time.
    for _ in 0..8 {
        if exchange_key(&test, &replicas).await {
            return;
        }
    }
    panic!("nobody tells the replicas");
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
    let said = if output.status.success() { output.stdout } else { output.stderr };
    (output.status.success(), String::from_utf8(said).unwrap().trim().to_owned())
}

#[tokio::test]
async fn sealing_keys_are_exchanged_under_a_running_api() {
    let test = TestApi::new().await;
    let fake = FakeAirflow::start(0).await;
    set_password(&test, &fake).await;
    // The new key is made known everywhere before any replica seals with it, so that old and new can run side by side.
    let knows = test.replica(keyring("ab"));
    assert!(logs_in(&test).await && logs_in(&knows).await);
    set_password(&knows, &fake).await;
    assert!(logs_in(&test).await, "what a replica of the first step seals, one of the step before opens");
    let seals = test.replica(keyring("ba"));
    set_password(&seals, &fake).await;
    assert!(logs_in(&knows).await && !logs_in(&test).await);
    // Back to the old key, and more of it than a batch.
    set_password(&knows, &fake).await;
    for n in 0..119 {
        let more = json!({"name": format!("more {n}"), "connector_type": "dbt",
                          "credentials": {"auth_type": "token", "token": "t"}});
        test.send(Method::POST, EDITOR, &format!("/catalog/spaces/{SPACE}/connectors"), Some(more))
            .await
            .expect(201);
    }
    let stop = AtomicBool::new(false);
    let used = async {
        let mut times = 0;
        while !stop.load(Ordering::Relaxed) || times == 0 {
            assert!(logs_in(&seals).await && logs_in(&knows).await);
            times += 1;
        }
    };
    let resealed = async {
        let said = reseal(&test, "ba").await;
        stop.store(true, Ordering::Relaxed);
        said
    };
    let ((), said) = tokio::join!(used, resealed);
    assert_eq!(said, (true, r#"{"resealed":120,"unchanged":0}"#.to_owned()));
    assert_eq!(reseal(&test, "ba").await, (true, r#"{"resealed":0,"unchanged":120}"#.to_owned()));
    let alone = test.replica(keyring("b"));
    assert!(logs_in(&alone).await, "the old key can go");
    assert!(!logs_in(&test).await, "it opens nothing any more");
    let path = format!("/spaces/{SPACE}/audit?action=connector.resealed");
    let told = test.send(Method::GET, ADMIN, &path, None).await;
    assert_eq!(told.header("x-total-count"), "120");
}

#[tokio::test]
async fn credentials_that_no_key_opens_are_named_and_the_others_are_resealed() {
    let test = TestApi::new().await;
    let fake = FakeAirflow::start(0).await;
    set_password(&test, &fake).await;
    test.sql("update connectors set credentials_sealed = 'broken' where name = 'other airflow'").await;
    let (good, said) = reseal(&test, "ba").await;
    assert!(!good && said.contains("1 resealed") && said.contains("other airflow"), "{said}");
    assert!(logs_in(&test.replica(keyring("b"))).await);
}
