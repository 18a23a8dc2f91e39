//! Read positions: the next offset of every streamed partition, and the sealed text of them that a client
//! keeps, so that any replica can resume its stream.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use contract::events::Topic;
use contract::ids::SpaceId;
use platform::secrets::Keyring;

use super::STREAMED_TOPICS;

/// A partition of a topic.
pub(super) type TopicPartition = (Topic, i32);

/// The next offset of each partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positions(BTreeMap<TopicPartition, i64>);

impl Positions {
    /// Returns the next offset of a partition; 0 when nothing of it was read.
    pub fn at(&self, partition: TopicPartition) -> i64 {
        self.0.get(&partition).copied().unwrap_or(0)
    }

    pub fn contains(&self, partition: TopicPartition) -> bool {
        self.0.contains_key(&partition)
    }

    pub fn iter(&self) -> impl Iterator<Item = (TopicPartition, i64)> {
        self.0.iter().map(|(partition, next)| (*partition, *next))
    }

    /// Moves a partition forward to this offset; never backward.
    pub fn advance(&mut self, partition: TopicPartition, next: i64) {
        let position = self.0.entry(partition).or_default();
        *position = next.max(*position);
    }

    /// Returns whether these positions are at or after `other` in every partition.
    pub fn covers(&self, other: &Self) -> bool {
        other.iter().all(|(partition, next)| self.at(partition) >= next)
    }

    /// Seals the positions as a text for a client of this space, because the offsets reveal the activity of
    /// all spaces. The text can be opened for no other space.
    pub fn seal(&self, keyring: &Keyring, space: SpaceId) -> String {
        let sealed = keyring.seal(&aad(space), &self.to_bytes());
        sealed.map(|sealed| URL_SAFE_NO_PAD.encode(sealed)).unwrap_or_default()
    }

    /// Opens the positions in a text that was sealed for this space; none for any other text.
    pub fn open(keyring: &Keyring, space: SpaceId, text: &str) -> Option<Self> {
        let sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
        Self::from_bytes(&keyring.open(&aad(space), &sealed).ok()?)
    }

    /// Encodes, for each topic, the number of its partitions and their next offsets, as LEB128 integers:
    /// short enough for a header.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for topic in STREAMED_TOPICS {
            let last = self.0.keys().filter(|(of, _)| *of == topic).map(|(_, partition)| *partition).max();
            let partitions = last.map_or(0, |last| last + 1);
            put_varint(&mut bytes, partitions.unsigned_abs().into());
            for partition in 0..partitions {
                put_varint(&mut bytes, self.at((topic, partition)).unsigned_abs());
            }
        }
        bytes
    }

    fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let mut positions = Self::default();
        for topic in STREAMED_TOPICS {
            let partitions = i32::try_from(take_varint(&mut bytes)?).ok()?;
            for partition in 0..partitions {
                positions.advance((topic, partition), i64::try_from(take_varint(&mut bytes)?).ok()?);
            }
        }
        bytes.is_empty().then_some(positions)
    }
}

impl FromIterator<(TopicPartition, i64)> for Positions {
    fn from_iter<I: IntoIterator<Item = (TopicPartition, i64)>>(partitions: I) -> Self {
        Self(partitions.into_iter().collect())
    }
}

/// Returns the associated data of the seal.
fn aad(space: SpaceId) -> String {
    format!("events/{space}")
}

fn put_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
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
    fn sealed_positions_open_in_their_space_only() {
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
    fn sealed_positions_of_42_partitions_fit_into_a_header() {
        let partitions = STREAMED_TOPICS.iter().flat_map(|topic| (0..6).map(|number| (*topic, number)));
        let positions = partitions.map(|partition| (partition, 100_000_000));
        let text = Positions::from_iter(positions).seal(&keyring(), SpaceId(Uuid::nil()));
        assert!(text.len() < 512, "{}", text.len());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic_and_round_trip_when_valid(
            bytes in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            if let Some(positions) = Positions::from_bytes(&bytes) {
                prop_assert_eq!(Positions::from_bytes(&positions.to_bytes()), Some(positions));
            }
        }
    }
}
