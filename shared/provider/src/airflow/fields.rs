//! Decodes a JSON object field by field, so that an unreadable field does not affect the others. Unreadable
//! fields are reported by their names, without their values.

use std::borrow::Cow;
use std::fmt;

use chrono::{DateTime, Datelike, Utc};
use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::body_reader::left_out_size;
use super::json_text::{has_more_values, nesting, size_without_exponents, storable};
use super::model::Conf;
use contract::events::{MAX_CONF_NESTING, MAX_CONF_SIZE, MAX_CONF_VALUES, RunConf};

/// The maximum number of fields of an object; further fields are ignored.
const MAX_FIELDS: usize = 500;
/// The maximum length of an id, in bytes. Ids are indexed, and PostgreSQL limits the size of an index entry.
const MAX_ID_LENGTH: usize = 1000;
/// The maximum length of a name or another short text, in bytes; the rest is cut off. Airflow's own columns
/// have at most 2,000 characters.
const MAX_TEXT_LENGTH: usize = 2000;
/// The maximum length of a description or a note, in bytes; the rest is cut off.
const MAX_LONG_TEXT_LENGTH: usize = 64 * 1024;
/// The maximum size of all names in a list together, in bytes; further ones are left out. A page of pipelines
/// has hundreds of such lists.
const MAX_NAMES_SIZE: usize = 4000;
/// The maximum number of items of a list in a row.
const MAX_ITEMS: usize = 1000;
/// The maximum size of any other value, in bytes of JSON.
const MAX_VALUE_SIZE: usize = 256 * 1024;
/// The maximum size of all values of an object together, in bytes of JSON; further ones are left out.
const MAX_OBJECT_SIZE: usize = 1024 * 1024;
/// The maximum number of unreadable fields of an object that are reported.
const MAX_REPORTED_FIELDS: usize = 20;

/// The fields of a JSON object, each decoded on access, and the names of the unreadable fields with the
/// reasons.
#[derive(Default)]
pub(super) struct RowFields<'a> {
    fields: Vec<(String, &'a RawValue)>,
    unreadable: Vec<(String, &'static str)>,
}

impl<'a> RowFields<'a> {
    /// Splits an object into its fields; none if the value is not an object.
    pub(super) fn of(raw: &'a RawValue) -> Option<Self> {
        serde_json::from_str(raw.get()).ok()
    }

    /// The value of a field as JSON, unless it is missing or null.
    pub(super) fn raw(&self, name: &str) -> Option<&'a RawValue> {
        let field = self.fields.iter().rev().find(|(field, _)| field == name);
        field.map(|(_, raw)| *raw).filter(|raw| raw.get() != "null")
    }

    /// Whether the object has the field, even if it is null.
    pub(super) fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(field, _)| field == name)
    }

    /// The unreadable fields with the reasons, as one text; none if all fields were read.
    pub(super) fn problems(&self) -> Option<String> {
        let problems: Vec<_> =
            self.unreadable.iter().map(|(name, reason)| format!("{name} {reason}")).collect();
        (!problems.is_empty()).then(|| problems.join("; "))
    }

    /// An id for messages, shortened and with unstorable characters replaced.
    pub(super) fn shown_id(&self, name: &str) -> Option<String> {
        let raw = self.raw(name)?.get();
        let is_number =
            raw.len() <= 20 && raw.starts_with(|first: char| first == '-' || first.is_ascii_digit());
        let id = if is_number { raw.to_owned() } else { text_of(&storable(raw))? };
        Some(id.chars().take(MAX_ID_LENGTH / 4).collect())
    }

    /// A text that identifies the row. If it cannot be used, the field is marked as unreadable.
    pub(super) fn id(&mut self, name: &str) -> Option<String> {
        let Some(raw) = self.raw(name) else { return self.fail(name, "is missing") };
        let clean = storable(raw.get());
        match text_of(&clean) {
            None => self.fail(name, "is no text"),
            Some(_) if matches!(clean, Cow::Owned(_)) => {
                self.fail(name, "has characters that cannot be stored")
            }
            Some(id) if id.is_empty() => self.fail(name, "is empty"),
            Some(id) if id.len() > MAX_ID_LENGTH => self.fail(name, "is too long"),
            id => id,
        }
    }

    /// A short text. Characters that cannot be stored are replaced, and a longer text is cut.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        self.text_of_at_most(MAX_TEXT_LENGTH, name)
    }

    /// A text that may be long.
    pub(super) fn long_text(&mut self, name: &str) -> Option<String> {
        self.text_of_at_most(MAX_LONG_TEXT_LENGTH, name)
    }

    fn text_of_at_most(&mut self, length: usize, name: &str) -> Option<String> {
        let raw = self.raw(name)?;
        let Some((mut text, is_complete)) = storable_text(raw) else { return self.fail(name, "is no text") };
        if !is_complete {
            self.mark(name, "has characters that cannot be stored");
        }
        if text.len() > length {
            self.mark(name, "is cut off, for it is too long");
            text.truncate(text.floor_char_boundary(length));
        }
        Some(text)
    }

    /// A state. An unreadable state is empty, which distinguishes it from a missing one.
    pub(super) fn state(&mut self, name: &str) -> Option<String> {
        self.raw(name)?;
        Some(self.text(name).unwrap_or_default())
    }

    /// The readable ids of a list of ids.
    pub(super) fn ids(&mut self, name: &str) -> Vec<String> {
        self.items(name, MAX_VALUE_SIZE, storable_text)
    }

    /// The readable names of a list of names.
    pub(super) fn names(&mut self, name: &str) -> Vec<String> {
        self.items(name, MAX_NAMES_SIZE, storable_text)
    }

    /// The readable names of a list of objects.
    pub(super) fn object_names(&mut self, name: &str) -> Vec<String> {
        self.items(name, MAX_NAMES_SIZE, |item| storable_text(RowFields::of(item)?.raw("name")?))
    }

    /// The texts of the items, of at most `max_size` bytes together. `read` also returns whether the text is
    /// complete.
    fn items(
        &mut self,
        name: &str,
        max_size: usize,
        read: impl Fn(&RawValue) -> Option<(String, bool)>,
    ) -> Vec<String> {
        let Some(raw) = self.raw(name) else { return Vec::new() };
        let Some(items) = items(raw, MAX_ITEMS) else {
            self.mark(name, "is no list, or too long a one");
            return Vec::new();
        };
        let (mut texts, mut size) = (Vec::new(), 0);
        for item in items {
            match read(item).filter(|(text, _)| text.len() <= max_size) {
                Some((text, is_complete)) => {
                    if !is_complete {
                        self.mark(name, "has characters that cannot be stored");
                    }
                    size += text.len();
                    if size > max_size {
                        self.mark(name, "is cut off, for it is too long");
                        break;
                    }
                    texts.push(text);
                }
                None => self.mark(name, "has an item that cannot be read"),
            }
        }
        texts
    }

    /// A time, in a year that PostgreSQL and every client can represent.
    pub(super) fn time(&mut self, name: &str) -> Option<DateTime<Utc>> {
        let raw = self.raw(name)?;
        match parse::<DateTime<Utc>>(raw).filter(|time| (1..=9999).contains(&time.year())) {
            None => self.fail(name, "is no time with a zone"),
            time => time,
        }
    }

    /// An integer.
    pub(super) fn integer(&mut self, name: &str) -> Option<i32> {
        let raw = self.raw(name)?;
        parse(raw).or_else(|| self.fail(name, "is no integer of 32 bits"))
    }

    /// A number.
    pub(super) fn number(&mut self, name: &str) -> Option<f64> {
        let raw = self.raw(name)?;
        parse::<f64>(raw)
            .filter(|number| number.is_finite())
            .or_else(|| self.fail(name, "is no number of 64 bits"))
    }

    /// A Boolean.
    pub(super) fn flag(&mut self, name: &str) -> Option<bool> {
        let raw = self.raw(name)?;
        parse(raw).or_else(|| self.fail(name, "is neither true nor false"))
    }

    /// Any value. Characters that cannot be stored are replaced in its texts.
    pub(super) fn value(&mut self, name: &str) -> Option<Value> {
        self.parsed_of_at_most(MAX_VALUE_SIZE, name, |json| serde_json::from_str(json).ok())
    }

    /// The parameters of a run.
    pub(super) fn conf(&mut self, name: &str) -> Conf {
        let Some(raw) = self.raw(name) else { return Conf::Read(RunConf::default()) };
        if let Some(size) = left_out_size(raw.get()) {
            self.mark(name, "is too large");
            return Conf::LeftOut(size);
        }
        let conf = self.parsed_of_at_most(MAX_CONF_SIZE, name, |json| json.parse().ok());
        conf.map_or(Conf::LeftOut(raw.get().len() as u64), Conf::Read)
    }

    /// Any value of at most `size` bytes.
    fn parsed_of_at_most<T>(
        &mut self,
        size: usize,
        name: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let raw = self.raw(name)?.get();
        if raw.len() > size {
            return self.fail(name, "is too large");
        }
        if nesting(raw) > MAX_CONF_NESTING {
            return self.fail(name, "is nested too deep");
        }
        if has_more_values(raw, MAX_CONF_VALUES) {
            return self.fail(name, "has too many values");
        }
        // PostgreSQL writes numbers without exponents, so that a small text may become a large one.
        if size_without_exponents(raw).is_none_or(|written| written > size) {
            return self.fail(name, "has a number that is out of range");
        }
        let clean = storable(raw);
        if matches!(clean, Cow::Owned(_)) {
            self.mark(name, "has characters that cannot be stored");
        }
        parse(&clean).or_else(|| self.fail(name, "cannot be read"))
    }

    /// The names of the fields, in their order.
    pub(super) fn field_names(&self) -> Vec<String> {
        self.fields.iter().map(|(name, _)| name.clone()).collect()
    }

    /// All readable fields, as far as they are not too large together.
    pub(super) fn all(&mut self) -> Value {
        let mut size = 0;
        let fields = self.field_names().into_iter().map(|name| {
            size += self.raw(&name).map_or(0, |raw| raw.get().len());
            let value = match size {
                ..=MAX_OBJECT_SIZE => self.value(&name),
                _ => self.fail(&name, "is left out, for the row is too large"),
            };
            (name, value.unwrap_or_default())
        });
        Value::Object(fields.collect::<Map<_, _>>())
    }

    fn fail<T>(&mut self, name: &str, reason: &'static str) -> Option<T> {
        self.mark(name, reason);
        None
    }

    /// Marks a field as unreadable, once.
    fn mark(&mut self, name: &str, reason: &'static str) {
        let is_marked = self.unreadable.iter().any(|(field, _)| field == name);
        if !is_marked && self.unreadable.len() < MAX_REPORTED_FIELDS {
            self.unreadable.push((name.to_owned(), reason));
        }
    }
}

/// Fields whose names are longer than an id are ignored.
impl<'a> Deserialize<'a> for RowFields<'a> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;

        impl<'a> Visitor<'a> for FieldsVisitor {
            type Value = RowFields<'a>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(name) = map.next_key::<&RawValue>()? {
                    let name = storable_text(name).map(|(name, _)| name);
                    match name.filter(|name| fields.len() < MAX_FIELDS && name.len() <= MAX_ID_LENGTH) {
                        Some(name) => fields.push((name, map.next_value()?)),
                        None => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(RowFields { fields, unreadable: Vec::new() })
            }
        }

        deserializer.deserialize_map(FieldsVisitor)
    }
}

/// The items of a list, not decoded. None if the value is not a list, or has more than `max` items, which are
/// then not collected.
pub(super) fn items(raw: &RawValue, max: usize) -> Option<Vec<&RawValue>> {
    struct ItemsVisitor(usize);

    impl<'a> Visitor<'a> for ItemsVisitor {
        type Value = Vec<&'a RawValue>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a list of bounded length")
        }

        fn visit_seq<A: SeqAccess<'a>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut items = Vec::new();
            while let Some(item) = list.next_element()? {
                if items.len() == self.0 {
                    return Err(de::Error::custom("too many items"));
                }
                items.push(item);
            }
            Ok(items)
        }
    }

    serde_json::Deserializer::from_str(raw.get()).deserialize_seq(ItemsVisitor(max)).ok()
}

/// Decodes a JSON string; none for any other JSON value.
fn text_of(json: &str) -> Option<String> {
    serde_json::from_str(json).ok()
}

/// The text of a field with unstorable characters replaced, and whether it is complete.
fn storable_text(raw: &RawValue) -> Option<(String, bool)> {
    let clean = storable(raw.get());
    Some((text_of(&clean)?, matches!(clean, Cow::Borrowed(_))))
}

fn parse<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Option<T> {
    serde_json::from_str(raw.get()).ok()
}
