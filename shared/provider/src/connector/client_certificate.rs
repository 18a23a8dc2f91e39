//! Client certificates: how a connector authenticates in the TLS handshake (mutual TLS).

use derive_more::Display;
use reqwest::Identity;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::ca_certificate::check_ca_certificate;
use super::expose::expose;
use crate::http_client::innermost;

/// A client certificate and its private key, for servers that ask for one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClientCertificate {
    /// The certificate, and those of intermediate authorities after it, as PEM.
    #[serde(rename = "client_certificate")]
    pub certificate: String,
    /// The certificate's private key, as PEM.
    #[serde(rename = "client_key", serialize_with = "expose")]
    pub key: SecretString,
}

impl PartialEq for ClientCertificate {
    fn eq(&self, other: &Self) -> bool {
        self.certificate == other.certificate && self.key.expose_secret() == other.key.expose_secret()
    }
}

/// What is wrong with a client certificate: a clause about one of its two parts, without the key.
#[derive(Clone, Debug, PartialEq, Eq, Display)]
pub enum ClientCertificateFault {
    #[display("The client certificate {_0}")]
    Certificate(String),
    #[display("The key of the client certificate {_0}")]
    Key(String),
}

impl ClientCertificate {
    /// Returns both parts for a TLS handshake.
    ///
    /// # Errors
    /// When the certificate or the key cannot be used, or they do not belong together.
    pub(crate) fn identity(&self) -> Result<Identity, ClientCertificateFault> {
        check_ca_certificate(&self.certificate).map_err(ClientCertificateFault::Certificate)?;
        let key = self.key.expose_secret();
        let fault = |text: &str| Err(ClientCertificateFault::Key(text.to_owned()));
        if key.contains("ENCRYPTED") {
            return fault("must not be encrypted with a passphrase");
        }
        let Ok(identity) = Identity::from_pem(format!("{}\n{key}", self.certificate).as_bytes()) else {
            return fault("must be a private key as PEM (-----BEGIN PRIVATE KEY-----)");
        };
        match reqwest::Client::builder().tls_certs_only([]).identity(identity.clone()).build() {
            Ok(_) => Ok(identity),
            Err(error) if innermost(&error).contains("KeyMismatch") => fault("is of another certificate"),
            Err(_) => fault("cannot be used with the certificate in TLS: RSA, ECDSA and Ed25519 can"),
        }
    }

    /// Checks that both parts can be used and belong together.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), ClientCertificateFault> {
        self.identity().map(drop)
    }
}
