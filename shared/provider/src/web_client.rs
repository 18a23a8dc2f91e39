//! A small HTTP client for servers that are no providers of pipelines, such as the OpenID Connect provider at
//! which people sign in. It applies the network policy, uses its proxy, follows no redirect, and bounds time
//! and size. The operator has chosen these servers. What a status or a body means is left to the caller.

use std::sync::Arc;
use std::time::Duration;

use reqwest::RequestBuilder;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::address::PolicedResolver;
use crate::http_client::{self, denied, innermost, read_body};
use crate::{NetworkPolicy, ProviderError, check_base_url};

/// Maximum size of a response body, in bytes.
const BODY_LIMIT: usize = 1024 * 1024;

/// A client without credentials of its own.
pub struct WebClient {
    http: reqwest::Client,
    resolver: PolicedResolver,
}

/// A complete response, of any status.
#[derive(Debug)]
pub struct WebResponse {
    pub status: u16,
    pub body: Vec<u8>,
}

impl WebClient {
    /// Sends no request. No request takes longer than `timeout`.
    ///
    /// # Errors
    /// When the proxy is invalid, or TLS cannot be set up on this machine.
    pub fn new(network: NetworkPolicy, timeout: Duration) -> Result<Self, ProviderError> {
        let resolver = PolicedResolver::of_system(Arc::new(network));
        let http = http_client::build(http_client::proxied_builder(resolver.clone(), timeout)?)?;
        Ok(Self { http, resolver })
    }

    /// Sends a GET request, with this bearer token if there is one.
    pub async fn get(&self, url: &Url, token: Option<&SecretString>) -> Result<WebResponse, ProviderError> {
        let request = self.http.get(url.clone());
        let request = match token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        };
        self.send(url, request).await
    }

    /// Sends a form, with this user name and password if there are any.
    pub async fn post_form(
        &self,
        url: &Url,
        basic: Option<(&str, &str)>,
        fields: &[(&str, &str)],
    ) -> Result<WebResponse, ProviderError> {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = self.http.post(url.clone()).body(form);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let request = match basic {
            Some((user, password)) => request.basic_auth(user, Some(password)),
            None => request,
        };
        self.send(url, request).await
    }

    async fn send(&self, url: &Url, request: RequestBuilder) -> Result<WebResponse, ProviderError> {
        // The HTTP client resolves names only, and none that the proxy resolves.
        check_base_url(&without_query(url), &self.resolver.policy)?;
        self.resolver.check_resolvable_target(url).await?;
        let response = request.header("accept", "application/json").send().await;
        let response = response.map_err(|error| unreachable(url, &error))?;
        let status = response.status().as_u16();
        let (body, is_whole) =
            read_body(response, BODY_LIMIT).await.map_err(|error| unreachable(url, &error))?;
        if !is_whole {
            return Err(ProviderError::Oversized { mib: BODY_LIMIT / 1024 / 1024 });
        }
        Ok(WebResponse { status, body })
    }
}

fn without_query(url: &Url) -> Url {
    let mut url = url.clone();
    url.set_query(None);
    url
}

fn unreachable(url: &Url, error: &reqwest::Error) -> ProviderError {
    if let Some(denied) = denied(error) {
        return denied;
    }
    let reason = innermost(error);
    let sent = !(error.is_connect() || error.is_builder());
    ProviderError::unreachable(url.host_str().unwrap_or_default().to_owned(), &reason, sent)
}

#[cfg(test)]
mod tests {
    use wiremock::matchers::{body_string, header, method};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    fn open() -> NetworkPolicy {
        NetworkPolicy { allow_private_networks: true, ..NetworkPolicy::default() }
    }

    fn client(network: NetworkPolicy) -> WebClient {
        WebClient::new(network, Duration::from_secs(5)).unwrap()
    }

    async fn server(response: ResponseTemplate) -> (MockServer, Url) {
        let server = MockServer::start().await;
        Mock::given(method("GET")).respond_with(response).mount(&server).await;
        let url = server.uri().parse().unwrap();
        (server, url)
    }

    #[tokio::test]
    async fn forms_are_encoded_and_authenticated() {
        let server = MockServer::start().await;
        Mock::given(method("POST"))
            .and(header("authorization", "Basic YTpi"))
            .and(body_string("grant_type=x&code=a%2Bb+c"))
            .respond_with(ResponseTemplate::new(418).set_body_string("tea"))
            .mount(&server)
            .await;
        let fields = [("grant_type", "x"), ("code", "a+b c")];
        let url = server.uri().parse().unwrap();
        let response = client(open()).post_form(&url, Some(("a", "b")), &fields).await.unwrap();
        assert_eq!((response.status, response.body.as_slice()), (418, &b"tea"[..]));
    }

    #[tokio::test]
    async fn redirects_are_not_followed_and_huge_bodies_are_abandoned() {
        let moved = ResponseTemplate::new(302).insert_header("location", "http://169.254.169.254/");
        let (_server, url) = server(moved).await;
        assert_eq!(client(open()).get(&url, None).await.unwrap().status, 302);
        let huge = ResponseTemplate::new(200).set_body_bytes(vec![b' '; BODY_LIMIT + 1]);
        let (_server, url) = server(huge).await;
        let error = client(open()).get(&url, None).await.unwrap_err();
        assert_eq!(error, ProviderError::Oversized { mib: 1 });
    }

    #[tokio::test]
    async fn the_network_policy_applies_and_a_closed_port_is_an_error() {
        let (server, url) = server(ResponseTemplate::new(200)).await;
        let closed = NetworkPolicy::default();
        let denied = client(closed).get(&url, None).await.unwrap_err();
        assert!(matches!(denied, ProviderError::Denied { .. }), "{denied}");
        drop(server);
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let url = format!("http://{free}/").parse().unwrap();
        let error = client(open()).get(&url, None).await.unwrap_err();
        assert!(matches!(error, ProviderError::Unreachable { sent: false, .. }), "{error}");
    }

    /// The proxy resolves names by itself; those that this machine resolves are checked all the same.
    #[tokio::test]
    async fn requests_go_through_the_proxy() {
        let (proxy, url) = server(ResponseTemplate::new(203)).await;
        let network = NetworkPolicy { proxy: Some(url.to_string().into()), ..NetworkPolicy::default() };
        let through = client(network);
        let get = async |url: &str| through.get(&url.parse().unwrap(), None).await;
        assert_eq!(get("http://login.invalid/keys").await.unwrap().status, 203);
        for denied in ["http://169.254.169.254/", "http://localhost/", "http://10.1.2.3/"] {
            let error = get(denied).await.unwrap_err();
            assert!(matches!(error, ProviderError::Denied { .. }), "{error}");
        }
        assert_eq!(proxy.received_requests().await.unwrap().len(), 1);
    }
}
