//! Connectors: list, create, change, delete and test them. Secrets are write-only.

use std::collections::BTreeMap;
use std::time::Instant;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::{Extension, Json};
use contract::events::Source;
use contract::ids::ConnectorId;
use provider::connector::{
    ApiVersion, ConnectorConfig, ConnectorConfigPatch, ConnectorType, Credentials, Secrets, check_header,
    parse_schedule,
};
use provider::{self, CheckFailure, NetworkPolicy, ProviderError, check_base_url};
use secrecy::SecretString;
use serde::Serialize;
use serde_json::Value;
use tokio::time::timeout_at;
use url::Url;
use utoipa::ToSchema;

use crate::auth::{Forbidden, SpaceAdmin, SpaceEditor, SpaceViewer};
use crate::http::BASE_PATH;
use crate::http::error::{ApiError, ApiResult};
use crate::http::middleware::RequestStart;
use crate::http::pagination::{PageResponse, RequestUri, read_paging};
use crate::http::request::{Body, Fields, Id, Query, ValueError, body};
use crate::state::App;
use crate::store::connectors::{
    self, ConfigChange, Connector, ConnectorChange, MAX_EXTRA_HEADERS, NewConnector, SaveConnectorError,
    StoredConnectorRow,
};

const MAX_NAME_LENGTH: usize = 200;
const MAX_SECRET_LENGTH: usize = 10_000;

impl From<SaveConnectorError> for ApiError {
    fn from(error: SaveConnectorError) -> Self {
        match error {
            SaveConnectorError::NameTaken => {
                Self::Conflict("The space has a connector of this name already; choose another")
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
    let paging = read_paging(&mut query);
    query.finish()?;
    let rows = connectors::list(&app.db, space.space, paging).await?;
    Ok(PageResponse::new(rows, paging, uri))
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
        (status = 409, description = "The name is taken"),
    ),
)]
pub(super) async fn create(
    space: SpaceEditor,
    State(app): State<App>,
    body: Body,
) -> ApiResult<impl IntoResponse> {
    let new = read_new(body.fields()?, app.network)?;
    let id = connectors::insert(&app.db, &app.keyring, space.space, space.user.id, &new).await?;
    let created = connectors::find(&app.db, space.space, id).await?;
    let created = created.ok_or(ApiError::NotFound("Connector"))?;
    let location = format!("{BASE_PATH}/catalog/spaces/{}/connectors/{id}", space.slug);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(created)))
}

fn read_new(mut fields: Fields, network: NetworkPolicy) -> ApiResult<NewConnector> {
    let name = fields.required("name", body::text_of(1..=MAX_NAME_LENGTH));
    let connector_type = fields.required("connector_type", body::text_of(1..=100));
    let is_active = fields.optional("is_active", body::boolean).unwrap_or(true);
    let connector_type = connector_type.map(ConnectorType::from);
    let config = match connector_type {
        Some(ConnectorType::Airflow) => read_airflow(&mut fields, true, network),
        _ => {
            let config = fields.optional("config", body::storable_object).unwrap_or_default();
            Some(ConfigChange::Other(Value::Object(config)))
        }
    };
    let credentials = if fields.has_value("credentials") {
        read_credentials(&mut fields)
    } else {
        Some(Secrets::default())
    };
    fields.finish()?;
    let (Some(name), Some(connector_type), Some(config), Some(credentials)) =
        (name, connector_type, config, credentials)
    else {
        return Err(ApiError::Internal);
    };
    Ok(NewConnector { name: name.trim().to_owned(), connector_type, is_active, config, credentials })
}

/// Change a connector. What is left out stays; `config` is changed field by field, `credentials` as a whole.
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
    let change = read_change(&mut fields, &before, app.network);
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
    // Shorter than the request time-out, so that the response can report it.
    let limit = app.request_timeout.mul_f64(0.9);
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
    let opened = provider::open_with_timeout(&config, &credentials, source, app.network, timeout);
    let opened = opened.map_err(FailedCheck::before_any_answer)?;
    let checked = provider::check(opened.as_ref()).await;
    let info = checked.map_err(|CheckFailure { info, errors }| FailedCheck {
        message: one_sentence(&errors),
        version: info.map(|info| info.version),
    })?;
    Ok(info.version)
}

/// Joins errors, each of which is a sentence.
fn one_sentence(errors: &[ProviderError]) -> String {
    let sentences: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let clauses: Vec<&str> = sentences.iter().map(|sentence| sentence.trim_end_matches('.')).collect();
    format!("{}.", clauses.join("; besides: "))
}

fn read_change(fields: &mut Fields, before: &StoredConnectorRow, network: NetworkPolicy) -> ConnectorChange {
    let name = fields.if_present("name", body::text_of(1..=MAX_NAME_LENGTH));
    let name = name.map(|name| name.trim().to_owned());
    let connector_type = fields.if_present("connector_type", body::text);
    if connector_type.is_some_and(|name| name != before.connector_type.as_str()) {
        let message = "the type cannot be changed; make another connector";
        fields.add_error("connector_type", ValueError::new("value_error.const", message));
    }
    let config = if !fields.has("config") {
        None
    } else if before.connector_type == ConnectorType::Airflow {
        read_airflow(fields, false, network)
    } else {
        let config = fields.if_present("config", body::storable_object);
        config.map(|config| ConfigChange::Other(Value::Object(config)))
    };
    let credentials = if fields.has("credentials") { read_credentials(fields) } else { None };
    ConnectorChange { name, is_active: fields.if_present("is_active", body::boolean), config, credentials }
}

/// Returns the given fields of an Airflow connector's configuration.
fn read_airflow(fields: &mut Fields, is_new: bool, network: NetworkPolicy) -> Option<ConfigChange> {
    let mut given = fields.object("config")?;
    let read_url = |value| base_url(value, network);
    let patch = ConnectorConfigPatch {
        base_url: if is_new {
            given.required("base_url", read_url)
        } else {
            given.if_present("base_url", read_url)
        },
        api_version: given.if_present("api_version", body::one_of(&ApiVersion::ALL)),
        verify_tls: given.if_present("verify_tls", body::boolean),
        history_days: given.if_present("history_days", body::integer(ConnectorConfig::HISTORY_DAYS)),
        max_requests_in_flight: given
            .if_present("max_requests_in_flight", body::integer(ConnectorConfig::MAX_REQUESTS_IN_FLIGHT)),
        max_requests_per_second: given
            .if_present("max_requests_per_second", body::integer(ConnectorConfig::MAX_REQUESTS_PER_SECOND)),
        schedule: given.has("schedule").then(|| given.optional("schedule", schedule)),
    };
    given.deny_unknown();
    fields.merge(given);
    Some(ConfigChange::Airflow(patch))
}

/// Reads a base URL, which is stored as it was given. Every connection checks the resolved address again.
fn base_url(value: Value, network: NetworkPolicy) -> Result<String, ValueError> {
    let text = body::text_of(1..=2000)(value)?;
    let url = Url::parse(&text).map_err(|_| ValueError::new("value_error.url", "invalid or missing URL"))?;
    check_base_url(&url, network).map_err(|error| ValueError::new("value_error.url", error.to_string()))?;
    Ok(text)
}

fn schedule(value: Value) -> Result<String, ValueError> {
    let line = body::text_of(1..=200)(value)?;
    parse_schedule(&line).map_err(|message| ValueError::new("value_error.cron", message))?;
    Ok(line)
}

fn read_credentials(fields: &mut Fields) -> Option<Secrets> {
    let mut given = fields.object("credentials")?;
    let headers = given.optional("headers", headers).unwrap_or_default();
    let credentials = match given.required("auth_type", body::one_of(&["basic", "token", "none"])) {
        Some("basic") => {
            let username = given.required("username", body::text_of(1..=500));
            let password = given.required("password", body::text_of(0..=MAX_SECRET_LENGTH));
            username
                .zip(password)
                .map(|(username, password)| Credentials::Basic { username, password: password.into() })
        }
        Some("token") => given
            .required("token", body::text_of(1..=MAX_SECRET_LENGTH))
            .map(|token| Credentials::Token { token: token.into() }),
        Some(_) => Some(Credentials::None),
        None => None,
    };
    if credentials.is_some() {
        given.deny_unknown();
    }
    fields.merge(given);
    credentials.map(|credentials| Secrets { credentials, headers })
}

/// Reads extra headers by name. An error never contains the value, which may be a secret.
fn headers(value: Value) -> Result<BTreeMap<String, SecretString>, ValueError> {
    let given = body::storable_object(value)?;
    if given.len() > MAX_EXTRA_HEADERS {
        let message = format!("ensure this value has at most {MAX_EXTRA_HEADERS} items");
        return Err(ValueError::new("value_error.list.max_items", message));
    }
    let header = |(name, value): (String, Value)| {
        let value = body::text_of(1..=MAX_SECRET_LENGTH)(value)?;
        check_header(&name, &value).map_err(|message| ValueError::new("value_error.header", message))?;
        Ok((name, value.into()))
    };
    given.into_iter().map(header).collect()
}
