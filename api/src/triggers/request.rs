//! The body of a trigger request.

use chrono::{DateTime, Utc};
use provider::{MAX_RUN_ID_LENGTH, is_run_id};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use crate::http::error::ApiResult;
use crate::http::request::{Fields, ValueError, body};
use crate::store::schema::{JsonObject, TimeOrDate};

/// The provider stores 1000 characters of a note; the rest of them is for the signature.
const MAX_NOTE_LENGTH: usize = 700;

/// What is asked of a run.
#[derive(Debug, ToSchema)]
#[schema(as = TriggerWish)]
pub(crate) struct TriggerRequest {
    /// The parameters to give it
    #[schema(value_type = Option<JsonObject>)]
    pub conf: Value,
    #[schema(value_type = Option<TimeOrDate>, inline)]
    pub logical_date: Option<DateTime<Utc>>,
    /// The provider's id for it; one is made when it is left out
    #[schema(min_length = 1, max_length = 250, pattern = "^(?!\\.{1,2}$)[A-Za-z0-9_.~:+-]+$")]
    pub run_id: Option<String>,
    #[schema(max_length = 700)]
    pub note: Option<String>,
}

impl TriggerRequest {
    pub(crate) fn read(mut fields: Fields) -> ApiResult<Self> {
        let request = Self {
            conf: Value::Object(fields.optional("conf", body::storable_object).unwrap_or_default()),
            logical_date: fields.optional("logical_date", body::time),
            run_id: fields.optional("run_id", run_id),
            note: fields.optional("note", body::text_of(0..=MAX_NOTE_LENGTH)),
        };
        fields.finish()?;
        Ok(request)
    }

    /// Returns the digest by which repeated requests are recognized.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let content = json!([self.conf, self.logical_date, self.run_id, self.note]);
        Sha256::digest(content.to_string()).into()
    }
}

/// Reads a run id that every supported provider accepts.
fn run_id(value: Value) -> Result<String, ValueError> {
    let id = body::text_of(1..=MAX_RUN_ID_LENGTH)(value)?;
    if is_run_id(&id) {
        return Ok(id);
    }
    let message = "string does not match regex \"^(?!\\.{1,2}$)[A-Za-z0-9_.~:+-]+$\"";
    Err(ValueError::new("value_error.str.regex", message))
}
