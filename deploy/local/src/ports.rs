//! Chooses the port of a service: its previous port, else its default port, else the next free one. A chosen
//! port stays claimed while this process lives, because a service may take a minute until it listens on it.

use std::collections::HashMap;
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

/// Number of ports that are tried, beginning with the default port.
const PORT_RANGE: u16 = 200;

/// Ports claimed in this process. The locked files claim them against other processes.
static CLAIMS: Mutex<Option<HashMap<u16, PortClaim>>> = Mutex::new(None);

struct PortClaim {
    service: String,
    _file: Option<File>,
}

/// Chooses a free loopback port for a service: `previous` if it is free, else the first free port from
/// `default` on.
pub(crate) fn choose(service: &str, previous: Option<u16>, default: u16) -> Result<u16> {
    let mut claims = CLAIMS.lock().unwrap_or_else(PoisonError::into_inner);
    let claims = claims.get_or_insert_default();
    choose_with(previous, default, |port| is_free(port) && claim(claims, port, service))
}

/// Claims a port. Returns false if another service has claimed it, in this process or in another one.
fn claim(claims: &mut HashMap<u16, PortClaim>, port: u16, service: &str) -> bool {
    if let Some(claim) = claims.get(&port) {
        return claim.service == service;
    }
    let folder = std::env::temp_dir().join("orchestration-local-ports");
    let file = std::fs::create_dir_all(&folder).and_then(|()| File::create(folder.join(port.to_string())));
    // Another user's lock file cannot be opened. The port is then only known to be free.
    let file = file.ok();
    if file.as_ref().is_some_and(|file| file.try_lock().is_err()) {
        return false;
    }
    claims.insert(port, PortClaim { service: service.to_owned(), _file: file });
    true
}

/// Returns whether no process listens on this loopback port.
pub(crate) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn choose_with(previous: Option<u16>, default: u16, mut free: impl FnMut(u16) -> bool) -> Result<u16> {
    previous
        .into_iter()
        .chain(default..default.saturating_add(PORT_RANGE))
        .find(|port| free(*port))
        .with_context(|| {
            format!(
                "no free port from {default} to {}: stop what listens there",
                default.saturating_add(PORT_RANGE)
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn previous_port_is_preferred_then_the_default_then_the_next() {
        assert_eq!(choose_with(Some(7), 100, |_| true).unwrap(), 7);
        assert_eq!(choose_with(Some(7), 100, |port| port != 7).unwrap(), 100);
        assert_eq!(choose_with(None, 100, |port| port > 102).unwrap(), 103);
        assert!(choose_with(None, 100, |_| false).unwrap_err().to_string().contains("no free port from 100"));
    }

    #[test]
    fn services_that_start_concurrently_get_different_ports() {
        let default = 29_500;
        let first = choose("first", None, default).unwrap();
        let second = choose("second", None, default).unwrap();
        assert_ne!(first, second);
        assert_eq!(
            choose("first", Some(first), default).unwrap(),
            first,
            "a service may claim its own port again"
        );
    }

    #[test]
    fn a_port_in_use_is_not_free() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert!(!is_free(taken.local_addr().unwrap().port()));
    }
}
