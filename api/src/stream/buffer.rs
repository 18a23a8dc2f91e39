//! The buffer of the latest changes of all spaces, in streaming order, and the cursors by which streams read
//! it. Its memory is bounded: the oldest changes are dropped, and a stream that has not read
//! them yet receives a [`Gap`].

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use contract::ids::SpaceId;
use platform::secrets::Keyring;
use uuid::Uuid;

use super::cursor::{Positions, TopicPartition};
use super::filter::{Change, EventFilter};
use crate::store::stream::ChangeOwner;

/// A chunk ends with the change that brings it to this size.
const CHUNK_BYTES: usize = 32 << 10;
/// The approximate size of an entry without its text.
const ENTRY_BYTES: usize = 256;
/// How long a client may be ahead of this process, because it read from a faster replica. A recreated log
/// looks the same, but never catches up.
const MAX_AHEAD: Duration = Duration::from_secs(10);

pub(super) struct ChangeBuffer {
    max_entries: usize,
    max_bytes: usize,
    bytes: usize,
    entries: VecDeque<Entry>,
    /// The sequence number of the oldest entry.
    first: u64,
    /// The positions just before the oldest entry.
    start: Positions,
    /// The positions after the newest record.
    end: Positions,
    /// The highest version of each entity in the buffer.
    versions: HashMap<Uuid, i64>,
    /// Counts the restarts of the tail.
    generation: u64,
}

struct Entry {
    partition: TopicPartition,
    offset: i64,
    change: Change,
    owner: ChangeOwner,
    /// The event as it is sent, with its id at the end.
    frame: Bytes,
    id_at: usize,
}

/// The read position of a stream in the buffer.
#[derive(Debug)]
pub(super) struct Cursor {
    generation: u64,
    next: u64,
    /// The client's own positions after a resumption, until they agree with those of the buffer.
    resume: Option<ResumeState>,
}

#[derive(Debug)]
struct ResumeState {
    positions: Positions,
    since: Instant,
}

/// Why a stream cannot continue from its cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gap {
    /// The next change has been dropped from the buffer.
    Overtaken,
    /// The tail restarted, and the changes between were not read.
    Unknown,
}

impl ChangeBuffer {
    pub(super) fn new(max_entries: usize, max_bytes: usize) -> Self {
        Self {
            max_entries,
            max_bytes,
            bytes: 0,
            entries: VecDeque::new(),
            first: 0,
            start: Positions::default(),
            end: Positions::default(),
            versions: HashMap::new(),
            generation: 0,
        }
    }

    /// Drops all entries and continues from these positions.
    pub(super) fn restart(&mut self, start: Positions) {
        self.first = self.end_number();
        self.entries = VecDeque::new();
        self.versions = HashMap::new();
        self.bytes = 0;
        self.start = start.clone();
        self.end = start;
        self.generation += 1;
    }

    /// Returns the positions after the newest record.
    pub(super) fn end_positions(&self) -> &Positions {
        &self.end
    }

    /// Adds the next record of a partition. A version that is not newer than the buffered one is skipped.
    pub(super) fn push(
        &mut self,
        (partition, offset): (TopicPartition, i64),
        change: Option<(Change, ChangeOwner)>,
        keyring: &Keyring,
    ) {
        self.end.advance(partition, offset + 1);
        let Some((mut change, owner)) = change else { return };
        if self.versions.get(&change.id).is_some_and(|newest| *newest >= change.version) {
            return;
        }
        self.versions.insert(change.id, change.version);
        let mut frame = format!("event: {}\ndata: {}\n", change.kind, std::mem::take(&mut change.data));
        let id_at = frame.len();
        frame.push_str(&id_line(&self.end, keyring, owner.space_id));
        frame.push('\n');
        self.bytes += frame.len() + ENTRY_BYTES;
        self.entries.push_back(Entry { partition, offset, change, owner, frame: frame.into(), id_at });
        while self.entries.len() > self.max_entries || self.bytes > self.max_bytes {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some(oldest) = self.entries.pop_front() else { return };
        self.first += 1;
        self.bytes -= oldest.frame.len() + ENTRY_BYTES;
        self.start.advance(oldest.partition, oldest.offset + 1);
        if self.versions.get(&oldest.change.id) == Some(&oldest.change.version) {
            self.versions.remove(&oldest.change.id);
        }
    }

    /// Returns the sequence number of the next entry.
    fn end_number(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Returns the cursor of a client that reads from now on.
    pub(super) fn end_cursor(&self) -> Cursor {
        Cursor { generation: self.generation, next: self.end_number(), resume: None }
    }

    /// Returns the cursor of a client that has read up to these positions; none when the buffer lacks what
    /// comes next.
    pub(super) fn resume(&self, positions: Positions) -> Option<Cursor> {
        let is_buffered = positions.covers(&self.start)
            && positions.iter().all(|(partition, _)| self.start.contains(partition));
        let resume = Some(ResumeState { positions, since: Instant::now() });
        is_buffered.then_some(Cursor { generation: self.generation, next: self.first, resume })
    }

    /// Returns the next chunk of changes of a space that match a filter.
    ///
    /// # Errors
    /// When the stream cannot continue from its cursor.
    pub(super) fn read(
        &self,
        cursor: &mut Cursor,
        (space, filter): (SpaceId, &EventFilter),
        keyring: &Keyring,
    ) -> Result<Option<Bytes>, Gap> {
        if cursor.generation != self.generation {
            return Err(Gap::Unknown);
        }
        let Some(read) = cursor.next.checked_sub(self.first) else { return Err(Gap::Overtaken) };
        let mut chunk = Vec::new();
        for entry in self.entries.range(read as usize..) {
            cursor.next += 1;
            let is_new = cursor.resume.as_mut().is_none_or(|resume| resume.advance(entry));
            if is_new && entry.owner.space_id == space && filter.matches(&entry.change, &entry.owner) {
                entry.write(&mut chunk, cursor.resume.as_ref(), keyring);
            }
            if chunk.len() >= CHUNK_BYTES {
                return Ok(Some(chunk.into()));
            }
        }
        if cursor.resume.as_ref().is_some_and(|resume| self.end.covers(&resume.positions)) {
            cursor.resume = None;
        }
        match &cursor.resume {
            Some(resume) if chunk.is_empty() && resume.since.elapsed() > MAX_AHEAD => Err(Gap::Unknown),
            _ => Ok((!chunk.is_empty()).then(|| chunk.into())),
        }
    }

    /// Returns the line that gives a client its current id; none while there is more to read.
    pub(super) fn id_line(&self, cursor: &Cursor, space: SpaceId, keyring: &Keyring) -> Option<String> {
        let is_at_end = cursor.generation == self.generation && cursor.next == self.end_number();
        let positions = cursor.resume.as_ref().map_or(&self.end, |resume| &resume.positions);
        (is_at_end || cursor.resume.is_some()).then(|| id_line(positions, keyring, space))
    }
}

impl Entry {
    /// Appends the event to a chunk. A resumed client gets an id with its own positions.
    fn write(&self, chunk: &mut Vec<u8>, resume: Option<&ResumeState>, keyring: &Keyring) {
        let Some(resume) = resume else {
            return chunk.extend_from_slice(&self.frame);
        };
        chunk.extend_from_slice(&self.frame[..self.id_at]);
        chunk.extend_from_slice(id_line(&resume.positions, keyring, self.owner.space_id).as_bytes());
        chunk.push(b'\n');
    }
}

impl ResumeState {
    /// Advances the positions past an entry; false when the client had read it before.
    fn advance(&mut self, entry: &Entry) -> bool {
        let is_new = entry.offset >= self.positions.at(entry.partition);
        self.positions.advance(entry.partition, entry.offset + 1);
        is_new
    }
}

fn id_line(positions: &Positions, keyring: &Keyring, space: SpaceId) -> String {
    format!("id: {}\n", positions.seal(keyring, space))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::filter::ChangeKind;
    use contract::events::Topic;
    use platform::secrets::SealingConfig;

    const A: TopicPartition = (Topic::Runs, 0);
    const B: TopicPartition = (Topic::Runs, 1);
    const SPACE: SpaceId = SpaceId(Uuid::from_u128(1));
    const OTHER_SPACE: SpaceId = SpaceId(Uuid::from_u128(2));

    fn keyring() -> Keyring {
        Keyring::new(&SealingConfig { sealing_keys: format!("{}=", "A".repeat(43)).into() }).unwrap()
    }

    fn buffer(max_entries: usize) -> ChangeBuffer {
        let mut buffer = ChangeBuffer::new(max_entries, usize::MAX);
        buffer.restart([(A, 100), (B, 100)].into_iter().collect());
        buffer
    }

    fn push(
        buffer: &mut ChangeBuffer,
        partition: TopicPartition,
        offset: i64,
        space: SpaceId,
        (id, version): (u128, i64),
    ) {
        let change = Change {
            kind: ChangeKind::Run,
            id: Uuid::from_u128(id),
            version,
            connector: Uuid::nil().into(),
            pipeline: None,
            status: None,
            data: format!("{id}/{version}"),
        };
        let owner = ChangeOwner { space_id: space, team_id: None, criticality: None };
        buffer.push((partition, offset), Some((change, owner)), &keyring());
    }

    /// Returns the data of all remaining events, and the positions of the client after each.
    fn read_all(buffer: &ChangeBuffer, cursor: &mut Cursor) -> Result<Vec<(String, Positions)>, Gap> {
        let mut events = Vec::new();
        while let Some(chunk) = buffer.read(cursor, (SPACE, &EventFilter::default()), &keyring())? {
            let text = String::from_utf8(chunk.to_vec()).unwrap();
            for frame in text.split_terminator("\n\n") {
                let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name)).unwrap();
                let id = Positions::open(&keyring(), SPACE, field("id: ")).unwrap();
                events.push((field("data: ").to_owned(), id));
            }
        }
        Ok(events)
    }

    fn data(events: &[(String, Positions)]) -> Vec<&str> {
        events.iter().map(|(data, _)| data.as_str()).collect()
    }

    #[test]
    fn stream_reads_later_changes_of_its_space_only() {
        let mut buffer = buffer(10);
        push(&mut buffer, A, 100, SPACE, (1, 1));
        let mut cursor = buffer.end_cursor();
        push(&mut buffer, A, 101, SPACE, (1, 2));
        push(&mut buffer, B, 100, OTHER_SPACE, (2, 3));
        push(&mut buffer, B, 101, SPACE, (3, 4));
        assert_eq!(data(&read_all(&buffer, &mut cursor).unwrap()), ["1/2", "3/4"]);
        assert_eq!(read_all(&buffer, &mut cursor).unwrap(), []);
    }

    #[test]
    fn any_id_resumes_on_a_replica_with_another_order_without_gap_or_duplicate() {
        let (mut first, mut second) = (buffer(10), buffer(10));
        let mut cursor = first.end_cursor();
        for offset in 100..103 {
            push(&mut first, A, offset, SPACE, (1, offset));
            push(&mut first, B, offset, SPACE, (2, offset));
            push(&mut second, B, offset, SPACE, (2, offset));
        }
        for offset in 100..103 {
            push(&mut second, A, offset, SPACE, (1, offset));
        }
        let events = read_all(&first, &mut cursor).unwrap();
        for (read, (_, id)) in events.iter().enumerate() {
            let mut cursor = second.resume(id.clone()).unwrap();
            let more = read_all(&second, &mut cursor).unwrap();
            let mut all = [data(&events[..=read]), data(&more)].concat();
            all.sort_unstable();
            assert_eq!(all, ["1/100", "1/101", "1/102", "2/100", "2/101", "2/102"]);
            // And back again, from each id of the second replica.
            for (_, id) in &more {
                let left = read_all(&first, &mut first.resume(id.clone()).unwrap()).unwrap();
                assert!(left.len() < more.len(), "{left:?}");
            }
        }
    }

    #[test]
    fn client_ahead_of_this_replica_gets_no_event_twice() {
        let mut buffer = buffer(10);
        let ahead: Positions = [(A, 102), (B, 100)].into_iter().collect();
        let mut cursor = buffer.resume(ahead).unwrap();
        push(&mut buffer, A, 100, SPACE, (1, 1));
        push(&mut buffer, B, 100, SPACE, (2, 1));
        let events = read_all(&buffer, &mut cursor).unwrap();
        assert_eq!(data(&events), ["2/1"]);
        assert_eq!((events[0].1.at(A), events[0].1.at(B)), (102, 101), "the id never moves backward");
        push(&mut buffer, A, 101, SPACE, (1, 2));
        push(&mut buffer, A, 102, SPACE, (1, 3));
        assert_eq!(data(&read_all(&buffer, &mut cursor).unwrap()), ["1/3"]);
    }

    #[test]
    fn resuming_needs_every_later_change_in_the_buffer() {
        let mut buffer = buffer(3);
        let mut slow = buffer.end_cursor();
        let initial = buffer.end_positions().clone();
        for offset in 100..104 {
            push(&mut buffer, A, offset, SPACE, (1, offset));
        }
        assert_eq!(read_all(&buffer, &mut slow), Err(Gap::Overtaken));
        assert!(buffer.resume(initial.clone()).is_none());
        let mut later = initial;
        later.advance(A, 101);
        assert_eq!(data(&read_all(&buffer, &mut buffer.resume(later).unwrap()).unwrap()).len(), 3);
        let elsewhere = [(A, 104), (B, 104), ((Topic::Syncs, 0), 1)].into_iter().collect();
        assert!(buffer.resume(elsewhere).is_none(), "a partition that no longer exists");
    }

    #[test]
    fn buffer_size_is_bounded_in_bytes() {
        let mut buffer = ChangeBuffer::new(1_000, 3_000);
        buffer.restart([(A, 0)].into_iter().collect());
        (0..100).for_each(|offset| push(&mut buffer, A, offset, SPACE, (1, offset + 1)));
        assert!(buffer.bytes <= 3_000 && buffer.entries.len() > 2, "{} bytes", buffer.bytes);
    }

    #[test]
    fn older_version_after_a_newer_one_is_skipped() {
        let mut buffer = buffer(10);
        let mut cursor = buffer.end_cursor();
        for (offset, version) in [(100, 5), (101, 4), (102, 5), (103, 6)] {
            push(&mut buffer, A, offset, SPACE, (1, version));
        }
        let events = read_all(&buffer, &mut cursor).unwrap();
        assert_eq!(data(&events), ["1/5", "1/6"]);
        assert_eq!(events[1].1.at(A), 104);
    }

    #[test]
    fn restart_of_the_tail_is_reported_as_a_gap() {
        let mut buffer = buffer(10);
        let mut cursor = buffer.end_cursor();
        buffer.restart([(A, 0)].into_iter().collect());
        assert_eq!(read_all(&buffer, &mut cursor), Err(Gap::Unknown));
    }

    #[test]
    fn id_line_is_written_only_at_the_end_of_the_buffer() {
        let mut buffer = buffer(10);
        let mut cursor = buffer.end_cursor();
        assert!(buffer.id_line(&cursor, SPACE, &keyring()).is_some());
        push(&mut buffer, A, 100, SPACE, (1, 1));
        assert_eq!(buffer.id_line(&cursor, SPACE, &keyring()), None);
        read_all(&buffer, &mut cursor).unwrap();
        let line = buffer.id_line(&cursor, SPACE, &keyring()).unwrap();
        let id = line.strip_prefix("id: ").unwrap().trim_end();
        assert_eq!(Positions::open(&keyring(), SPACE, id).unwrap().at(A), 101);
    }
}
