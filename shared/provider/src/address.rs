//! Protection against server-side request forgery: a connector's URL is user input, so it must not reach the
//! internal network or metadata services.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::{NetworkPolicy, ProviderError};

const ALLOW_PRIVATE: &str = "add its network or the name of its host to ORCHESTRATION_ALLOWED_NETWORKS, or \
    set ORCHESTRATION_ALLOW_PRIVATE_NETWORKS=true, if connectors may reach it";
const ALLOW_LOOPBACK: &str =
    "set ORCHESTRATION_ALLOW_LOOPBACK=true if connectors may reach the machine of this service";
const NEVER: &str = "link-local, metadata, multicast, broadcast and unspecified addresses are never asked; \
    enter another URL";

/// Metadata services outside the link-local range: AWS and Google Cloud over IPv6, Alibaba Cloud and Azure.
const METADATA: [IpAddr; 4] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
];

/// Checks a base URL before it is stored: `http` or `https`, a host, nothing but a path after it, and no
/// address that the policy denies. A host name is not resolved here: the resolver checks its addresses at
/// every connection.
///
/// # Errors
/// `Misconfigured` or `Denied`, with a text for the user who entered the URL.
pub fn check_base_url(url: &Url, policy: &NetworkPolicy) -> Result<(), ProviderError> {
    check_origin(url, "base URL", policy)?;
    if url.query().is_some() || url.fragment().is_some() {
        return invalid("base URL", "must end before any ? or #");
    }
    Ok(())
}

/// Checks the token URL of an identity provider before it is stored: as [`check_base_url`], but a query may
/// follow the path.
///
/// # Errors
/// `Misconfigured` or `Denied`, with a text for the user who entered the URL.
pub fn check_token_url(url: &Url, policy: &NetworkPolicy) -> Result<(), ProviderError> {
    check_origin(url, "token URL", policy)?;
    if url.fragment().is_some() {
        return invalid("token URL", "must end before any #");
    }
    Ok(())
}

/// Checks the URL of a receiver of notifications before it is stored: as [`check_base_url`], but a query may
/// follow the path.
///
/// # Errors
/// `Misconfigured` or `Denied`, with a text for the user who entered the URL.
pub fn check_receiver_url(url: &Url, policy: &NetworkPolicy) -> Result<(), ProviderError> {
    check_origin(url, "URL", policy)
}

fn check_origin(url: &Url, name: &str, policy: &NetworkPolicy) -> Result<(), ProviderError> {
    if !matches!(url.scheme(), "http" | "https") {
        return invalid(name, "must begin with http:// or https://");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return invalid(name, "must not hold a user or password; enter them as credentials");
    }
    match url.host() {
        Some(Host::Ipv4(address)) => check_address(address.into(), None, policy),
        Some(Host::Ipv6(address)) => check_address(address.into(), None, policy),
        Some(Host::Domain(_)) => Ok(()),
        None => invalid(name, "must name a host"),
    }
}

fn invalid(name: &str, what: &str) -> Result<(), ProviderError> {
    Err(ProviderError::Misconfigured(format!("The {name} {what}.")))
}

/// Checks that the policy allows connections to this address, to which the name of a host may have led.
pub(super) fn check_address(
    address: IpAddr,
    host: Option<&str>,
    policy: &NetworkPolicy,
) -> Result<(), ProviderError> {
    let denied =
        |advice: &str| Err(ProviderError::Denied { address: address.to_string(), advice: advice.to_owned() });
    match reach(address) {
        Reach::Never => denied(NEVER),
        Reach::Loopback if !policy.allows_loopback() => denied(ALLOW_LOOPBACK),
        Reach::Private if !policy.allows_private(address, embedded(address), host) => denied(ALLOW_PRIVATE),
        Reach::Loopback | Reach::Private | Reach::Public => Ok(()),
    }
}

/// The class of an address, strictest first: for an embedded address the stricter class applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    Never,
    Loopback,
    Private,
    Public,
}

fn reach(address: IpAddr) -> Reach {
    if METADATA.contains(&address) {
        return Reach::Never;
    }
    match address {
        IpAddr::V4(address) => reach_v4(address),
        IpAddr::V6(address) => match embedded_v4(address) {
            Some(inner) => reach(inner.into()).min(reach_v6(address)),
            None => reach_v6(address),
        },
    }
}

fn reach_v4(address: Ipv4Addr) -> Reach {
    match address.octets() {
        [0 | 224.., ..] | [169, 254, ..] | [192, 0, 0, _] => Reach::Never,
        [127, ..] => Reach::Loopback,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] | [198, 18..=19, ..] => {
            Reach::Private
        }
        _ => Reach::Public,
    }
}

fn reach_v6(address: Ipv6Addr) -> Reach {
    let first = address.segments()[0];
    if address.is_unspecified() || address.is_multicast() || first & 0xffc0 == 0xfe80 {
        Reach::Never
    } else if address.is_loopback() {
        Reach::Loopback
    } else if first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfec0 {
        Reach::Private
    } else {
        Reach::Public
    }
}

fn embedded(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => embedded_v4(address).map(IpAddr::V4),
    }
}

/// The IPv4 address embedded in an IPv6 address: mapped, compatible, NAT64, 6to4 or Teredo.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let join = |high: u16, low: u16| Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => join(high, low),
        [0x64, 0xff9b, _, _, _, _, high, low] => join(high, low),
        [0x2002, high, low, ..] => join(high, low),
        [0x2001, 0, _, _, _, _, high, low] => join(!high, !low),
        _ => None,
    }
}

/// A resolver that returns only the addresses that the policy allows. The HTTP client calls it for every
/// connection, which also prevents DNS rebinding.
#[derive(Clone)]
pub(super) struct PolicedResolver {
    pub policy: Arc<NetworkPolicy>,
    pub inner: Arc<dyn Resolve>,
    /// The host of the proxy, to which the policy does not apply.
    pub proxy: Option<String>,
}

impl PolicedResolver {
    /// A resolver under a policy, for connections without a proxy.
    pub(super) fn new(policy: Arc<NetworkPolicy>, inner: Arc<dyn Resolve>) -> Self {
        Self { policy, inner, proxy: None }
    }

    /// The system's resolver under a policy.
    pub(super) fn of_system(policy: Arc<NetworkPolicy>) -> Self {
        Self::new(policy, Arc::new(SystemResolver))
    }

    /// Checks the addresses of a URL's host before a request goes to a proxy, which resolves the name itself.
    /// A name that this machine cannot resolve must be in the list of allowed networks.
    pub(crate) async fn check_target(&self, url: &Url) -> Result<(), ProviderError> {
        match self.check_resolvable_target(url).await? {
            Some(name) if !self.policy.allows_host(name) => Err(ProviderError::Denied {
                address: name.to_owned(),
                advice:
                    "it cannot be resolved here, so add it to ORCHESTRATION_ALLOWED_NETWORKS if the proxy \
                         may"
                    .to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// The same, except that the host may have a name that this machine cannot resolve, which is returned.
    pub(crate) async fn check_resolvable_target<'a>(
        &self,
        url: &'a Url,
    ) -> Result<Option<&'a str>, ProviderError> {
        let Some(Host::Domain(name)) = url.host().filter(|_| self.policy.proxy.is_some()) else {
            return Ok(None);
        };
        let Ok(parsed) = name.parse::<Name>() else { return Ok(None) };
        let Err(error) = Self { proxy: None, ..self.clone() }.resolve(parsed).await else { return Ok(None) };
        error.downcast::<ProviderError>().map_or(Ok(Some(name)), |denied| Err(*denied))
    }
}

impl Resolve for PolicedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        if self.proxy.as_deref().is_some_and(|proxy| proxy.eq_ignore_ascii_case(name.as_str())) {
            return self.inner.resolve(name);
        }
        let (policy, host) = (self.policy.clone(), name.as_str().to_owned());
        let lookup = self.inner.resolve(name);
        Box::pin(async move {
            let (allowed, denied): (Vec<_>, Vec<_>) = lookup
                .await?
                .map(|address| {
                    check_address(address.ip().to_canonical(), Some(&host), &policy).map(|()| address)
                })
                .partition(Result::is_ok);
            match denied.into_iter().find_map(Result::err) {
                Some(denied) if allowed.is_empty() => Err(Box::new(denied) as Box<dyn Error + Send + Sync>),
                _ => Ok(Box::new(allowed.into_iter().filter_map(Result::ok)) as Addrs),
            }
        })
    }
}

/// The system's resolver.
struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AllowedNetwork, AllowedNetworks};

    fn open() -> NetworkPolicy {
        NetworkPolicy { allow_private_networks: true, ..NetworkPolicy::default() }
    }

    fn closed() -> NetworkPolicy {
        NetworkPolicy::default()
    }

    fn allowed(address: &str, policy: &NetworkPolicy) -> bool {
        check_address(address.parse().unwrap(), None, policy).is_ok()
    }

    #[test]
    fn allowed_networks_open_private_addresses_alone() {
        let networks = "10.20.0.0/16,fd00:1::/32,0.0.0.0/0,*.corp.example,airflow.other.example";
        let networks: Vec<AllowedNetwork> = networks.split(',').map(|one| one.parse().unwrap()).collect();
        let allowing = |networks: &[AllowedNetwork]| NetworkPolicy {
            allowed_networks: AllowedNetworks(networks.to_vec()),
            ..closed()
        };
        let narrow = allowing(&networks[..2]);
        for address in ["10.20.3.4", "fd00:1::7", "::ffff:10.20.3.4", "64:ff9b::10.20.0.1"] {
            assert!(allowed(address, &narrow), "{address}");
        }
        for address in ["10.21.0.1", "fd00:2::7", "::ffff:10.21.0.1", "127.0.0.1", "::1"] {
            assert!(!allowed(address, &narrow), "{address}");
        }
        let wide = allowing(&networks);
        for address in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254", "100.100.100.200"] {
            assert!(!allowed(address, &wide), "{address}");
        }
        let names = allowing(&networks[3..]);
        let by_name = |address: &str, host| check_address(address.parse().unwrap(), Some(host), &names);
        for host in ["a.corp.example", "A.B.Corp.example.", "airflow.other.example"] {
            assert_eq!(by_name("10.1.2.3", host), Ok(()), "{host}");
            assert!(by_name("127.0.0.1", host).is_err() && by_name("169.254.1.1", host).is_err(), "{host}");
        }
        for host in ["corp.example", "acorp.example", "other.example", "a.corp.example.net"] {
            assert!(by_name("10.1.2.3", host).is_err(), "{host}");
        }
    }

    #[test]
    fn loopback_has_a_setting_of_its_own() {
        let policy = NetworkPolicy { allow_loopback: true, ..closed() };
        for address in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
            assert!(allowed(address, &policy), "{address}");
        }
        assert!(!allowed("10.1.2.3", &policy) && !allowed("169.254.169.254", &policy));
    }

    #[test]
    fn link_local_and_metadata_addresses_are_always_denied() {
        for address in [
            "169.254.169.254",
            "0.0.0.0",
            "0.1.2.3",
            "255.255.255.255",
            "224.0.0.1",
            "240.0.0.1",
            "192.0.0.192",
            "100.100.100.200",
            "168.63.129.16",
            "::",
            "fe80::1",
            "febf::1",
            "ff02::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "::ffff:0:169.254.169.254",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::169.254.169.254",
            "2002:a9fe:a9fe::1",
            "2001:0:1:2:3:4:5601:5601",
        ] {
            assert!(!allowed(address, &open()), "{address}");
            assert!(!allowed(address, &closed()), "{address}");
        }
    }

    #[test]
    fn private_addresses_are_allowed_by_the_open_policy_only() {
        for address in [
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "127.0.0.1",
            "127.8.8.8",
            "100.64.0.1",
            "100.127.255.255",
            "198.18.0.1",
            "::1",
            "fc00::1",
            "fdff::1",
            "fec0::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::10.0.0.1",
            "2002:0a00:0001::1",
        ] {
            assert!(allowed(address, &open()), "{address}");
            assert!(!allowed(address, &closed()), "{address}");
        }
    }

    #[test]
    fn public_addresses_are_allowed() {
        for address in
            ["8.8.8.8", "172.32.0.1", "100.128.0.1", "192.0.1.1", "2606:4700::1111", "::ffff:8.8.8.8"]
        {
            assert!(allowed(address, &closed()), "{address}");
        }
    }

    #[test]
    fn base_urls_are_checked() {
        let check =
            |url: &str| check_base_url(&url.parse().unwrap(), &closed()).map_err(|error| error.to_string());
        assert_eq!(check("https://airflow.example/base/"), Ok(()));
        for url in [
            "ftp://airflow.example",
            "file:///etc/passwd",
            "https://me:secret@airflow.example",
            "https://airflow.example/?q=1",
            "https://airflow.example/#top",
            "http://127.1/",
            "http://0x7f000001/",
            "http://2130706433/",
            "http://[::1]:8080/",
            "http://[::ffff:127.0.0.1]/",
        ] {
            let error = check(url).expect_err(url);
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
