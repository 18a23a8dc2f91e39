//! Which port a service listens on: the one it had, else its usual one, else the next that is free. A chosen port is
//! claimed while this process lives, because a service may take a minute until it listens there.

use std::collections::HashMap;
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

/// How many ports after the usual one are tried.
const REACH: u16 = 200;

/// Who has claimed which port in this process; the locked file tells other processes.
static CLAIMS: Mutex<Option<HashMap<u16, PortClaim>>> = Mutex::new(None);

struct PortClaim {
    service: String,
    _file: Option<File>,
}

/// A free loopback port for a service: `remembered` if it is free, else the first free one from `usual` on.
pub(crate) fn choose(service: &str, remembered: Option<u16>, usual: u16) -> Result<u16> {
    let mut claims = CLAIMS.lock().unwrap_or_else(PoisonError::into_inner);
    let claims = claims.get_or_insert_default();
    choose_with(remembered, usual, |port| is_free(port) && claim(claims, port, service))
}

/// Claims a port, unless another service of this process or of another one has.
fn claim(claims: &mut HashMap<u16, PortClaim>, port: u16, service: &str) -> bool {
    if let Some(claim) = claims.get(&port) {
        return claim.service == service;
    }
    let folder = std::env::temp_dir().join("orchestration-local-ports");
    let file = std::fs::create_dir_all(&folder).and_then(|()| File::create(folder.join(port.to_string())));
    // Where another user's file cannot be opened, that nobody listens has to be enough.
    let file = file.ok();
    if file.as_ref().is_some_and(|file| file.try_lock().is_err()) {
        return false;
    }
    claims.insert(port, PortClaim { service: service.to_owned(), _file: file });
    true
}

/// Whether nobody listens there on loopback.
pub(crate) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn choose_with(remembered: Option<u16>, usual: u16, mut free: impl FnMut(u16) -> bool) -> Result<u16> {
    remembered.into_iter().chain(usual..usual.saturating_add(REACH)).find(|port| free(*port)).with_context(
        || format!("no free port from {usual} to {}: stop what listens there", usual.saturating_add(REACH)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remembered_port_comes_first_then_the_usual_then_the_next() {
        assert_eq!(choose_with(Some(7), 100, |_| true).unwrap(), 7);
        assert_eq!(choose_with(Some(7), 100, |port| port != 7).unwrap(), 100);
        assert_eq!(choose_with(None, 100, |port| port > 102).unwrap(), 103);
        assert!(choose_with(None, 100, |_| false).unwrap_err().to_string().contains("no free port from 100"));
    }

    #[test]
    fn two_services_that_start_at_once_never_get_one_port() {
        let usual = 29_500;
        let first = choose("first", None, usual).unwrap();
        let second = choose("second", None, usual).unwrap();
        assert_ne!(first, second);
        assert_eq!(choose("first", Some(first), usual).unwrap(), first, "it may have its own again");
    }

    #[test]
    fn a_port_somebody_listens_on_is_not_free() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert!(!is_free(taken.local_addr().unwrap().port()));
    }
}
