//! Breaking changes between two schemas of the same location: values that one side sends and the other no
//! longer accepts.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// The sender of the values that a schema describes.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Direction {
    /// The client sends them: all values that were accepted must be accepted.
    Request,
    /// The client reads them: all values that are sent must have been in the old schema.
    Response,
}

/// Keywords whose value may not change.
const FIXED: [&str; 5] = ["const", "format", "pattern", "propertyNames", "default"];
/// Keywords that accept less when they grow, in requests.
const LOWER_BOUNDS: [&str; 4] = ["minimum", "minLength", "minItems", "minProperties"];
/// Keywords that accept less when they shrink, in requests.
const UPPER_BOUNDS: [&str; 4] = ["maximum", "maxLength", "maxItems", "maxProperties"];

/// Follows references to the document's components.
pub(super) fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(target) => {
            let target = document.pointer(target.trim_start_matches('#'));
            resolve(document, target.expect("a reference leads to a component"))
        }
        None => value,
    }
}

/// The comparison of two documents' schemas in one direction.
pub(super) struct Comparison<'a> {
    pub old: &'a Value,
    pub new: &'a Value,
    pub direction: Direction,
    /// References that are being compared: a schema may contain itself.
    pub open: Vec<(Value, Value)>,
}

impl Comparison<'_> {
    /// Adds the breaking changes from the schema `was` to the schema `is`.
    pub(super) fn compare(&mut self, was: &Value, is: &Value, location: &str, found: &mut Vec<String>) {
        let references = (was["$ref"].clone(), is["$ref"].clone());
        if references.0.is_string() && self.open.contains(&references) {
            return;
        }
        self.open.push(references);
        self.keywords(&merged(self.old, was), &merged(self.new, is), location, found);
        self.open.pop();
    }

    fn keywords(&mut self, was: &Value, is: &Value, location: &str, found: &mut Vec<String>) {
        self.properties(was, is, location, found);
        required(was, is, self.direction, location, found);
        sets(was, is, self.direction, location, found);
        bounds(was, is, self.direction, location, found);
        for keyword in FIXED.into_iter().filter(|keyword| was[*keyword] != is[*keyword]) {
            found.push(format!("{location}: `{keyword}` was {} and is {}", was[keyword], is[keyword]));
        }
        for keyword in ["items", "additionalProperties"] {
            match (&was[keyword], &is[keyword]) {
                (was @ Value::Object(_), is @ Value::Object(_)) => {
                    self.compare(was, is, &format!("{location}/*"), found);
                }
                (was, is) if was != is => {
                    found.push(format!("{location}: `{keyword}` was {was} and is {is}"))
                }
                _ => {}
            }
        }
        for keyword in ["oneOf", "anyOf"] {
            self.alternatives(list(&was[keyword]), list(&is[keyword]), location, found);
        }
    }

    fn properties(&mut self, was: &Value, is: &Value, location: &str, found: &mut Vec<String>) {
        for (name, property) in was["properties"].as_object().into_iter().flatten() {
            let location = format!("{location}/{name}");
            match is["properties"].get(name) {
                Some(changed) => self.compare(property, changed, &location, found),
                None => found.push(format!("{location}: is removed")),
            }
        }
    }

    /// In a request, every old alternative must match a new one; in a response, every new alternative must
    /// match an old one.
    fn alternatives(&mut self, was: &[Value], is: &[Value], location: &str, found: &mut Vec<String>) {
        let direction = self.direction;
        let mut fits = |was: &Value, is: &Value| {
            let mut breaks = Vec::new();
            self.compare(was, is, location, &mut breaks);
            breaks.is_empty()
        };
        let unmatched = match direction {
            _ if was.is_empty() && is.is_empty() => None,
            Direction::Request => was.iter().find(|was| !is.iter().any(|is| fits(was, is))),
            Direction::Response => is.iter().find(|is| !was.iter().any(|was| fits(was, is))),
        };
        if let Some(unmatched) = unmatched {
            found.push(format!("{location}: no alternative fits {unmatched}"));
        }
    }
}

/// Returns a schema with its reference resolved and the parts of `allOf` merged.
fn merged(document: &Value, schema: &Value) -> Value {
    let mut whole = resolve(document, schema).as_object().cloned().unwrap_or_default();
    for part in whole.remove("allOf").as_ref().and_then(Value::as_array).into_iter().flatten() {
        let part = merged(document, part);
        for (keyword, value) in part.as_object().into_iter().flatten() {
            add(&mut whole, keyword, value);
        }
    }
    whole.into()
}

fn add(whole: &mut Map<String, Value>, keyword: &str, value: &Value) {
    match (whole.get_mut(keyword), value) {
        (Some(Value::Object(before)), Value::Object(more)) => before.extend(more.clone()),
        (Some(Value::Array(before)), Value::Array(more)) => before.extend(more.iter().cloned()),
        _ => {
            whole.insert(keyword.to_owned(), value.clone());
        }
    }
}

fn required(was: &Value, is: &Value, direction: Direction, location: &str, found: &mut Vec<String>) {
    let (was, is) = (values(&was["required"]), values(&is["required"]));
    let name = |name: &String| name.trim_matches('"').to_owned();
    match direction {
        Direction::Request => {
            found.extend(
                is.difference(&was).map(|it| format!("{location}/{}: is required, and was not", name(it))),
            );
        }
        Direction::Response => {
            let removed = was
                .difference(&is)
                .filter(|it| !found.contains(&format!("{location}/{}: is removed", name(it))));
            let removed: Vec<String> =
                removed.map(|it| format!("{location}/{}: is not required, and was", name(it))).collect();
            found.extend(removed);
        }
    }
}

/// Compares `type` and `enum`. Requests may accept more types, responses may not return more. A removed value
/// of an enumeration breaks both; an added one breaks neither, because clients accept unknown values.
fn sets(was: &Value, is: &Value, direction: Direction, location: &str, found: &mut Vec<String>) {
    let (types, words) = (values(&was["type"]), values(&was["enum"]));
    let (new_types, new_words) = (values(&is["type"]), values(&is["enum"]));
    let (missing, keyword): (Vec<&String>, &str) = match direction {
        Direction::Request => (types.difference(&new_types).collect(), "lacks"),
        Direction::Response => (new_types.difference(&types).collect(), "has"),
    };
    found.extend(missing.into_iter().map(|it| format!("{location}: `type` {keyword} {it}")));
    if new_words.is_empty() != words.is_empty() {
        found.push(format!("{location}: `enum` was {} and is {}", was["enum"], is["enum"]));
    } else {
        found.extend(words.difference(&new_words).map(|it| format!("{location}: `enum` lacks {it}")));
    }
}

fn bounds(was: &Value, is: &Value, direction: Direction, location: &str, found: &mut Vec<String>) {
    if direction == Direction::Response {
        return;
    }
    let number = |schema: &Value, keyword: &str, none: f64| schema[keyword].as_f64().unwrap_or(none);
    let lower = LOWER_BOUNDS
        .into_iter()
        .filter(|it| number(is, it, f64::NEG_INFINITY) > number(was, it, f64::NEG_INFINITY));
    let upper =
        UPPER_BOUNDS.into_iter().filter(|it| number(is, it, f64::INFINITY) < number(was, it, f64::INFINITY));
    for keyword in lower.chain(upper) {
        found.push(format!("{location}: `{keyword}` was {} and is {}", was[keyword], is[keyword]));
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Returns one value, or the values of a list, as JSON.
fn values(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Null => BTreeSet::new(),
        Value::Array(list) => list.iter().map(Value::to_string).collect(),
        one => BTreeSet::from([one.to_string()]),
    }
}
