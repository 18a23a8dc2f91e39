//! The `Idempotency-Key`: reading it, and the response to a request whose command another request owns or has
//! answered.

use axum::Json;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use utoipa::IntoParams;

use crate::http::error::{ApiError, ApiResult};
use crate::http::request::ValueError;
use crate::store::triggers::TriggerClaim;

const MAX_KEY_LENGTH: usize = 255;

/// The header that identifies repeated requests of the same command.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(crate) struct IdempotencyHeader {
    /// 1 to 255 visible characters of ASCII; honoured for 24 hours
    #[param(rename = "Idempotency-Key", min_length = 1, max_length = 255, pattern = "^[!-~]([ -~]*[!-~])?$")]
    pub key: Option<String>,
}

impl IdempotencyHeader {
    pub(crate) fn read(headers: &HeaderMap) -> ApiResult<Self> {
        let Some(key) = headers.get("idempotency-key") else {
            return Ok(Self { key: None });
        };
        let key = key.to_str().ok().filter(|key| (1..=MAX_KEY_LENGTH).contains(&key.len()));
        let key =
            key.ok_or(ApiError::BadRequest("The Idempotency-Key must be 1 to 255 visible ASCII characters"))?;
        Ok(Self { key: Some(key.to_owned()) })
    }
}

/// Returns the response to a request that does not own its command.
pub(crate) fn repeated_response(claim: TriggerClaim) -> ApiResult<Response> {
    match claim {
        TriggerClaim::Answered(status, body) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::CREATED);
            Ok((status, Json(body)).into_response())
        }
        TriggerClaim::KeyReused => {
            let message = "the Idempotency-Key was used with another body; choose a new key";
            let error = ValueError::new("value_error.idempotency_key", message);
            Err(ApiError::Invalid(vec![error.at(&["body"])]))
        }
        TriggerClaim::Claimed(_) | TriggerClaim::Busy => Err(ApiError::OutcomeUnknown),
    }
}
