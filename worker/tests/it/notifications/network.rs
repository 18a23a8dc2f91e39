//! The way to receivers: certificates of private authorities, and the proxy of connectors.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use local::Certificates;
use provider::NetworkPolicy;

use super::receiver::{Answer, FakeReceiver};
use super::{NotificationTest, no_smtp};

/// A webhook over TLS with a certificate for `localhost` and 127.0.0.1. It is killed when it is dropped.
struct TlsReceiver {
    process: Child,
    port: u16,
}

impl TlsReceiver {
    async fn start(address: &str, certificates: &Certificates) -> Self {
        let python = local::receiver_environment().await.unwrap();
        let program =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/notifications/peers/tls_receiver.py");
        let mut process = Command::new(python.join("bin/python"))
            .arg(program)
            .arg(address)
            .args([&certificates.certificate, &certificates.key])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut port = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut port).unwrap();
        Self { process, port: port.trim().parse().unwrap() }
    }
}

impl Drop for TlsReceiver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn open_network() -> NetworkPolicy {
    NetworkPolicy { allow_private_networks: true, ..NetworkPolicy::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_with_a_certificate_of_a_private_authority_is_reached_if_that_is_trusted() {
    let test = NotificationTest::new().await;
    let folder = tempfile::tempdir().unwrap();
    let certificates = local::certificates(folder.path()).await.unwrap();
    let server = TlsReceiver::start("127.0.0.1", &certificates).await;
    let channel = test.webhook(&format!("https://localhost:{}/secret", server.port)).await;
    test.enqueue(channel).await;
    test.deliverer().deliver_due().await.unwrap();
    let attempts = test.attempts().await;
    assert!(attempts[0].starts_with("- The receiver gave no answer: "), "{attempts:?}");
    assert!(attempts[0].contains("certificate") && !attempts[0].contains("secret"), "{attempts:?}");

    test.make_due().await;
    let trusting = test.deliverer_through(open_network(), Some(&certificates.authority), &no_smtp());
    trusting.deliver_due().await.unwrap();
    assert_eq!(test.attempts().await[1..], ["204"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_with_a_certificate_of_another_host_gets_nothing() {
    let test = NotificationTest::new().await;
    let folder = tempfile::tempdir().unwrap();
    let certificates = local::certificates(folder.path()).await.unwrap();
    let server = TlsReceiver::start("127.0.0.2", &certificates).await;
    let channel = test.webhook(&format!("https://127.0.0.2:{}/", server.port)).await;
    test.enqueue(channel).await;
    let trusting = test.deliverer_through(open_network(), Some(&certificates.authority), &no_smtp());
    trusting.deliver_due().await.unwrap();
    let attempts = test.attempts().await;
    assert!(attempts[0].starts_with("- The receiver gave no answer: "), "{attempts:?}");
    assert!(attempts[0].contains("certificate"), "{attempts:?}");
}

/// The proxy resolves names by itself, so the policy is applied before each request.
#[tokio::test]
async fn messages_go_through_the_proxy_to_allowed_addresses_only() {
    let test = NotificationTest::new().await;
    let proxy = FakeReceiver::start(Answer::Status(204)).await;
    let network = NetworkPolicy {
        proxy: Some(proxy.url.replace("http://", "http://user:pass@").into()),
        allowed_networks: provider::AllowedNetworks(vec!["hooks.invalid".parse().unwrap()]),
        no_proxy: Some("direct.invalid".to_owned()),
        ..NetworkPolicy::default()
    };
    let deliverer = test.deliverer_through(network, None, &no_smtp());
    let mut ended = Vec::new();
    for host in ["hooks.invalid", "10.1.2.3", "localhost", "other.invalid", "direct.invalid"] {
        let channel = test.webhook(&format!("http://{host}/hook")).await;
        test.enqueue(channel).await;
        deliverer.deliver_due().await.unwrap();
        ended.push(test.attempts().await.pop().unwrap());
    }
    assert_eq!(ended[0], "204");
    for (error, words) in ended[1..].iter().zip([
        "10.1.2.3 is not allowed",
        "is not allowed",
        "other.invalid is not allowed; it cannot be resolved here",
        "direct.invalid is not allowed",
    ]) {
        assert!(error.contains(words), "{error}");
    }
    let [request] = proxy.received().try_into().expect("one request");
    assert_eq!(request.header("host"), "hooks.invalid");
    assert_eq!(request.header("proxy-authorization"), "Basic dXNlcjpwYXNz");
}

#[tokio::test]
async fn a_host_without_the_proxy_is_reached_directly() {
    let test = NotificationTest::new().await;
    let receiver = FakeReceiver::start(Answer::Status(204)).await;
    let proxy = FakeReceiver::start(Answer::Status(502)).await;
    let network = NetworkPolicy {
        proxy: Some(proxy.url.clone().into()),
        no_proxy: Some("127.0.0.1".to_owned()),
        ..open_network()
    };
    let channel = test.webhook(&receiver.url).await;
    test.enqueue(channel).await;
    test.deliverer_through(network, None, &no_smtp()).deliver_due().await.unwrap();
    assert_eq!(test.attempts().await, ["204"]);
    assert!(proxy.received().is_empty());
}
