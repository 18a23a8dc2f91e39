//! How far somebody has read: the next offset of every partition that is told of, and the sealed text that a client
//! keeps of it, so that any replica can go on from there.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use contract::events::Topic;
use contract::ids::SpaceId;
use platform::secrets::Keyring;

use super::TOLD;

/// A partition of a topic.
pub type Place = (Topic, i32);

/// The next offset of each place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positions(BTreeMap<Place, i64>);

impl Positions {
    /// The next offset there; the very first where nothing was read yet.
    pub fn at(&self, place: Place) -> i64 {
        self.0.get(&place).copied().unwrap_or(0)
    }

    pub fn has(&self, place: Place) -> bool {
        self.0.contains_key(&place)
    }

    pub fn places(&self) -> impl Iterator<Item = (Place, i64)> {
        self.0.iter().map(|(place, next)| (*place, *next))
    }

    /// Moves on to this offset; never back.
    pub fn advance(&mut self, place: Place, next: i64) {
        let position = self.0.entry(place).or_default();
        *position = next.max(*position);
    }

    /// Whether everything before `other` was read.
    pub fn covers(&self, other: &Self) -> bool {
        other.places().all(|(place, next)| self.at(place) >= next)
    }

    /// As text for a client of this space. It is sealed, since it says how much all spaces together do, and opens for
    /// no other space.
    pub fn seal(&self, keyring: &Keyring, space: SpaceId) -> String {
        let sealed = keyring.seal(&purpose(space), &self.to_bytes());
        sealed.map(|sealed| URL_SAFE_NO_PAD.encode(sealed)).unwrap_or_default()
    }

    /// What was sealed for this space; none where it was anything else.
    pub fn open(keyring: &Keyring, space: SpaceId, text: &str) -> Option<Self> {
        let sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
        Self::from_bytes(&keyring.open(&purpose(space), &sealed).ok()?)
    }

    /// For each topic the number of its partitions and their offsets, seven bits a byte: what a header can carry.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for topic in TOLD {
            let last = self.0.keys().filter(|(of, _)| *of == topic).map(|(_, partition)| *partition).max();
            let partitions = last.map_or(0, |last| last + 1);
            put(&mut bytes, partitions.unsigned_abs().into());
            for partition in 0..partitions {
                put(&mut bytes, self.at((topic, partition)).unsigned_abs());
            }
        }
        bytes
    }

    fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let mut positions = Self::default();
        for topic in TOLD {
            let partitions = i32::try_from(take(&mut bytes)?).ok()?;
            for partition in 0..partitions {
                positions.advance((topic, partition), i64::try_from(take(&mut bytes)?).ok()?);
            }
        }
        bytes.is_empty().then_some(positions)
    }
}

impl FromIterator<(Place, i64)> for Positions {
    fn from_iter<I: IntoIterator<Item = (Place, i64)>>(places: I) -> Self {
        Self(places.into_iter().collect())
    }
}

fn purpose(space: SpaceId) -> String {
    format!("events/{space}")
}

fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..63).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use platform::secrets::SealingConfig;
    use proptest::prelude::*;
    use uuid::Uuid;

    fn keyring() -> Keyring {
        let key = base64::engine::general_purpose::STANDARD.encode([7; 32]);
        Keyring::new(&SealingConfig { sealing_keys: key.into() }).unwrap()
    }

    #[test]
    fn the_text_opens_in_its_space_alone() {
        let (ours, theirs) = (SpaceId(Uuid::from_u128(1)), SpaceId(Uuid::from_u128(2)));
        let positions = Positions::from_iter([((Topic::Runs, 2), 300), ((Topic::Syncs, 0), i64::MAX)]);
        let text = positions.seal(&keyring(), ours);
        let opened = Positions::open(&keyring(), ours, &text).unwrap();
        assert!(opened.covers(&positions) && positions.covers(&opened));
        assert_eq!(Positions::open(&keyring(), theirs, &text), None);
        for bad in ["", "x", "\u{e9}", &text[1..], &format!("{text}A")] {
            assert_eq!(Positions::open(&keyring(), ours, bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_usual_installation_fits_into_a_header_easily() {
        let places = TOLD.iter().flat_map(|topic| (0..6).map(|partition| ((*topic, partition), 100_000_000)));
        let text = Positions::from_iter(places).seal(&keyring(), SpaceId(Uuid::nil()));
        assert!(text.len() < 256, "{}", text.len());
    }

    proptest! {
        #[test]
        fn bytes_that_nobody_wrote_are_no_positions_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Some(positions) = Positions::from_bytes(&bytes) {
                prop_assert_eq!(Positions::from_bytes(&positions.to_bytes()), Some(positions));
            }
        }
    }
}
