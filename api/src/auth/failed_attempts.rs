//! Bounds what wrong keys cost. A key that was invalid a moment ago is not looked up again, and an address
//! with many invalid keys has to wait. Keys that were valid are not affected by other clients of their
//! address, which may be that of a network with many clients.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::store::access::Credential;

/// The maximum number of invalid keys of an address in a period.
const MAX_OF_ADDRESS: u32 = 60;
const PERIOD: Duration = Duration::from_secs(60);
/// How long an invalid key is not looked up again.
const INVALID_TTL: Duration = Duration::from_secs(3);
/// How long a key that was valid is looked up whatever its address does.
const VALID_TTL: Duration = Duration::from_secs(3600);
/// Each map is cleared when it reaches this size, so that its memory is bounded.
const MAX_ENTRIES: usize = 10_000;

/// What is known of a key or session before it is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precheck {
    LookUp,
    Invalid,
    /// The address has to wait for this long.
    Wait(Duration),
}

#[derive(Debug, Default)]
pub struct FailedAttempts(Mutex<Attempts>);

#[derive(Debug, Default)]
struct Attempts {
    /// For each address, the start of its period and the number of invalid keys in it.
    by_address: HashMap<IpAddr, (Instant, u32)>,
    invalid: HashMap<Credential, Instant>,
    valid: HashMap<Credential, Instant>,
}

impl FailedAttempts {
    /// Returns whether the key or session may be looked up.
    pub fn check(&self, address: Option<IpAddr>, credential: Credential) -> Precheck {
        let mut attempts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_within = |at: Option<&Instant>, ttl| at.is_some_and(|at| at.elapsed() < ttl);
        if is_within(attempts.invalid.get(&credential), INVALID_TTL) {
            attempts.count(address);
            return Precheck::Invalid;
        }
        if is_within(attempts.valid.get(&credential), VALID_TTL) {
            return Precheck::LookUp;
        }
        match address.and_then(|address| attempts.by_address.get(&network(address))) {
            Some((start, count)) if *count >= MAX_OF_ADDRESS && start.elapsed() < PERIOD => {
                Precheck::Wait(PERIOD.saturating_sub(start.elapsed()))
            }
            _ => Precheck::LookUp,
        }
    }

    /// Records the result of a look-up.
    pub fn record(&self, address: Option<IpAddr>, credential: Credential, is_valid: bool) {
        let mut attempts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if is_valid {
            insert(&mut attempts.valid, credential, Instant::now());
            return;
        }
        insert(&mut attempts.invalid, credential, Instant::now());
        attempts.count(address);
    }

    /// Forgets which keys and sessions were invalid, because some may be valid now. Addresses with many of
    /// them still have to wait.
    pub fn forget_invalid(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).invalid.clear();
    }
}

impl Attempts {
    fn count(&mut self, address: Option<IpAddr>) {
        let Some(address) = address.map(network) else { return };
        let known = self.by_address.get(&address).copied();
        let (start, count) =
            known.filter(|(start, _)| start.elapsed() < PERIOD).unwrap_or((Instant::now(), 0));
        insert(&mut self.by_address, address, (start, count.saturating_add(1)));
    }
}

fn insert<K: Eq + Hash, V>(map: &mut HashMap<K, V>, key: K, value: V) {
    if map.len() >= MAX_ENTRIES && !map.contains_key(&key) {
        map.clear();
    }
    map.insert(key, value);
}

/// Returns the network that a client of IPv6 usually has, or the address of IPv4.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> Credential {
        Credential::Key([n; 32])
    }

    #[test]
    fn an_address_with_many_invalid_keys_waits_and_its_valid_keys_do_not() {
        let attempts = FailedAttempts::default();
        let address = |text: &str| Some(text.parse().unwrap());
        let (bad, other) = (address("2001:db8::1"), address("2001:db8:0:1::1"));
        attempts.record(bad, key(200), true);
        for n in 0..60 {
            assert_eq!(attempts.check(bad, key(n)), Precheck::LookUp);
            attempts.record(bad, key(n), false);
        }
        assert_eq!(attempts.check(bad, key(5)), Precheck::Invalid);
        assert!(matches!(attempts.check(address("2001:db8::2"), key(100)), Precheck::Wait(_)));
        assert_eq!(attempts.check(bad, key(200)), Precheck::LookUp);
        assert_eq!(attempts.check(other, key(100)), Precheck::LookUp);
        assert_eq!(attempts.check(None, key(100)), Precheck::LookUp);
        attempts.forget_invalid();
        assert_eq!(attempts.check(None, key(5)), Precheck::LookUp);
        assert!(matches!(attempts.check(bad, key(5)), Precheck::Wait(_)));
    }

    #[test]
    fn memory_is_bounded() {
        let mut map = HashMap::new();
        (0..3 * MAX_ENTRIES).for_each(|n| insert(&mut map, n, ()));
        assert!(map.len() <= MAX_ENTRIES);
    }
}
