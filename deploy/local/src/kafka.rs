//! A real Apache Kafka broker (KRaft, one node) on loopback, from Maven artifacts. Its users create their
//! topics themselves.

mod secure;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use self::secure::SecureListener;
pub use self::secure::{SecureKafka, secure_kafka_instance};
use crate::process::Stop;
use crate::service::{self, Launch, LocalService};
use crate::settings::setting;
use crate::{paths, ports, progress, tools};

const DEFAULT_PORT: u16 = 19092;
const DEFAULT_CONTROLLER_PORT: u16 = 19392;
const MIN_JAVA_VERSION: u32 = 17;

/// The listeners of a broker besides the usual one.
#[derive(Default)]
struct Listeners {
    secure: SecureListener,
    /// The port that is advertised to clients, if it is not the broker's.
    advertised_port: Option<u16>,
}

/// Makes sure that a Kafka runs and returns its bootstrap servers: `KAFKA_BOOTSTRAP_SERVERS` if it is set,
/// else the broker on loopback, which is started if necessary.
pub async fn kafka() -> Result<String> {
    match external_kafka() {
        Some(servers) if any_answers(&servers).await => Ok(servers),
        Some(servers) => bail!(
            "no Kafka answers at {servers}: check KAFKA_BOOTSTRAP_SERVERS, or unset it to have one started \
             here"
        ),
        None => kafka_instance("kafka").await,
    }
}

/// Returns `KAFKA_BOOTSTRAP_SERVERS`, unless it names the broker that was started here (as in
/// `.local/demo.env`).
pub(crate) fn external_kafka() -> Option<String> {
    let ours = LocalService::named("kafka").record().map(|record| format!("127.0.0.1:{}", record.port));
    setting("KAFKA_BOOTSTRAP_SERVERS").filter(|servers| Some(servers) != ours.as_ref())
}

/// Makes sure that a separate broker of this name runs, for tests that stop or kill it. Returns its bootstrap
/// servers.
pub async fn kafka_instance(name: &str) -> Result<String> {
    let healthy = async |port| answers(&format!("127.0.0.1:{port}")).await;
    let record =
        LocalService::named(name).ensure(async || launch(name, Listeners::default()).await, healthy).await?;
    Ok(format!("127.0.0.1:{}", record.port))
}

/// Starts a separate broker of this name, whose clients connect to another loopback port: that of a proxy. A
/// broker of this name that runs is replaced. Returns the broker's own address.
pub async fn proxied_kafka_instance(name: &str, proxy_port: u16) -> Result<String> {
    let service = LocalService::named(name);
    service.stop().await?;
    let listeners = Listeners { advertised_port: Some(proxy_port), ..Listeners::default() };
    let healthy = async |port| answers(&format!("127.0.0.1:{port}")).await;
    let record = service.ensure(async || launch(name, listeners).await, healthy).await?;
    Ok(format!("127.0.0.1:{}", record.port))
}

/// Returns whether a broker processes requests at this address. During its start a broker accepts connections
/// before it processes requests.
pub(crate) async fn answers(address: &str) -> bool {
    // ApiVersions, version 0: length, key 18, version 0, correlation ID 7, client ID "local".
    let request = [0, 0, 0, 15, 0, 18, 0, 0, 0, 0, 0, 7, 0, 5, b'l', b'o', b'c', b'a', b'l'];
    let exchange = async {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        stream.write_all(&request).await?;
        let mut response = [0_u8; 10];
        stream.read_exact(&mut response).await?;
        std::io::Result::Ok(response)
    };
    let response = tokio::time::timeout(Duration::from_secs(3), exchange).await;
    // After the length: the correlation ID of the request, then error code 0.
    matches!(response, Ok(Ok([_, _, _, _, 0, 0, 0, 7, 0, 0])))
}

/// Returns whether at least one of these servers, separated by commas, answers.
pub(crate) async fn any_answers(servers: &str) -> bool {
    for server in servers.split(',') {
        if answers(server.trim()).await {
            return true;
        }
    }
    false
}

/// Returns the folder with the logs of a separate broker of this name: a folder for each partition.
pub fn kafka_logs(name: &str) -> Result<PathBuf> {
    paths::local_folder(&format!("{name}/data"))
}

async fn launch(name: &str, listeners: Listeners) -> Result<Launch> {
    let java = java().await?;
    let classes = jars(&java).await?.join("*");
    let folder = paths::local_folder(name)?;
    let port = LocalService::named(name).choose_port(DEFAULT_PORT)?;
    let settings = folder.join("server.properties");
    let controller = ports::choose(&format!("{name}-controller"), None, DEFAULT_CONTROLLER_PORT)?;
    let text = server_properties(port, controller, &folder.join("data"), &listeners);
    paths::write_file(&settings, &text, 0o600)?;
    let logging = folder.join("log4j2.properties");
    paths::write_file(&logging, LOGGING, 0o644)?;

    let kafka = |main: &str| {
        let mut command = Command::new(&java);
        command.current_dir(&folder);
        command.arg(format!("-Dlog4j2.configurationFile={}", logging.display()));
        command.args(["-Xms128m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]);
        command.arg(&classes).arg(main);
        command
    };
    if !folder.join("data/meta.properties").exists() {
        progress::note("formatting Kafka's storage");
        let id = cluster_id();
        let mut format = kafka("kafka.tools.StorageTool");
        format
            .args(["format", "--ignore-formatted", "-t", &id, "-c"])
            .arg(&settings)
            .args(&listeners.secure.format);
        tools::run(format).await?;
    }
    let mut command = kafka("kafka.Kafka");
    command.arg(&settings);
    Ok(Launch { command, port, timeout: Duration::from_secs(60), stop: Stop::Leader })
}

/// Returns the broker's configuration. It overrides only defaults that require three brokers, need too much
/// memory for a small machine, or wait long for a broker that was killed.
fn server_properties(port: u16, controller: u16, data: &Path, listeners: &Listeners) -> String {
    let advertised = listeners.advertised_port.unwrap_or(port);
    let listener = &listeners.secure;
    let secure = listener.port.map(|port| format!(",SECURE://127.0.0.1:{port}")).unwrap_or_default();
    let settings = &listener.settings;
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{secure}
advertised.listeners=PLAINTEXT://127.0.0.1:{advertised}{secure}
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SECURE:SASL_SSL
log.dirs={}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=6000
broker.heartbeat.interval.ms=500
num.network.threads=1
num.io.threads=2
log.segment.bytes=16777216
log.cleaner.dedupe.buffer.size=16777216
{settings}",
        data.display()
    )
}

const LOGGING: &str = "status=warn
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d{ISO8601} %p %c{1} %m%n
rootLogger.level=info
rootLogger.appenderRef.console.ref=console
";

/// Returns the folder with the broker's jars. Maven fetches them once per version of our `pom.xml`.
async fn jars(java: &Path) -> Result<PathBuf> {
    let pom = paths::asset("kafka/pom.xml");
    let text = std::fs::read_to_string(&pom).with_context(|| format!("cannot read {}", pom.display()))?;
    let library = paths::local_dir().join(format!("kafka-jars-{}", paths::path_hash(Path::new(&text))));
    let _lock = service::lock("kafka-jars").await?;
    if library.exists() {
        return Ok(library);
    }
    progress::note("downloading Apache Kafka's jars with Maven (45 MB)");
    let fresh = library.with_added_extension("tmp");
    let mut command = Command::new(maven().await?);
    command.args(["-q", "-B", "-f"]).arg(&pom);
    command.args(["dependency:copy-dependencies", "-DincludeScope=runtime"]);
    command.arg(format!("-DoutputDirectory={}", fresh.display()));
    if let Some(home) = java_home(java) {
        command.env("JAVA_HOME", home);
    }
    tools::run(command).await.context("cannot download Apache Kafka")?;
    std::fs::rename(&fresh, &library).with_context(|| format!("cannot create {}", library.display()))?;
    Ok(library)
}

async fn maven() -> Result<PathBuf> {
    if let Some(maven) = tools::on_path("mvn") {
        return Ok(maven);
    }
    tools::install_package("maven", "Maven (mvn), which downloads Apache Kafka,").await?;
    tools::on_path("mvn").context("the package maven contains no mvn")
}

/// Returns a Java of at least [`MIN_JAVA_VERSION`]: from `PATH`, from `JAVA_HOME`, or from a system package.
async fn java() -> Result<PathBuf> {
    if let Some(java) = find_java().await {
        return Ok(java);
    }
    let purpose = format!("Java {MIN_JAVA_VERSION} or later, which runs Apache Kafka,");
    tools::install_package("default-jre-headless", &purpose).await?;
    find_java().await.with_context(|| format!("default-jre-headless is older than Java {MIN_JAVA_VERSION}"))
}

async fn find_java() -> Option<PathBuf> {
    let installed =
        std::fs::read_dir("/usr/lib/jvm").into_iter().flatten().flatten().map(|entry| entry.path());
    let homes = setting("JAVA_HOME").map(PathBuf::from).into_iter().chain(installed);
    let home_programs = homes.map(|home| home.join("bin/java")).filter(|java| tools::is_executable(java));
    for java in tools::on_path("java").into_iter().chain(home_programs) {
        let mut command = Command::new(&java);
        // Unlike `-version`, this prints to standard output.
        command.arg("--version");
        let version = tools::run(command).await.ok().and_then(|output| parse_java_version(&output));
        if version.is_some_and(|version| version >= MIN_JAVA_VERSION) {
            return Some(java);
        }
    }
    None
}

fn java_home(java: &Path) -> Option<PathBuf> {
    Some(java.canonicalize().ok()?.parent()?.parent()?.to_path_buf())
}

fn parse_java_version(output: &str) -> Option<u32> {
    output.split_whitespace().nth(1)?.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Returns a random ID of 22 characters. The first is never `-`, so that the ID is not parsed as a flag.
fn cluster_id() -> String {
    let mut bytes = *uuid::Uuid::new_v4().as_bytes();
    bytes[0] &= 0x7f;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn java_versions_of_different_vendors_are_parsed() {
        assert_eq!(parse_java_version("openjdk 17.0.15 2025-04-15\nOpenJDK Runtime…"), Some(17));
        assert_eq!(parse_java_version("java 21 2023-09-19 LTS"), Some(21));
        assert_eq!(parse_java_version("openjdk 25-ea 2025-09-16"), Some(25));
        assert_eq!(parse_java_version(""), None);
    }

    #[tokio::test]
    async fn a_server_with_another_protocol_is_not_a_broker() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let web = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        });
        assert!(!answers(&address).await);
        web.await.unwrap();
    }
}
