//! Posts messages to the receivers of notifications, under the network policy of connectors and through their
//! proxy. A receiver's URL is user input, just as a connector's is.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderValue};
use url::Url;

use crate::address::PolicedResolver;
use crate::connector::read_ca_certificate;
use crate::http_client::{self, CONNECT_TIMEOUT, denied, innermost, retry_after};
use crate::{NetworkPolicy, ProviderError, check_receiver_url};

/// The maximum duration of a request, its response included.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum size of a response body that is read, in bytes.
const BODY_LIMIT: usize = 2 * 1024;

/// The HTTP client for all receivers.
#[derive(Clone)]
pub struct Receivers {
    http: reqwest::Client,
    resolver: PolicedResolver,
}

/// The response of a receiver, whatever its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiverResponse {
    pub status: u16,
    pub retry_after: Option<Duration>,
    /// The beginning of the body.
    pub body: String,
}

/// There was no response. The text is shown to the channel's admins: it contains no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiverError {
    #[error("{0}")]
    Denied(ProviderError),
    #[error("The receiver gave no answer: {0}.")]
    Unreachable(String),
}

impl Receivers {
    /// `authorities` are certificates as PEM that are trusted besides those of this machine.
    ///
    /// # Errors
    /// When the proxy or the authorities are invalid, or TLS cannot be set up on this machine.
    pub fn new(network: NetworkPolicy, authorities: Option<&str>) -> Result<Self, ProviderError> {
        let resolver = PolicedResolver::of_system(Arc::new(network));
        let mut builder = http_client::proxied_builder(resolver.clone(), TIMEOUT)?
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(2);
        if let Some(pem) = authorities {
            let authorities = read_ca_certificate(pem).map_err(|reason| {
                let file = "ORCHESTRATION_NOTIFICATIONS_CA_FILE";
                ProviderError::Misconfigured(format!("The CA certificate of {file} {reason}."))
            })?;
            builder = builder.tls_certs_merge(authorities);
        }
        Ok(Self { http: http_client::build(builder)?, resolver })
    }

    /// Posts JSON once. Redirects are not followed.
    ///
    /// # Errors
    /// When there was no complete response, or the address is not allowed.
    pub async fn post(
        &self,
        url: &Url,
        headers: &[(&'static str, String)],
        body: String,
    ) -> Result<ReceiverResponse, ReceiverError> {
        // The resolver is not called for an address in place of a name.
        check_receiver_url(url, &self.resolver.policy).map_err(ReceiverError::Denied)?;
        self.resolver.check_target(url).await.map_err(ReceiverError::Denied)?;
        let json = HeaderValue::from_static("application/json");
        let mut request = self.http.post(url.clone()).header(CONTENT_TYPE, json).body(body);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let response = request.send().await.map_err(|error| unreachable(&error))?;
        let (status, retry_after) = (response.status().as_u16(), retry_after(response.headers()));
        let body = read_start(response).await;
        Ok(ReceiverResponse { status, retry_after, body })
    }
}

/// Reads the beginning of a body. What breaks off is left out: the status is what counts.
async fn read_start(mut response: reqwest::Response) -> String {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk[..chunk.len().min(BODY_LIMIT - body.len())]);
        if body.len() >= BODY_LIMIT {
            break;
        }
    }
    String::from_utf8_lossy(&body).into_owned()
}

/// Describes an error without the URL, which may be secret.
fn unreachable(error: &reqwest::Error) -> ReceiverError {
    match (denied(error), error.is_timeout(), error.is_connect()) {
        (Some(denied), ..) => ReceiverError::Denied(denied),
        (None, true, true) => {
            ReceiverError::Unreachable(format!("no connection within {} s", CONNECT_TIMEOUT.as_secs()))
        }
        (None, true, false) => ReceiverError::Unreachable(format!("none within {} s", TIMEOUT.as_secs())),
        (None, false, _) => ReceiverError::Unreachable(innermost(error)),
    }
}
