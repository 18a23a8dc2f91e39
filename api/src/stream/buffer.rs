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
use super::filter::{Change, ChangeKind, EventFilter};
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
    /// The highest version of each entity in the buffer. A pipeline and its governance have the same id.
    versions: HashMap<(ChangeKind, Uuid), i64>,
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
        if self.versions.get(&(change.kind, change.id)).is_some_and(|newest| *newest >= change.version) {
            return;
        }
        self.versions.insert((change.kind, change.id), change.version);
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
        let entity = (oldest.change.kind, oldest.change.id);
        if self.versions.get(&entity) == Some(&oldest.change.version) {
            self.versions.remove(&entity);
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
mod tests;
