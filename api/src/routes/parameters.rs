//! The parameters that a run of a pipeline takes. They are read from the provider on every request, because
//! no list that a sync reads has them.

use std::time::Duration;

use axum::extract::State;
use axum::{Extension, Json};
use contract::events::Source;
use contract::ids::PipelineId;
use provider::RunParameter;
use provider::connector::ConnectorType;
use serde::Serialize;
use serde_json::Value;
use tokio::time::timeout_at;
use utoipa::ToSchema;

use crate::auth::{Forbidden, SpaceEditor};
use crate::http::error::{ApiError, ApiResult};
use crate::http::middleware::RequestStart;
use crate::http::request::Id;
use crate::state::App;
use crate::store::connectors::{self, StoredConnectorRow};
use crate::store::triggers;

/// The time that the provider has for its answer, logging in included.
const PROVIDER_TIMEOUT: Duration = Duration::from_secs(10);

/// The parameters that a run of a pipeline takes.
#[derive(Serialize, ToSchema)]
#[schema(as = Parameters)]
pub(super) struct PipelineParameters {
    /// Null when they cannot be read. A run can be triggered with any `conf` all the same.
    parameters: Option<Vec<PipelineParameter>>,
    /// Why they cannot be read; null when they can.
    error: Option<String>,
}

/// A parameter that a run takes in its `conf`.
#[derive(Serialize, ToSchema)]
#[schema(as = Parameter)]
struct PipelineParameter {
    name: String,
    /// The value in a run that is triggered without it.
    value: Value,
    description: Option<String>,
    /// The JSON Schema of its values, as the provider has it; empty if any value is valid.
    #[schema(value_type = Object)]
    schema: Value,
    /// Whether the value is secret by the connector's `redact_conf`, and therefore null here.
    is_redacted: bool,
}

impl From<RunParameter> for PipelineParameter {
    fn from(parameter: RunParameter) -> Self {
        let RunParameter { name, value, description, schema, is_redacted } = parameter;
        Self { name, value, description, schema, is_redacted }
    }
}

/// Read the parameters that a run of a pipeline takes from the provider.
#[utoipa::path(
    get, path = "/pipelines/{pipeline_id}/parameters",
    operation_id = "get_pipelines_by_pipeline_id_parameters", tag = "Pipelines",
    responses(
        (status = 200, description = "The parameters, or why they cannot be read", body = PipelineParameters),
        (status = 403, response = Forbidden),
    ),
)]
pub(super) async fn get(
    space: SpaceEditor,
    State(app): State<App>,
    Extension(RequestStart(started_at)): Extension<RequestStart>,
    Id(pipeline): Id<PipelineId>,
) -> ApiResult<Json<PipelineParameters>> {
    let found = triggers::find_target(&app.db, space.space, pipeline).await?;
    let target = found.ok_or(ApiError::NotFound("Pipeline"))?;
    let connector = target.connector_id;
    let stored = match target.connector_type {
        ConnectorType::Airflow if target.is_connector_active => {
            connectors::find_stored(&app.db, space.space, connector).await?
        }
        _ => None,
    };
    let Some(stored) = stored else {
        return Ok(response(Err("The connector is switched off, or no Airflow connector.".to_owned())));
    };
    let source = Source { space: space.slug.clone(), connector_id: connector };
    let limit = PROVIDER_TIMEOUT.min(app.provider_time_limit());
    let read = read_parameters(&app, stored, source, &target.external_id);
    let read = timeout_at(started_at + limit, read).await;
    Ok(response(read.unwrap_or_else(|_| Err(format!("The provider gave no answer within {limit:.0?}.")))))
}

/// Reads the parameters from the provider; the error is for people.
async fn read_parameters(
    app: &App,
    stored: StoredConnectorRow,
    source: Source,
    pipeline: &str,
) -> Result<Vec<RunParameter>, String> {
    let opened = stored.open(source.connector_id, &app.keyring);
    let (config, secrets) = opened.map_err(|error| error.to_string())?;
    let opened = provider::open_with_timeout(&config, &secrets, source, &app.network, PROVIDER_TIMEOUT);
    let provider = opened.map_err(|error| error.to_string())?;
    let found = provider.parameters(pipeline).await.map_err(|error| error.to_string())?;
    found.ok_or_else(|| "The provider no longer has the pipeline.".to_owned())
}

fn response(read: Result<Vec<RunParameter>, String>) -> Json<PipelineParameters> {
    let (parameters, error) = match read {
        Ok(parameters) => (Some(parameters.into_iter().map(PipelineParameter::from).collect()), None),
        Err(error) => (None, Some(error)),
    };
    Json(PipelineParameters { parameters, error })
}
