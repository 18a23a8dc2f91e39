//! A broker with a second listener that requires TLS and a password, as managed Kafka services do.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use base64::Engine;
use serde::{Deserialize, Serialize};

use super::{Listeners, answers, launch};
use crate::certificates::{Certificates, certificates};
use crate::service::LocalService;
use crate::{paths, ports};

const DEFAULT_PORT: u16 = 19592;
/// The Java package of Kafka's login modules.
const SECURITY: &str = "org.apache.kafka.common.security";

/// How a client connects to the secure listener. The credentials are valid for SCRAM-SHA-512 and for PLAIN.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SecureKafka {
    /// The address of the secure listener.
    pub bootstrap_servers: String,
    /// The certificate of the authority that clients must trust, as a PEM file.
    pub authority: PathBuf,
    /// The user name.
    pub user: String,
    /// The password.
    pub password: String,
}

/// Broker settings of the secure listener, and arguments for formatting the broker's storage. Empty without
/// one.
#[derive(Default)]
pub(super) struct SecureListener {
    pub settings: String,
    pub format: Vec<String>,
    pub port: Option<u16>,
}

/// Makes sure that a separate broker of this name runs, with a listener that requires TLS and a password.
pub async fn secure_kafka_instance(name: &str) -> Result<SecureKafka> {
    let folder = paths::local_folder(name)?;
    let file = folder.join("secure.json");
    let secure = match std::fs::read_to_string(&file) {
        Ok(stored) => {
            serde_json::from_str(&stored).with_context(|| format!("cannot parse {}", file.display()))?
        }
        Err(_) => {
            let created = create(name, &folder).await?;
            paths::write_file(&file, &serde_json::to_string(&created)?, 0o600)?;
            created
        }
    };
    let healthy = async |port| answers(&format!("127.0.0.1:{port}")).await;
    let listeners = || -> Result<Listeners> {
        Ok(Listeners { secure: listener(&secure, &folder)?, ..Listeners::default() })
    };
    LocalService::named(name).ensure(async || launch(name, listeners()?).await, healthy).await?;
    Ok(secure)
}

/// Creates the certificates, the keystore and the credentials.
async fn create(name: &str, folder: &Path) -> Result<SecureKafka> {
    let Certificates { authority, certificate, key } = certificates(folder).await?;
    let read = |path: &Path| {
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
    };
    // Kafka reads the key and the certificate from one file.
    paths::write_file(&keystore(folder), &format!("{}{}", read(&key)?, read(&certificate)?), 0o600)?;
    let port = ports::choose(&format!("{name}-secure"), None, DEFAULT_PORT)?;
    Ok(SecureKafka {
        bootstrap_servers: format!("127.0.0.1:{port}"),
        authority,
        user: "orchestration".to_owned(),
        password: base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(rand::random::<[u8; 18]>()),
    })
}

fn keystore(folder: &Path) -> PathBuf {
    folder.join("keystore.pem")
}

fn listener(secure: &SecureKafka, folder: &Path) -> Result<SecureListener> {
    let SecureKafka { bootstrap_servers, user, password, .. } = secure;
    let (_, port) = bootstrap_servers.rsplit_once(':').context("a bootstrap server has a port")?;
    let settings = format!(
        "ssl.keystore.type=PEM
ssl.keystore.location={}
sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN
listener.name.secure.scram-sha-512.sasl.jaas.config={SECURITY}.scram.ScramLoginModule required;
listener.name.secure.plain.sasl.jaas.config={SECURITY}.plain.PlainLoginModule required \
         user_{user}=\"{password}\";
",
        keystore(folder).display()
    );
    let scram = format!("SCRAM-SHA-512=[name={user},password={password}]");
    Ok(SecureListener { settings, format: vec!["--add-scram".to_owned(), scram], port: Some(port.parse()?) })
}
