//! What streams read from the buffer, in which order, and when they cannot continue.

use super::*;
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

fn change((id, version): (u128, i64)) -> Change {
    Change {
        kind: ChangeKind::Run,
        id: Uuid::from_u128(id),
        version,
        connector: Uuid::nil().into(),
        pipeline: None,
        status: None,
        data: format!("{id}/{version}"),
    }
}

fn push(
    buffer: &mut ChangeBuffer,
    partition: TopicPartition,
    offset: i64,
    space: SpaceId,
    entity: (u128, i64),
) {
    let change = change(entity);
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
fn versions_of_a_pipeline_and_of_its_governance_are_independent() {
    let mut buffer = buffer(10);
    let mut cursor = buffer.end_cursor();
    push(&mut buffer, A, 100, SPACE, (1, 5));
    let change = Change { kind: ChangeKind::Governance, ..change((1, 4)) };
    let owner = ChangeOwner { space_id: SPACE, team_id: None, criticality: None };
    buffer.push((B, 100), Some((change, owner)), &keyring());
    assert_eq!(data(&read_all(&buffer, &mut cursor).unwrap()), ["1/5", "1/4"]);
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
