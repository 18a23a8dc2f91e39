//! A parameter that a run of a pipeline takes.

use serde::Serialize;
use serde_json::{Value, json};

use crate::connector::SecretKeys;

/// A parameter that a run of a pipeline takes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunParameter {
    pub name: String,
    /// The value in a run that is triggered without it.
    pub value: Value,
    pub description: Option<String>,
    /// A JSON Schema of its values; empty if any value is valid.
    pub schema: Value,
    /// Whether the value is secret, and therefore null here.
    pub is_redacted: bool,
}

impl RunParameter {
    /// Removes the value if the parameter, or a key in its value, is secret. Of the schema the type is kept.
    #[must_use]
    pub(crate) fn redacted(mut self, secret_keys: &SecretKeys) -> Self {
        if secret_keys.redact(&json!({ (self.name.as_str()): self.value }).to_string()).is_some() {
            self.value = Value::Null;
            self.schema = self.schema.get("type").map_or_else(|| json!({}), |kind| json!({ "type": kind }));
            self.is_redacted = true;
        }
        self
    }
}
