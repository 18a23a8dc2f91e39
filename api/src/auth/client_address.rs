//! The address of a client: that of its connection or, behind a trusted proxy, the one that the proxy names.

use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use ipnet::IpNet;
use provider::parse_network;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// The networks of the proxies whose `X-Forwarded-For` is believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Parses networks or addresses with commas between them; none of an empty text.
    ///
    /// # Errors
    /// When one is neither an address nor a network.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let networks = parts.map(parse_network).collect::<Option<_>>();
        networks.map(Self).ok_or("a proxy is an address, or a network such as 10.20.0.0/16")
    }

    /// Returns the address of the client that sent a request; none without a connection.
    pub(super) fn client(&self, parts: &Parts) -> Option<IpAddr> {
        let ConnectInfo(peer) = parts.extensions.get::<ConnectInfo<SocketAddr>>()?;
        Some(self.client_behind(peer.ip(), &parts.headers))
    }

    /// Returns the last address of the header that is not that of a trusted proxy. A proxy appends the
    /// address of its peer, so that everything before that one can be invented by the client.
    fn client_behind(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let values = headers.get_all(FORWARDED_FOR).iter().collect::<Vec<_>>();
        let values = values.iter().rev().map(|value| value.to_str().unwrap_or_default());
        let mut client = peer.to_canonical();
        for address in values.flat_map(|value| value.rsplit(',')) {
            let is_proxy = self.0.iter().any(|network| network.contains(&client));
            match parse_address(address.trim()) {
                Some(address) if is_proxy => client = address,
                _ => break,
            }
        }
        client
    }
}

/// Parses an address, which some proxies write with a port.
fn parse_address(text: &str) -> Option<IpAddr> {
    let address = text.parse().or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(proxies: &str, peer: &str, forwarded: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, value.parse().unwrap());
        }
        let proxies = TrustedProxies::parse(proxies).unwrap();
        proxies.client_behind(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn the_client_is_the_last_address_that_is_not_a_proxy() {
        let proxies = "10.0.0.0/8, 192.0.2.7,2001:db8::/32";
        let cases: [(&str, &[&str], &str); 8] = [
            ("10.1.1.1", &[], "10.1.1.1"),
            ("10.1.1.1", &["203.0.113.9"], "203.0.113.9"),
            ("::ffff:10.1.1.1", &["203.0.113.9:4711"], "203.0.113.9"),
            ("10.1.1.1", &["198.51.100.1, 203.0.113.9, 192.0.2.7"], "203.0.113.9"),
            ("10.1.1.1", &["198.51.100.1", "203.0.113.9", "10.2.2.2"], "203.0.113.9"),
            ("10.1.1.1", &["203.0.113.9, 10.3.3.3"], "203.0.113.9"),
            ("2001:db8::1", &["2001:db9::5"], "2001:db9::5"),
            ("10.1.1.1", &["10.2.2.2"], "10.2.2.2"),
        ];
        for (peer, forwarded, expected) in cases {
            assert_eq!(client(proxies, peer, forwarded), expected, "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn a_header_is_not_believed_of_others_and_no_further_than_it_can_be_read() {
        assert_eq!(client("", "203.0.113.1", &["198.51.100.1"]), "203.0.113.1");
        assert_eq!(client("10.0.0.0/8", "203.0.113.1", &["198.51.100.1"]), "203.0.113.1");
        assert_eq!(client("10.0.0.0/8", "10.1.1.1", &["198.51.100.1, unknown"]), "10.1.1.1");
        assert_eq!(client("10.0.0.0/8", "10.1.1.1", &["198.51.100.1, unknown, 10.2.2.2"]), "10.2.2.2");
        for bad in ["example.org", "10.0.0.0/33", "10.0.0.1 10.0.0.2"] {
            assert!(TrustedProxies::parse(bad).is_err(), "{bad}");
        }
    }
}
