//! The network settings of an installation: which private addresses connectors may reach, and through which
//! proxy. `address` applies them.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use reqwest::{NoProxy, Proxy};
use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use crate::ProviderError;

/// The addresses that connectors may reach, and the way there.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct NetworkPolicy {
    /// Permit connectors to all loopback and private addresses (link-local and metadata addresses are always
    /// rejected)
    #[arg(
        long,
        env = "ORCHESTRATION_ALLOW_PRIVATE_NETWORKS",
        default_value_t = false,
        num_args = 0..=1,
        default_missing_value = "true",
        require_equals = true,
        action = clap::ArgAction::Set
    )]
    pub allow_private_networks: bool,

    /// Private networks and hosts that connectors may reach, with commas between them: an address, a network
    /// such as 10.20.0.0/16, a host name, or *.example.org for the hosts of a domain
    #[arg(
        long,
        env = "ORCHESTRATION_ALLOWED_NETWORKS",
        default_value = "",
        hide_default_value = true,
        value_parser = parse_networks
    )]
    pub allowed_networks: AllowedNetworks,

    /// Permit connectors to loopback addresses, for an Airflow on the same machine
    #[arg(
        long,
        env = "ORCHESTRATION_ALLOW_LOOPBACK",
        default_value_t = false,
        num_args = 0..=1,
        default_missing_value = "true",
        require_equals = true,
        action = clap::ArgAction::Set
    )]
    pub allow_loopback: bool,

    /// URL of the HTTP proxy through which connectors, the receivers of notifications and the OpenID Connect
    /// provider are reached, http://user:password@host:port. Their addresses are checked before each request
    /// all the same
    #[arg(long, env = "ORCHESTRATION_PROXY", hide_env_values = true)]
    pub proxy: Option<SecretString>,

    /// Hosts, domains and networks that are reached without the proxy, with commas between them
    #[arg(long, env = "ORCHESTRATION_NO_PROXY")]
    pub no_proxy: Option<String>,
}

impl NetworkPolicy {
    /// Checks what cannot be checked without showing it.
    ///
    /// # Errors
    /// When the proxy is not the URL of one.
    pub fn check(&self) -> Result<(), ProviderError> {
        self.proxy_settings().map(drop)
    }

    /// Whether connectors may reach this private address, which a host name may have led to. For an IPv6
    /// address that embeds one of IPv4, `embedded` is that.
    pub(crate) fn allows_private(
        &self,
        address: IpAddr,
        embedded: Option<IpAddr>,
        host: Option<&str>,
    ) -> bool {
        let is_allowed = |network: &AllowedNetwork| match network {
            AllowedNetwork::Network(network) => {
                network.contains(&address) || embedded.is_some_and(|inner| network.contains(&inner))
            }
            AllowedNetwork::Host(name) => host.is_some_and(|host| same_name(host, name)),
            AllowedNetwork::Domain(suffix) => host.is_some_and(|host| is_in_domain(host, suffix)),
        };
        self.allow_private_networks || self.allowed_networks.0.iter().any(is_allowed)
    }

    pub(crate) fn allows_loopback(&self) -> bool {
        self.allow_private_networks || self.allow_loopback
    }

    /// Whether the name of a host itself is allowed, so that its addresses need no look-up here.
    pub(crate) fn allows_host(&self, host: &str) -> bool {
        self.allowed_networks.0.iter().any(|network| match network {
            AllowedNetwork::Network(_) => false,
            AllowedNetwork::Host(name) => same_name(host, name),
            AllowedNetwork::Domain(suffix) => is_in_domain(host, suffix),
        })
    }

    /// Returns the proxy and its host, if there is one.
    pub(crate) fn proxy_settings(&self) -> Result<Option<(Proxy, String)>, ProviderError> {
        let Some(text) = &self.proxy else { return Ok(None) };
        let invalid = || {
            let message =
                "ORCHESTRATION_PROXY must be the URL of a proxy, such as http://proxy.example:3128.";
            ProviderError::Misconfigured(message.to_owned())
        };
        let url = Url::parse(text.expose_secret()).map_err(|_| invalid())?;
        let host = url.host_str().filter(|_| matches!(url.scheme(), "http" | "https")).ok_or_else(invalid)?;
        let host = host.to_owned();
        let proxy = Proxy::all(url).map_err(|_| invalid())?;
        let direct = self.no_proxy.as_deref().and_then(NoProxy::from_string);
        Ok(Some((proxy.no_proxy(direct), host)))
    }
}

/// What connectors may reach although it is private.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedNetworks(pub Vec<AllowedNetwork>);

fn parse_networks(text: &str) -> Result<AllowedNetworks, String> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.map(str::parse).collect::<Result<_, _>>().map(AllowedNetworks)
}

/// A network, a host or the hosts of a domain that connectors may reach although they are private.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedNetwork {
    Network(IpNet),
    Host(String),
    /// The suffix of the names, with its leading dot.
    Domain(String),
}

impl FromStr for AllowedNetwork {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Some(network) = parse_network(text) {
            let is_loopback = network.network().is_loopback() || network.broadcast().is_loopback();
            let message = "loopback is permitted by ORCHESTRATION_ALLOW_LOOPBACK";
            return if is_loopback { Err(message.to_owned()) } else { Ok(Self::Network(network.trunc())) };
        }
        let (name, is_domain) = match text.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (text, false),
        };
        match Host::parse(name) {
            Ok(Host::Domain(_)) if name.contains('*') => Err("* may only begin a host name".to_owned()),
            Ok(Host::Domain(name)) if is_domain => Ok(Self::Domain(format!(".{}", without_dot(&name)))),
            Ok(Host::Domain(name)) => Ok(Self::Host(without_dot(&name).to_owned())),
            _ => Err("must be an address, a network such as 10.20.0.0/16, or a host name".to_owned()),
        }
    }
}

/// Parses a network, or an address as the network of it alone.
pub fn parse_network(text: &str) -> Option<IpNet> {
    text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok()
}

fn without_dot(name: &str) -> &str {
    name.trim_end_matches('.')
}

/// The allowed name is in lower case, as `Host::parse` returns it.
fn same_name(host: &str, allowed: &str) -> bool {
    without_dot(host).eq_ignore_ascii_case(allowed)
}

fn is_in_domain(host: &str, suffix: &str) -> bool {
    without_dot(host).to_ascii_lowercase().ends_with(suffix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_and_names_are_parsed() {
        for (text, parsed) in [
            ("10.20.3.4/16", AllowedNetwork::Network("10.20.0.0/16".parse().unwrap())),
            (" fd00:1::/32", AllowedNetwork::Network("fd00:1::/32".parse().unwrap())),
            ("192.168.7.7", AllowedNetwork::Network("192.168.7.7/32".parse().unwrap())),
            ("Airflow.Corp.example.", AllowedNetwork::Host("airflow.corp.example".to_owned())),
            ("*.corp.example", AllowedNetwork::Domain(".corp.example".to_owned())),
        ] {
            assert_eq!(text.parse(), Ok(parsed), "{text}");
        }
        for bad in ["", "10.0.0.0/40", "http://airflow", "*", "a b", "127.0.0.0/8", "127.0.0.1", "::1"] {
            assert!(bad.parse::<AllowedNetwork>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_proxy_that_is_none_is_not_shown() {
        for bad in ["canary", "ftp://canary", "http://"] {
            let policy = NetworkPolicy { proxy: Some(bad.into()), ..NetworkPolicy::default() };
            let error = policy.check().unwrap_err();
            assert!(!format!("{error} {error:?} {policy:?}").contains("canary"), "{error}");
        }
        let proxy = Some("http://user:canary@proxy.example:3128".into());
        assert_eq!(NetworkPolicy { proxy, ..NetworkPolicy::default() }.check(), Ok(()));
    }
}
