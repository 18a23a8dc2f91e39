//! The body of a trigger request.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use provider::{MAX_RUN_ID_LENGTH, is_run_id};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use crate::http::error::ApiResult;
use crate::http::request::{LargeBody, ValueError, body};
use crate::store::schema::{JsonObject, TimeOrDate};

/// The provider stores 1000 characters of a note; the rest of them is for the signature.
const MAX_NOTE_LENGTH: usize = 700;

/// What is asked of a run.
#[derive(Debug, ToSchema)]
#[schema(as = TriggerWish)]
pub(crate) struct TriggerRequest {
    /// The parameters to give it
    #[schema(value_type = Option<JsonObject>)]
    pub conf: Arc<RawValue>,
    #[schema(value_type = Option<TimeOrDate>, inline)]
    pub logical_date: Option<DateTime<Utc>>,
    /// The provider's id for it; one is made when it is left out
    #[schema(min_length = 1, max_length = 250, pattern = "^(?!\\.{1,2}$)[A-Za-z0-9_.~:+-]+$")]
    pub run_id: Option<String>,
    #[schema(max_length = 700)]
    pub note: Option<String>,
}

impl TriggerRequest {
    pub(crate) fn read(body: LargeBody) -> ApiResult<Self> {
        let (mut fields, conf) = body.optional_fields("conf")?;
        let request = Self {
            conf: match fields.object_text("conf", conf) {
                Some(conf) => conf.into(),
                None => RawValue::from_string("{}".to_owned())?.into(),
            },
            logical_date: fields.optional("logical_date", body::time),
            run_id: fields.optional("run_id", run_id),
            note: fields.optional("note", body::text_of(0..=MAX_NOTE_LENGTH)),
        };
        fields.finish()?;
        Ok(request)
    }

    /// Returns the digest by which repeated requests are recognized.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let others = json!([self.logical_date, self.run_id, self.note]);
        Sha256::new().chain_update(self.conf.get()).chain_update(others.to_string()).finalize().into()
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
