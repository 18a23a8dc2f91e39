//! Webhooks are verified by the library that Standard Webhooks publishes for receivers.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use super::receiver::{Answer, FakeReceiver, ReceivedRequest};
use super::{NotificationTest, SIGNING_SECRET, signing};

const NEW_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/notifications/peers")
}

/// Verifies a request with this secret in Node.
async fn verify(secret: &str, request: &ReceivedRequest, body: &str) -> Output {
    local::node_packages(&peers()).await.unwrap();
    let input = json!({"secret": secret, "headers": request.webhook_headers(), "body": body}).to_string();
    tokio::task::spawn_blocking(move || {
        let mut node = Command::new("node");
        node.arg(peers().join("verify.js"));
        let mut node =
            node.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        node.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        node.wait_with_output().unwrap()
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn the_library_of_standard_webhooks_verifies_a_request_with_either_secret() {
    let test = NotificationTest::new().await;
    let receiver = FakeReceiver::start(Answer::Status(204)).await;
    let secrets = Some(signing(&[NEW_SECRET, SIGNING_SECRET]));
    test.channel("webhook", json!({ "url": receiver.url }), secrets).await;
    let incident = test.incident(test.pipeline("sales", "x", None).await, "failing").await;
    test.dispatch().await;
    test.dispatch_after("31 seconds").await;
    test.deliverer().deliver_due().await.unwrap();
    let [request] = receiver.received().try_into().expect("one request");
    for secret in [NEW_SECRET, SIGNING_SECRET] {
        let output = verify(secret, &request, &request.body).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let verified: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(verified["type"], "incident.opened");
        assert_eq!(verified["data"]["incidents"][0]["id"], json!(incident));
    }
    let stored = test.texts("select id::text from notification_deliveries").await;
    assert_eq!(stored, [request.header("webhook-id")]);
    let forged = request.body.replace("sales", "stock");
    let other = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for (secret, body) in [(NEW_SECRET, &forged), (other, &request.body)] {
        let output = verify(secret, &request, body).await;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains("No matching signature"), "{error}");
    }
}
