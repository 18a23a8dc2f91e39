//! Connectors: list, create, change, delete and test them. Secrets are write-only.

mod credentials;
mod input;

use std::time::Instant;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::{Extension, Json};
use contract::events::Source;
use contract::ids::ConnectorId;
use provider::connector::ConnectorType;
use provider::{self, CheckFailure, ProviderError};
use serde::Serialize;
use tokio::time::timeout_at;
use utoipa::ToSchema;

use self::input::ConnectorLimits;
use crate::auth::{Forbidden, SpaceAdmin, SpaceEditor, SpaceViewer};
use crate::http::BASE_PATH;
use crate::http::error::{ApiError, ApiResult};
use crate::http::middleware::RequestStart;
use crate::http::pagination::{PageResponse, RequestUri, read_paging};
use crate::http::request::{Body, Id, Query, ValueError};
use crate::state::App;
use crate::store::connectors::{self, Connector, SaveConnectorError, StoredConnectorRow};

impl From<SaveConnectorError> for ApiError {
    fn from(error: SaveConnectorError) -> Self {
        match error {
            SaveConnectorError::NameTaken => {
                Self::Conflict("The space has a connector of this name already; choose another")
            }
            SaveConnectorError::TooMany => Self::Conflict(
                "The space has as many connectors as this installation allows; delete one first",
            ),
            SaveConnectorError::CredentialsRequired => {
                let message =
                    "field required: another origin, or an unverified one, needs the credentials again";
                Self::Invalid(vec![
                    ValueError::new("value_error.missing", message).at(&["body", "credentials"]),
                ])
            }
            SaveConnectorError::Database(error) => error.into(),
            SaveConnectorError::Seal(error) => error.into(),
            SaveConnectorError::Json(error) => error.into(),
        }
    }
}

/// List the connectors of the space, by name.
#[utoipa::path(
    get, path = "", operation_id = "get_connectors", tag = "Connectors",
    responses((status = 200, description = "Connectors", body = [Connector])),
)]
pub(super) async fn list(
    space: SpaceViewer,
    State(app): State<App>,
    uri: RequestUri,
    mut query: Query,
) -> ApiResult<PageResponse<Connector>> {
    let page = read_paging(&mut query, uri, connectors::ORDER);
    query.finish()?;
    let rows = connectors::list(&app.db, space.space, &page.paging).await?;
    Ok(PageResponse::new(rows, page))
}

/// One connector.
#[utoipa::path(
    get, path = "/{connector_id}", operation_id = "get_connectors_by_connector_id", tag = "Connectors",
    responses((status = 200, description = "The connector", body = Connector)),
)]
pub(super) async fn get(
    space: SpaceViewer,
    State(app): State<App>,
    Id(connector): Id<ConnectorId>,
) -> ApiResult<Json<Connector>> {
    let found = connectors::find(&app.db, space.space, connector).await?;
    found.map(Json).ok_or(ApiError::NotFound("Connector"))
}

/// Make a connector.
#[utoipa::path(
    post, path = "", operation_id = "post_connectors", tag = "Connectors",
    request_body = ref("#/components/schemas/NewConnector"),
    responses(
        (status = 201, description = "The connector", body = Connector, headers(("Location" = String))),
        (status = 403, response = Forbidden),
        (status = 409, description = "The name is taken, or the space has as many connectors as it may"),
    ),
)]
pub(super) async fn create(
    space: SpaceEditor,
    State(app): State<App>,
    body: Body,
) -> ApiResult<impl IntoResponse> {
    let new = input::read_new(body.fields()?, ConnectorLimits::of(&app))?;
    let id = connectors::insert(&app.db, &app.keyring, space.space, space.user.id, &new, app.quotas).await?;
    let created = connectors::find(&app.db, space.space, id).await?;
    let created = created.ok_or(ApiError::NotFound("Connector"))?;
    let location = format!("{BASE_PATH}/catalog/spaces/{}/connectors/{id}", space.slug);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(created)))
}

/// Change a connector. What is left out stays; `config` is changed field by field, `credentials` as a whole.
///
/// A `base_url` of another origin, and `verify_tls` switched off, need `credentials` in the same body, unless
/// the connector has none.
#[utoipa::path(
    patch, path = "/{connector_id}", operation_id = "patch_connectors_by_connector_id", tag = "Connectors",
    request_body = ref("#/components/schemas/ConnectorChange"),
    responses(
        (status = 200, description = "The connector", body = Connector),
        (status = 403, response = Forbidden),
        (status = 409, description = "The name is taken"),
    ),
)]
pub(super) async fn update(
    space: SpaceEditor,
    State(app): State<App>,
    Id(connector): Id<ConnectorId>,
    body: Body,
) -> ApiResult<Json<Connector>> {
    let found = connectors::find_stored(&app.db, space.space, connector).await?;
    let before = found.ok_or(ApiError::NotFound("Connector"))?;
    let mut fields = body.fields()?;
    let change = input::read_change(&mut fields, &before, ConnectorLimits::of(&app));
    fields.finish()?;
    let (db, keyring, user) = (&app.db, &app.keyring, space.user.id);
    if !connectors::update(db, keyring, space.space, user, connector, &change).await? {
        return Err(ApiError::NotFound("Connector"));
    }
    let changed = connectors::find(&app.db, space.space, connector).await?;
    changed.map(Json).ok_or(ApiError::NotFound("Connector"))
}

/// Delete a connector. Its pipelines stay readable, no longer active.
#[utoipa::path(
    delete, path = "/{connector_id}", operation_id = "delete_connectors_by_connector_id", tag = "Connectors",
    responses((status = 204, description = "Gone"), (status = 403, response = Forbidden)),
)]
pub(super) async fn delete(
    space: SpaceAdmin,
    State(app): State<App>,
    Id(connector): Id<ConnectorId>,
) -> ApiResult<StatusCode> {
    if !connectors::delete(&app.db, space.space, space.user.id, connector).await? {
        return Err(ApiError::NotFound("Connector"));
    }
    Ok(StatusCode::NO_CONTENT)
}

/// How a test of a connector went.
#[derive(Serialize, ToSchema)]
#[schema(as = Tested)]
pub(super) struct ConnectorTest {
    pub success: bool,
    /// Which of the lists failed and what to do about it, when the test failed.
    pub message: String,
    pub provider_version: Option<String>,
    /// How long the whole test took, in milliseconds; null when nothing came back.
    pub latency_ms: Option<u64>,
}

/// Ask the provider behind a connector once for all that a sync reads, with the connector's credentials.
#[utoipa::path(
    post, path = "/{connector_id}/test", operation_id = "post_connectors_by_connector_id_test",
    tag = "Connectors",
    responses(
        (status = 200, description = "How it went", body = ConnectorTest),
        (status = 400, description = "Not an Airflow connector"),
        (status = 403, response = Forbidden),
    ),
)]
pub(super) async fn test(
    space: SpaceEditor,
    State(app): State<App>,
    Extension(RequestStart(started_at)): Extension<RequestStart>,
    Id(connector): Id<ConnectorId>,
) -> ApiResult<Json<ConnectorTest>> {
    let found = connectors::find_stored(&app.db, space.space, connector).await?;
    let stored = found.ok_or(ApiError::NotFound("Connector"))?;
    if stored.connector_type != ConnectorType::Airflow {
        return Err(ApiError::BadRequest("Only Airflow connectors are supported"));
    }
    let source = Source { space: space.slug.clone(), connector_id: connector };
    let check_start = Instant::now();
    let limit = app.provider_time_limit();
    let checked = timeout_at(started_at + limit, check_provider(&app, stored, source)).await;
    let checked = checked.unwrap_or_else(|_| {
        Err(FailedCheck::before_any_answer(format!("The provider gave no answer within {limit:.0?}")))
    });
    let latency_ms = u64::try_from(check_start.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(Json(match checked {
        Ok(version) => ConnectorTest {
            success: true,
            message: format!("Airflow {version} answers, and all that a sync reads can be read."),
            provider_version: Some(version),
            latency_ms: Some(latency_ms),
        },
        Err(FailedCheck { message, version }) => ConnectorTest {
            success: false,
            message,
            latency_ms: version.is_some().then_some(latency_ms),
            provider_version: version,
        },
    }))
}

struct FailedCheck {
    message: String,
    /// The version of the provider, if it gave one.
    version: Option<String>,
}

impl FailedCheck {
    fn before_any_answer(message: impl ToString) -> Self {
        Self { message: message.to_string(), version: None }
    }
}

/// Requests all that a sync needs; returns the version of the provider.
async fn check_provider(
    app: &App,
    stored: StoredConnectorRow,
    source: Source,
) -> Result<String, FailedCheck> {
    let opened = stored.open(source.connector_id, &app.keyring);
    let (config, credentials) = opened.map_err(FailedCheck::before_any_answer)?;
    // A request that hangs is named, and the others have their time, too.
    let timeout = app.request_timeout.mul_f64(0.4);
    let opened = provider::open_with_timeout(&config, &credentials, source, &app.network, timeout);
    let opened = opened.map_err(FailedCheck::before_any_answer)?;
    let checked = provider::check(opened.as_ref()).await;
    checked
        .map_err(|CheckFailure { version, errors }| FailedCheck { message: one_sentence(&errors), version })
}

/// Joins errors, each of which is a sentence.
fn one_sentence(errors: &[ProviderError]) -> String {
    let sentences: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let clauses: Vec<&str> = sentences.iter().map(|sentence| sentence.trim_end_matches('.')).collect();
    format!("{}.", clauses.join("; besides: "))
}
