//! E-mails through a real SMTP server (aiosmtpd, from PyPI) with TLS and authentication.

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

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
    let to = json!({"to": ["ada@example.org", "bob@example.org"]});
    test.channel("email", to, None).await;
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
