//! Bisection of a batch: PostgreSQL refuses all of it because of one record, so its halves are applied, in
//! their order, until that record is alone.

use crate::records::ConsumedRecord;

/// The slices of a batch that remain to be applied.
pub(crate) struct Bisection<'a> {
    /// The next slice is the last element.
    remaining: Vec<&'a [ConsumedRecord]>,
}

impl<'a> Bisection<'a> {
    pub(crate) fn new(records: &'a [ConsumedRecord]) -> Self {
        Self { remaining: vec![records] }
    }

    /// Takes the next slice. It is never empty.
    pub(crate) fn next_slice(&mut self) -> Option<&'a [ConsumedRecord]> {
        self.remaining.pop().filter(|slice| !slice.is_empty())
    }

    /// Puts the halves of a refused slice back; returns the record if the slice has only one, which is the
    /// cause then.
    pub(crate) fn halve(&mut self, refused: &'a [ConsumedRecord]) -> Option<&'a ConsumedRecord> {
        if let [record] = refused {
            return Some(record);
        }
        let (first, second) = refused.split_at(refused.len() / 2);
        self.remaining.extend([second, first]);
        None
    }
}

/// Whether an error is caused by the content of a record, so that a retry cannot help: data exceptions,
/// violated constraints, exceeded limits, and values that cannot be encoded.
pub(crate) fn is_caused_by_data(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Encode(_) => true,
        sqlx::Error::Database(error) => {
            error.code().is_some_and(|code| ["22", "23", "54"].iter().any(|class| code.starts_with(class)))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use contract::events::Topic;

    use super::*;

    fn record(offset: i64) -> ConsumedRecord {
        let (topic, topic_name) = (Topic::Runs, "runs".to_owned());
        let headers = BTreeMap::new();
        let (timestamp, epoch, key, payload) = (None, None, None, None);
        ConsumedRecord { topic, topic_name, partition: 0, offset, timestamp, epoch, key, headers, payload }
    }

    #[test]
    fn bisection_applies_all_but_the_refused_record_in_order() {
        let records: Vec<_> = (0..7).map(record).collect();
        let (mut applied, mut refused) = (Vec::new(), Vec::new());
        let mut bisection = Bisection::new(&records);
        while let Some(slice) = bisection.next_slice() {
            let offsets = slice.iter().map(|record| record.offset);
            if offsets.clone().any(|offset| offset == 4) {
                refused.extend(bisection.halve(slice).map(|record| record.offset));
            } else {
                applied.extend(offsets);
            }
        }
        assert_eq!((applied, refused), (vec![0, 1, 2, 3, 5, 6], vec![4]));
    }

    #[test]
    fn an_empty_batch_has_no_slice() {
        assert!(Bisection::new(&[]).next_slice().is_none());
    }
}
