//! The latest changes of all spaces, in the order in which they are told, and the cursors by which streams read them.
//! Memory is bounded: the oldest leave, and whoever still needed them is told so. Reading Kafka is the tail's.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use contract::ids::SpaceId;
use platform::secrets::Keyring;
use uuid::Uuid;

use super::cursor::{Place, Positions};
use super::filter::{Change, EventFilter, Owner};

/// A chunk ends with the change that brings it to this size.
const CHUNK_BYTES: usize = 32 << 10;
/// What an entry takes besides its text.
const ENTRY_BYTES: usize = 256;
/// How long a client may be ahead of us, having read from another replica that was quicker. A log that was made anew
/// looks the same, but never catches up.
const AHEAD_FOR: Duration = Duration::from_secs(10);

pub struct Ring {
    most_records: usize,
    most_bytes: usize,
    bytes: usize,
    told: VecDeque<Told>,
    /// The number of the oldest change.
    first: u64,
    /// Where one stands who has read nothing of what is here, and everything before it.
    base: Positions,
    /// Where one stands who has read everything.
    head: Positions,
    /// The highest version of each entity here.
    newest: HashMap<Uuid, i64>,
    /// How often reading began anew.
    beginnings: u64,
}

struct Told {
    place: Place,
    offset: i64,
    change: Change,
    owner: Owner,
    /// As it is sent, the id last.
    frame: Bytes,
    id_at: usize,
}

/// How far a stream has read.
#[derive(Debug)]
pub struct Cursor {
    beginning: u64,
    next: u64,
    /// Where its client stands, until it stands where all do.
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    positions: Positions,
    since: Instant,
}

/// Why a stream cannot go on from where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// What comes next has left already.
    Overtaken,
    /// What lies between was not read.
    Unknown,
}

impl Ring {
    pub fn new(most_records: usize, most_bytes: usize) -> Self {
        Self {
            most_records,
            most_bytes,
            bytes: 0,
            told: VecDeque::new(),
            first: 0,
            base: Positions::default(),
            head: Positions::default(),
            newest: HashMap::new(),
            beginnings: 0,
        }
    }

    /// Forgets everything and goes on from here.
    pub fn begin(&mut self, start: Positions) {
        self.first = self.end();
        self.told = VecDeque::new();
        self.newest = HashMap::new();
        self.bytes = 0;
        self.base = start.clone();
        self.head = start;
        self.beginnings += 1;
    }

    /// Where everything told so far ends.
    pub fn head(&self) -> &Positions {
        &self.head
    }

    /// Adds the next record of a place. An older version behind a newer one says nothing to anybody.
    pub fn push(
        &mut self,
        (place, offset): (Place, i64),
        change: Option<(Change, Owner)>,
        keyring: &Keyring,
    ) {
        self.head.advance(place, offset + 1);
        let Some((mut change, owner)) = change else { return };
        if self.newest.get(&change.id).is_some_and(|newest| *newest >= change.version) {
            return;
        }
        self.newest.insert(change.id, change.version);
        let mut frame = format!("event: {}\ndata: {}\n", change.kind, std::mem::take(&mut change.data));
        let id_at = frame.len();
        frame.push_str(&id_line(&self.head, keyring, owner.space_id));
        frame.push('\n');
        self.bytes += frame.len() + ENTRY_BYTES;
        self.told.push_back(Told { place, offset, change, owner, frame: frame.into(), id_at });
        while self.told.len() > self.most_records || self.bytes > self.most_bytes {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some(oldest) = self.told.pop_front() else { return };
        self.first += 1;
        self.bytes -= oldest.frame.len() + ENTRY_BYTES;
        self.base.advance(oldest.place, oldest.offset + 1);
        if self.newest.get(&oldest.change.id) == Some(&oldest.change.version) {
            self.newest.remove(&oldest.change.id);
        }
    }

    /// The number of the change that comes next.
    fn end(&self) -> u64 {
        self.first + self.told.len() as u64
    }

    /// For a client that wants what comes from now on.
    pub fn now(&self) -> Cursor {
        Cursor { beginning: self.beginnings, next: self.end(), own: None }
    }

    /// For a client that has read so far; none where what comes next is not here.
    pub fn resume(&self, positions: Positions) -> Option<Cursor> {
        let is_here =
            positions.covers(&self.base) && positions.places().all(|(place, _)| self.base.has(place));
        let own = Some(Own { positions, since: Instant::now() });
        is_here.then_some(Cursor { beginning: self.beginnings, next: self.first, own })
    }

    /// The next changes of a space that a filter takes, some at a time.
    ///
    /// # Errors
    /// When the stream cannot go on from its cursor.
    pub fn read(
        &self,
        cursor: &mut Cursor,
        (space, filter): (SpaceId, &EventFilter),
        keyring: &Keyring,
    ) -> Result<Option<Bytes>, Gap> {
        if cursor.beginning != self.beginnings {
            return Err(Gap::Unknown);
        }
        let Some(read) = cursor.next.checked_sub(self.first) else { return Err(Gap::Overtaken) };
        let mut chunk = Vec::new();
        for told in self.told.range(read as usize..) {
            cursor.next += 1;
            let is_new = cursor.own.as_mut().is_none_or(|own| own.take(told));
            if !is_new || told.owner.space_id != space || !filter.takes(&told.change, &told.owner) {
                continue;
            }
            match &cursor.own {
                None => chunk.extend_from_slice(&told.frame),
                Some(own) => {
                    chunk.extend_from_slice(&told.frame[..told.id_at]);
                    chunk.extend_from_slice(id_line(&own.positions, keyring, space).as_bytes());
                    chunk.push(b'\n');
                }
            }
            if chunk.len() >= CHUNK_BYTES {
                return Ok(Some(chunk.into()));
            }
        }
        if cursor.own.as_ref().is_some_and(|own| self.head.covers(&own.positions)) {
            cursor.own = None;
        }
        match &cursor.own {
            Some(own) if chunk.is_empty() && own.since.elapsed() > AHEAD_FOR => Err(Gap::Unknown),
            _ => Ok((!chunk.is_empty()).then(|| chunk.into())),
        }
    }

    /// The line that makes a client remember where it stands; none while there is more to read.
    pub fn standing(&self, cursor: &Cursor, space: SpaceId, keyring: &Keyring) -> Option<String> {
        let has_all = cursor.beginning == self.beginnings && cursor.next == self.end();
        let positions = cursor.own.as_ref().map_or(&self.head, |own| &own.positions);
        (has_all || cursor.own.is_some()).then(|| id_line(positions, keyring, space))
    }
}

impl Own {
    /// Whether its client has not read this yet; it has from now on.
    fn take(&mut self, told: &Told) -> bool {
        let is_new = told.offset >= self.positions.at(told.place);
        self.positions.advance(told.place, told.offset + 1);
        is_new
    }
}

fn id_line(positions: &Positions, keyring: &Keyring, space: SpaceId) -> String {
    format!("id: {}\n", positions.seal(keyring, space))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::filter::Kind;
    use contract::events::Topic;
    use platform::secrets::SealingConfig;

    const RESERVED_HEADERS: SpaceId = SpaceId(Uuid::from_u128(1));
    const THEIRS: SpaceId = SpaceId(Uuid::from_u128(2));

    fn keyring() -> Keyring {
        Keyring::new(&SealingConfig { sealing_keys: format!("{}=", "A".repeat(43)).into() }).unwrap()
    }

    fn ring(most_records: usize) -> Ring {
        let mut ring = Ring::new(most_records, usize::MAX);
        ring.begin([(a(), 100), (b(), 100)].into_iter().collect());
        ring
    }

    fn a() -> Place {
        (Topic::Runs, 0)
    }

    fn b() -> Place {
        (Topic::Runs, 1)
    }

    fn tell(ring: &mut Ring, place: Place, offset: i64, space: SpaceId, (id, version): (u128, i64)) {
        let change = Change {
            kind: Kind::Run,
            id: Uuid::from_u128(id),
            version,
            connector: Uuid::nil().into(),
            pipeline: None,
            status: None,
            data: format!("{id}/{version}"),
        };
        let owner = Owner { space_id: space, team_id: None, criticality: None };
        ring.push((place, offset), Some((change, owner)), &keyring());
    }

    /// The data of everything that is left to read, and where the client stands after each.
    fn rest(ring: &Ring, cursor: &mut Cursor) -> Result<Vec<(String, Positions)>, Gap> {
        let mut said = Vec::new();
        while let Some(chunk) = ring.read(cursor, (RESERVED_HEADERS, &EventFilter::default()), &keyring())? {
            let text = String::from_utf8(chunk.to_vec()).unwrap();
            for frame in text.split_terminator("\n\n") {
                let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name)).unwrap();
                let id = Positions::open(&keyring(), RESERVED_HEADERS, field("id: ")).unwrap();
                said.push((field("data: ").to_owned(), id));
            }
        }
        Ok(said)
    }

    fn data(said: &[(String, Positions)]) -> Vec<&str> {
        said.iter().map(|(data, _)| data.as_str()).collect()
    }

    #[test]
    fn a_stream_is_told_what_comes_after_it_began_and_of_its_space_alone() {
        let mut ring = ring(10);
        tell(&mut ring, a(), 100, RESERVED_HEADERS, (1, 1));
        let mut cursor = ring.now();
        tell(&mut ring, a(), 101, RESERVED_HEADERS, (1, 2));
        tell(&mut ring, b(), 100, THEIRS, (2, 3));
        tell(&mut ring, b(), 101, RESERVED_HEADERS, (3, 4));
        assert_eq!(data(&rest(&ring, &mut cursor).unwrap()), ["1/2", "3/4"]);
        assert_eq!(rest(&ring, &mut cursor).unwrap(), []);
    }

    #[test]
    fn from_any_id_another_replica_that_read_in_another_order_goes_on_without_gap_or_double() {
        let (mut first, mut second) = (ring(10), ring(10));
        let mut cursor = first.now();
        for offset in 100..103 {
            tell(&mut first, a(), offset, RESERVED_HEADERS, (1, offset));
            tell(&mut first, b(), offset, RESERVED_HEADERS, (2, offset));
            tell(&mut second, b(), offset, RESERVED_HEADERS, (2, offset));
        }
        for offset in 100..103 {
            tell(&mut second, a(), offset, RESERVED_HEADERS, (1, offset));
        }
        let said = rest(&first, &mut cursor).unwrap();
        for (read, (_, id)) in said.iter().enumerate() {
            let mut cursor = second.resume(id.clone()).unwrap();
            let more = rest(&second, &mut cursor).unwrap();
            let mut all = [data(&said[..=read]), data(&more)].concat();
            all.sort_unstable();
            assert_eq!(all, ["1/100", "1/101", "1/102", "2/100", "2/101", "2/102"]);
            // And back again, from the middle of what the second one told.
            for (_, id) in &more {
                let left = rest(&first, &mut first.resume(id.clone()).unwrap()).unwrap();
                assert!(left.len() < more.len(), "{left:?}");
            }
        }
    }

    #[test]
    fn one_who_is_ahead_is_told_nothing_twice() {
        let mut ring = ring(10);
        let ahead: Positions = [(a(), 102), (b(), 100)].into_iter().collect();
        let mut cursor = ring.resume(ahead).unwrap();
        tell(&mut ring, a(), 100, RESERVED_HEADERS, (1, 1));
        tell(&mut ring, b(), 100, RESERVED_HEADERS, (2, 1));
        let said = rest(&ring, &mut cursor).unwrap();
        assert_eq!(data(&said), ["2/1"]);
        assert_eq!((said[0].1.at(a()), said[0].1.at(b())), (102, 101), "the id does not step back");
        tell(&mut ring, a(), 101, RESERVED_HEADERS, (1, 2));
        tell(&mut ring, a(), 102, RESERVED_HEADERS, (1, 3));
        assert_eq!(data(&rest(&ring, &mut cursor).unwrap()), ["1/3"]);
    }

    #[test]
    fn what_has_left_cannot_be_told_and_what_is_here_can() {
        let mut ring = ring(3);
        let mut slow = ring.now();
        let begun = ring.head().clone();
        for offset in 100..104 {
            tell(&mut ring, a(), offset, RESERVED_HEADERS, (1, offset));
        }
        assert_eq!(rest(&ring, &mut slow), Err(Gap::Overtaken));
        assert!(ring.resume(begun.clone()).is_none());
        let mut later = begun;
        later.advance(a(), 101);
        assert_eq!(data(&rest(&ring, &mut ring.resume(later).unwrap()).unwrap()).len(), 3);
        let elsewhere = [(a(), 104), (b(), 104), ((Topic::Syncs, 0), 1)].into_iter().collect();
        assert!(ring.resume(elsewhere).is_none(), "a partition that is not there any more");
    }

    #[test]
    fn bytes_are_bounded_as_records_are() {
        let mut ring = Ring::new(1_000, 3_000);
        ring.begin([(a(), 0)].into_iter().collect());
        (0..100).for_each(|offset| tell(&mut ring, a(), offset, RESERVED_HEADERS, (1, offset + 1)));
        assert!(ring.bytes <= 3_000 && ring.told.len() > 2, "{} bytes", ring.bytes);
    }

    #[test]
    fn an_older_version_behind_a_newer_one_is_passed_over() {
        let mut ring = ring(10);
        let mut cursor = ring.now();
        for (offset, version) in [(100, 5), (101, 4), (102, 5), (103, 6)] {
            tell(&mut ring, a(), offset, RESERVED_HEADERS, (1, version));
        }
        let said = rest(&ring, &mut cursor).unwrap();
        assert_eq!(data(&said), ["1/5", "1/6"]);
        assert_eq!(said[1].1.at(a()), 104);
    }

    #[test]
    fn a_new_beginning_is_told() {
        let mut ring = ring(10);
        let mut cursor = ring.now();
        ring.begin([(a(), 0)].into_iter().collect());
        assert_eq!(rest(&ring, &mut cursor), Err(Gap::Unknown));
    }

    #[test]
    fn where_a_client_stands_is_told_only_when_it_has_everything() {
        let mut ring = ring(10);
        let mut cursor = ring.now();
        assert!(ring.standing(&cursor, RESERVED_HEADERS, &keyring()).is_some());
        tell(&mut ring, a(), 100, RESERVED_HEADERS, (1, 1));
        assert_eq!(ring.standing(&cursor, RESERVED_HEADERS, &keyring()), None);
        rest(&ring, &mut cursor).unwrap();
        let line = ring.standing(&cursor, RESERVED_HEADERS, &keyring()).unwrap();
        let id = line.strip_prefix("id: ").unwrap().trim_end();
        assert_eq!(Positions::open(&keyring(), RESERVED_HEADERS, id).unwrap().at(a()), 101);
    }
}
