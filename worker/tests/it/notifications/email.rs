//! E-mails through a real SMTP server (aiosmtpd, from PyPI) with TLS and authentication.

use std::io::{BufRead, BufReader, Lines};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use worker::notifications::{SmtpConfig, SmtpTls};

use super::{NotificationTest, no_smtp};

/// A running SMTP server, which is killed when it is dropped.
struct SmtpServer {
    process: Child,
    output: Lines<BufReader<ChildStdout>>,
    config: SmtpConfig,
}

impl SmtpServer {
    async fn start(folder: &Path, tls: SmtpTls) -> Self {
        let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/notifications/peers");
        let python = local::receiver_environment().await.unwrap();
        let certificates = local::certificates(folder).await.unwrap();
        let mut process = Command::new(python.join("bin/python"))
            .arg(peers.join("smtp_server.py"))
            .arg(if tls == SmtpTls::Implicit { "implicit" } else { "starttls" })
            .args([&certificates.certificate, &certificates.key])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = output.next().expect("the server prints its port").unwrap();
        let config = SmtpConfig {
            smtp_host: Some("localhost".to_owned()),
            smtp_port: Some(port.parse().unwrap()),
            smtp_tls: tls,
            smtp_username: Some("svc".to_owned()),
            smtp_password: Some("right".into()),
            smtp_from: Some("Orchestration <orchestration@example.org>".to_owned()),
            smtp_ca_file: Some(certificates.authority),
        };
        Self { process, output, config }
    }

    /// The next e-mail.
    fn receive(&mut self) -> Value {
        serde_json::from_str(&self.output.next().expect("an e-mail").unwrap()).unwrap()
    }
}

impl Drop for SmtpServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn enqueue_email(test: &NotificationTest) {
    enqueue_email_to(test, &["ada@example.org", "bob@example.org"]).await;
}

async fn enqueue_email_to(test: &NotificationTest, to: &[&str]) {
    test.channel("email", json!({ "to": to }), None).await;
    test.incident(test.pipeline("täglich <b>", "x", None).await, "failing").await;
    test.dispatch().await;
    test.dispatch_after("31 seconds").await;
}

async fn check_delivery(tls: SmtpTls) {
    let test = NotificationTest::new().await;
    let folder = tempfile::tempdir().unwrap();
    let mut server = SmtpServer::start(folder.path(), tls).await;
    enqueue_email(&test).await;
    test.deliverer_with(true, &server.config).deliver_due().await.unwrap();
    assert_eq!(test.attempts().await, ["250"]);
    let email = server.receive();
    assert_eq!(email["from"], "orchestration@example.org");
    assert_eq!(email["to"], json!(["ada@example.org", "bob@example.org"]));
    let content = email["content"].as_str().unwrap();
    let id = &test.texts("select id::text from notification_deliveries").await[0];
    for part in [
        &format!("Message-ID: <{id}@example.org>"),
        "From: Orchestration <orchestration@example.org>",
        "multipart/alternative",
        "text/plain",
        "text/html",
        "It is failing.",
        "&lt;b&gt;",
    ] {
        assert!(content.contains(part), "{part}: {content}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_email_is_sent_over_starttls() {
    check_delivery(SmtpTls::Starttls).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_email_is_sent_over_implicit_tls() {
    check_delivery(SmtpTls::Implicit).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_email_is_not_sent_to_an_unknown_server_or_with_a_wrong_password() {
    let test = NotificationTest::new().await;
    let folder = tempfile::tempdir().unwrap();
    let server = SmtpServer::start(folder.path(), SmtpTls::Starttls).await;
    enqueue_email(&test).await;
    let unknown = SmtpConfig { smtp_ca_file: None, ..server.config.clone() };
    let wrong = SmtpConfig { smtp_password: Some("wrong".into()), ..server.config.clone() };
    for config in [unknown, wrong, no_smtp()] {
        test.deliverer_with(true, &config).deliver_due().await.unwrap();
        test.make_due().await;
    }
    let attempts = test.attempts().await;
    assert!(attempts[0].starts_with("- The SMTP server did not take the e-mail: "), "{attempts:?}");
    assert!(attempts[1].starts_with("535 The SMTP server did not take the e-mail: "), "{attempts:?}");
    assert_eq!(attempts[2], "- The worker has no SMTP server; set ORCHESTRATION_SMTP_HOST.");
    assert!(!attempts.concat().contains("wrong"), "{attempts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_the_server_refuses_does_not_keep_an_email_from_the_others() {
    let test = NotificationTest::new().await;
    let folder = tempfile::tempdir().unwrap();
    let mut server = SmtpServer::start(folder.path(), SmtpTls::Starttls).await;
    enqueue_email_to(&test, &["unknown@example.org", "ada@example.org", "bob", "eve@example.org"]).await;
    test.deliverer_with(true, &server.config).deliver_due().await.unwrap();
    let refused = "unknown@example.org did not get the e-mail: permanent error (550): 5.1.1 No such user.";
    let invalid = "bob did not get the e-mail: it is no address of an e-mail.";
    assert_eq!(test.attempts().await, [format!("250 {refused} {invalid}")]);
    assert_eq!(server.receive()["to"], json!(["ada@example.org", "eve@example.org"]));
    assert_eq!(test.texts("select status from notification_deliveries").await, ["delivered"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipient_whom_the_server_accepts_later_is_sent_the_email_alone() {
    let test = NotificationTest::new().await;
    let folder = tempfile::tempdir().unwrap();
    let mut server = SmtpServer::start(folder.path(), SmtpTls::Implicit).await;
    enqueue_email_to(&test, &["busy@example.org", "ada@example.org"]).await;
    let deliverer = test.deliverer_with(true, &server.config);
    deliverer.deliver_due().await.unwrap();
    let later = "250 busy@example.org did not get the e-mail: transient error (451): 4.7.1 Try again later.";
    assert_eq!(test.attempts().await, [later]);
    let first = server.receive();
    assert_eq!(first["to"], json!(["ada@example.org"]));
    let waits = "select count(*) from notification_channels c join notification_deliveries d
        on d.channel_id = c.id where d.status = 'pending' and c.paused_until is null and c.failures = 0";
    assert_eq!(test.number(waits).await, 1, "further messages do not wait for the recipient");

    test.make_due().await;
    deliverer.deliver_due().await.unwrap();
    assert_eq!(test.attempts().await, [later, "250"]);
    let second = server.receive();
    assert_eq!(second["to"], json!(["busy@example.org"]));
    let id = format!("Message-ID: <{}@", test.texts("select id::text from notification_deliveries").await[0]);
    for email in [first, second] {
        let content = email["content"].as_str().unwrap();
        assert!(content.contains(&id) && content.contains("To: busy@example.org, ada@"), "{content}");
    }
    assert_eq!(test.texts("select status from notification_deliveries").await, ["delivered"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_fails_the_attempt_after_the_time_out() {
    let test = NotificationTest::new().await;
    // Connections are accepted by the kernel, and no program answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = SmtpConfig {
        smtp_host: Some("127.0.0.1".to_owned()),
        smtp_port: Some(silent.local_addr().unwrap().port()),
        smtp_tls: SmtpTls::None,
        smtp_from: Some("orchestration@example.org".to_owned()),
        ..no_smtp()
    };
    enqueue_email(&test).await;
    let delivery = test.deliverer_with(true, &config);
    let delivered = tokio::time::timeout(Duration::from_secs(60), delivery.deliver_due()).await;
    delivered.expect("the attempt ends").unwrap();
    let expected = "- The SMTP server did not take the e-mail: it gave no answer within 10 s.";
    assert_eq!(test.attempts().await, [expected]);
}
