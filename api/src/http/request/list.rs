//! Reading lists of values in a JSON body.

use std::collections::HashSet;
use std::hash::Hash;
use std::ops::RangeInclusive;

use serde_json::Value;
use uuid::Uuid;

use super::value::{self, ValueError};

/// Reads different values, this many of them, in the order of the array. Repeated values are read once; the
/// array itself is not longer than there may be values.
pub fn distinct<T: Clone + Eq + Hash>(
    counts: RangeInclusive<usize>,
    read: impl Fn(Value) -> Result<T, ValueError>,
) -> impl FnOnce(Value) -> Result<Vec<T>, ValueError> {
    move |value| {
        let Value::Array(items) = value else {
            return Err(ValueError::new("type_error.list", "value is not a valid list"));
        };
        if items.len() > *counts.end() {
            return Err(ValueError::too_many_items(*counts.end()));
        }
        let mut seen = HashSet::new();
        let values = items.into_iter().map(read);
        let values: Vec<T> = values
            .filter(|value| value.as_ref().map_or(true, |value| seen.insert(value.clone())))
            .collect::<Result<_, _>>()?;
        if values.len() < *counts.start() {
            let message = format!("ensure this value has at least {} items", counts.start());
            return Err(ValueError::new("value_error.list.min_items", message));
        }
        Ok(values)
    }
}

/// Reads different ids, this many of them.
pub fn ids<T: From<Uuid>>(counts: RangeInclusive<usize>) -> impl FnOnce(Value) -> Result<Vec<T>, ValueError> {
    let ids = distinct(counts, |item| value::uuid(item.as_str().unwrap_or_default()));
    move |value| Ok(ids(value)?.into_iter().map(T::from).collect())
}
