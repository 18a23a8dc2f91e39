//! HTTP connections, to Airflow and to the identity provider in front of it: addresses within the network
//! policy, certificates, and bounds on time and size. `client` and `identity_provider` send the requests.

use std::time::Duration;

use reqwest::ClientBuilder;
use reqwest::header::HeaderValue;
use url::Url;

use crate::ProviderError;
use crate::address::PolicedResolver;
use crate::connector::{ClientCertificate, read_ca_certificate};
use crate::http_client::{self, CONNECT_TIMEOUT, denied, innermost};

/// How a connector's requests are sent.
#[derive(Clone)]
pub(crate) struct Transport {
    /// Resolves host names under the network policy.
    pub resolver: PolicedResolver,
    /// Certificates of private authorities, as PEM.
    pub ca_certificate: Option<String>,
    /// For servers that ask for one.
    pub client_certificate: Option<ClientCertificate>,
    /// No request takes longer, and no retry starts later than this after the first attempt.
    pub timeout: Duration,
}

impl Transport {
    /// Returns the settings of all connections.
    pub(super) fn client_builder(&self) -> Result<ClientBuilder, ProviderError> {
        let mut builder = http_client::proxied_builder(self.resolver.clone(), self.timeout)?
            .pool_idle_timeout(Duration::from_secs(30));
        if let Some(client) = &self.client_certificate {
            let identity = client.identity();
            builder = builder
                .identity(identity.map_err(|fault| ProviderError::Misconfigured(format!("{fault}.")))?);
        }
        let Some(pem) = &self.ca_certificate else { return Ok(builder) };
        let authorities = read_ca_certificate(pem);
        let authorities = authorities
            .map_err(|reason| ProviderError::Misconfigured(format!("The CA certificate {reason}.")))?;
        Ok(builder.tls_certs_merge(authorities))
    }

    /// Returns why a request has no response.
    ///
    /// # Errors
    /// The error of the network policy, if it denied the address.
    pub(super) fn failure(&self, error: &reqwest::Error) -> Result<String, ProviderError> {
        if let Some(denied) = denied(error) {
            return Err(denied);
        }
        Ok(match (error.is_timeout(), error.is_connect()) {
            (true, true) => format!("no connection within {} s", CONNECT_TIMEOUT.as_secs()),
            (true, false) => format!("no complete answer within {:.0} s", self.timeout.as_secs_f64()),
            (false, true) => innermost(error),
            (false, false) => format!("the connection broke off: {}", innermost(error)),
        })
    }
}

/// Host and port, for error texts.
pub(super) fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or(host.to_owned(), |port| format!("{host}:{port}"))
}

/// Returns an `Authorization` header that is not logged.
pub(super) fn sensitive_header(scheme: &str, secret: &str) -> Result<HeaderValue, ProviderError> {
    let mut value = HeaderValue::from_str(&format!("{scheme} {}", secret.trim())).map_err(|_| {
        ProviderError::Misconfigured(
            "The credentials hold characters that cannot be sent; enter them again.".to_owned(),
        )
    })?;
    value.set_sensitive(true);
    Ok(value)
}
