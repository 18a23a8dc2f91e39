//! Connectors: made, changed, deleted, tested. Secrets go in here and never come out again.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::anyhow;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::{Extension, Json};
use contract::events::Source;
use contract::ids::ConnectorId;
use provider::connector::{AIRFLOW, ConnectorConfig, Credentials, Secrets, check_header, parse_schedule};
use provider::{self, NetworkPolicy, check_base_url};
use secrecy::SecretString;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::timeout_at;
use url::Url;
use utoipa::ToSchema;

use super::BASE;
use crate::auth::{SpaceAdmin, SpaceEditor, SpaceViewer};
use crate::http::error::{ApiError, ApiResult};
use crate::http::middleware::Begun;
use crate::http::pagination::{Page, Paging, Target};
use crate::http::request::{Body, Fields, Id, Query, Wrong, body};
use crate::state::App;
use crate::store::connectors::{self, Connector, ConnectorChange, NewConnector, Opening};

/// How many headers may be sent besides.
pub const MOST_HEADERS: usize = 20;

/// List the connectors of the space, by name.
#[utoipa::path(get, path = "", responses((status = 200, description = "Connectors", body = [Connector])))]
pub async fn list(
    space: SpaceViewer,
    State(app): State<App>,
    target: Target,
    mut query: Query,
) -> ApiResult<Page<Connector>> {
    let paging = Paging::read(&mut query);
    query.finish()?;
    let rows = connectors::list(&app.db, space.space, paging).await?;
    Ok(Page::new(rows, paging, target))
}

/// One connector.
#[utoipa::path(get, path = "/{connector_id}", responses((status = 200, description = "The connector", body = Connector)))]
pub async fn show(
    space: SpaceViewer,
    State(app): State<App>,
    Id(connector): Id<ConnectorId>,
) -> ApiResult<Json<Connector>> {
    let found = connectors::get(&app.db, space.space, connector).await?;
    found.map(Json).ok_or(ApiError::NotFound("Connector"))
}

/// Make a connector.
#[utoipa::path(post, path = "", request_body = ref("#/components/schemas/NewConnector"), responses((status = 201, description = "The connector", body = Connector), (status = 409, description = "The name is taken")))]
pub async fn create(space: SpaceEditor, State(app): State<App>, body: Body) -> ApiResult<impl IntoResponse> {
    let mut fields = body.fields()?;
    let name = fields.required("name", body::text_of(1..=200));
    let connector_type = fields.required("connector_type", body::text_of(1..=100));
    let is_active = fields.optional("is_active", body::boolean).unwrap_or(true);
    let config = match connector_type.as_deref() {
        Some(AIRFLOW) => {
            read_airflow(&mut fields, true, app.network).as_ref().map(connectors::complete_config)
        }
        _ => Some(Value::Object(fields.optional("config", body::storable_object).unwrap_or_default())),
    };
    let credentials = match fields.has_value("credentials") {
        true => read_credentials(&mut fields),
        false => Some(Secrets::default()),
    };
    fields.finish()?;
    let (Some(name), Some(connector_type), Some(config), Some(credentials)) =
        (name, connector_type, config, credentials)
    else {
        return Err(ApiError::Internal);
    };
    let new = NewConnector { name: name.trim().to_owned(), connector_type, is_active, config, credentials };
    let id = connectors::create(&app.db, &app.keyring, space.space, space.user.id, &new).await?;
    let made = connectors::get(&app.db, space.space, id).await?.ok_or(ApiError::NotFound("Connector"))?;
    let location = format!("{BASE}/catalog/spaces/{}/connectors/{id}", space.slug);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(made)))
}

/// Change a connector. What is left out stays; `config` is changed field by field, `credentials` as a whole.
#[utoipa::path(patch, path = "/{connector_id}", request_body = ref("#/components/schemas/ConnectorChange"), responses((status = 200, description = "The connector", body = Connector), (status = 409, description = "The name is taken")))]
pub async fn update(
    space: SpaceEditor,
    State(app): State<App>,
    Id(connector): Id<ConnectorId>,
    body: Body,
) -> ApiResult<Json<Connector>> {
    let found = connectors::opening(&app.db, space.space, connector).await?;
    let now = found.ok_or(ApiError::NotFound("Connector"))?;
    let mut fields = body.fields()?;
    let change = read_change(&mut fields, &now, app.network);
    fields.finish()?;
    let (db, keyring, user) = (&app.db, &app.keyring, space.user.id);
    if !connectors::update(db, keyring, space.space, user, connector, &change).await? {
        return Err(ApiError::NotFound("Connector"));
    }
    let changed = connectors::get(&app.db, space.space, connector).await?;
    changed.map(Json).ok_or(ApiError::NotFound("Connector"))
}

/// Delete a connector. Its pipelines stay readable, no longer active.
#[utoipa::path(delete, path = "/{connector_id}", responses((status = 204, description = "Gone")))]
pub async fn delete(
    space: SpaceAdmin,
    State(app): State<App>,
    Id(connector): Id<ConnectorId>,
) -> ApiResult<StatusCode> {
    match connectors::delete(&app.db, space.space, space.user.id, connector).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(ApiError::NotFound("Connector")),
    }
}

/// How a test of a connector went.
#[derive(Serialize, ToSchema)]
pub struct Tested {
    pub success: bool,
    /// What to do about it, when it failed.
    pub message: String,
    pub provider_version: Option<String>,
    /// How long the provider took, in milliseconds; null when nothing came back.
    pub latency_ms: Option<u64>,
}

/// Ask the provider behind a connector who it is, with the connector's credentials.
#[utoipa::path(post, path = "/{connector_id}/test", responses((status = 200, description = "How it went", body = Tested), (status = 400, description = "Not an Airflow connector")))]
pub async fn test(
    space: SpaceEditor,
    State(app): State<App>,
    Extension(Begun(asked_at)): Extension<Begun>,
    Id(connector): Id<ConnectorId>,
) -> ApiResult<Json<Tested>> {
    let found = connectors::opening(&app.db, space.space, connector).await?;
    let opening = found.ok_or(ApiError::NotFound("Connector"))?;
    if opening.connector_type != AIRFLOW {
        return Err(ApiError::BadRequest("Only Airflow connectors are supported"));
    }
    let source = Source { space: space.slug.clone(), connector_id: connector };
    let begun = Instant::now();
    // So that the answer is here before the request is given up.
    let patience = app.time_out.mul_f64(0.9);
    let probed = timeout_at(asked_at + patience, probe(&app, opening, source)).await;
    let tested = match probed
        .unwrap_or_else(|_| Err(anyhow!("The provider gave no answer within {patience:.0?}")))
    {
        Ok(version) => Tested {
            success: true,
            message: format!("Airflow {version} answers and accepts the credentials."),
            provider_version: Some(version),
            latency_ms: Some(u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)),
        },
        Err(error) => {
            Tested { success: false, message: error.to_string(), provider_version: None, latency_ms: None }
        }
    };
    Ok(Json(tested))
}

async fn probe(app: &App, opening: Opening, source: Source) -> anyhow::Result<String> {
    let (config, credentials) = opening.open(source.connector_id, &app.keyring)?;
    let opened = provider::open(&config, &credentials, source, app.network)?;
    Ok(opened.probe().await?.version)
}

fn read_change(fields: &mut Fields, now: &Opening, network: NetworkPolicy) -> ConnectorChange {
    let name = fields.given("name", body::text_of(1..=200)).map(|name| name.trim().to_owned());
    let kind = fields.given("connector_type", body::text);
    if kind.is_some_and(|kind| kind != now.connector_type) {
        fields.fault(
            "connector_type",
            Wrong::new("value_error.const", "the type cannot be changed; make another connector"),
        );
    }
    let config = match fields.has("config") {
        false => None,
        true if now.connector_type == AIRFLOW => read_airflow(fields, false, network),
        true => fields.given("config", body::storable_object).map(Value::Object),
    };
    let credentials = if fields.has("credentials") { read_credentials(fields) } else { None };
    ConnectorChange { name, is_active: fields.given("is_active", body::boolean), config, credentials }
}

/// What is given of an airflow connector's configuration.
fn read_airflow(fields: &mut Fields, is_new: bool, network: NetworkPolicy) -> Option<Value> {
    let mut given = fields.object("config")?;
    let mut config = json!({});
    let base_url = match is_new {
        true => given.required("base_url", |value| base_url(value, network)),
        false => given.given("base_url", |value| base_url(value, network)),
    };
    let api_version = given.given("api_version", body::word(&["auto", "v1", "v2"]));
    let verify_tls = given.given("verify_tls", body::boolean);
    let mut number =
        |name, range| (name, given.given(name, body::integer(range)).map(|number| json!(number)));
    let read = [
        number("history_days", ConnectorConfig::HISTORY_DAYS),
        number("max_requests_in_flight", ConnectorConfig::MAX_REQUESTS_IN_FLIGHT),
        number("max_requests_per_second", ConnectorConfig::MAX_REQUESTS_PER_SECOND),
        ("base_url", base_url),
        ("api_version", api_version.map(|word| json!(word))),
        ("verify_tls", verify_tls.map(|verify| json!(verify))),
    ];
    for (name, value) in read {
        if let Some(value) = value {
            config[name] = value;
        }
    }
    if given.has("schedule") {
        config["schedule"] = given.optional("schedule", schedule).unwrap_or_default();
    }
    given.refuse_rest();
    fields.absorb(given);
    Some(config)
}

/// Stored as it was written; what it leads to is checked again at every connection.
fn base_url(value: Value, network: NetworkPolicy) -> Result<Value, Wrong> {
    let text = body::text_of(1..=2000)(value)?;
    let url = Url::parse(&text).map_err(|_| Wrong::new("value_error.url", "invalid or missing URL"))?;
    check_base_url(&url, network).map_err(|error| Wrong::new("value_error.url", error.to_string()))?;
    Ok(Value::String(text))
}

fn schedule(value: Value) -> Result<Value, Wrong> {
    let line = body::text_of(1..=200)(value)?;
    parse_schedule(&line).map_err(|message| Wrong::new("value_error.cron", message))?;
    Ok(Value::String(line))
}

fn read_credentials(fields: &mut Fields) -> Option<Secrets> {
    let mut given = fields.object("credentials")?;
    let headers = given.optional("headers", headers).unwrap_or_default();
    let secret = || body::text_of(0..=10_000);
    let credentials = match given.required("auth_type", body::word(&["basic", "token", "none"])) {
        Some("basic") => {
            let username = given.required("username", body::text_of(1..=500));
            let password = given.required("password", secret());
            username
                .zip(password)
                .map(|(username, password)| Credentials::Basic { username, password: password.into() })
        }
        Some("token") => given
            .required("token", body::text_of(1..=10_000))
            .map(|token| Credentials::Token { token: token.into() }),
        Some(_) => Some(Credentials::None),
        None => None,
    };
    if credentials.is_some() {
        given.refuse_rest();
    }
    fields.absorb(given);
    credentials.map(|credentials| Secrets { credentials, headers })
}

/// Headers by name; what is wrong with one is told without its value.
fn headers(value: Value) -> Result<BTreeMap<String, SecretString>, Wrong> {
    let given = body::storable_object(value)?;
    if given.len() > MOST_HEADERS {
        let message = format!("ensure this value has at most {MOST_HEADERS} items");
        return Err(Wrong::new("value_error.list.max_items", message));
    }
    let header = |(name, value): (String, Value)| {
        let value = body::text_of(1..=10_000)(value)?;
        check_header(&name, &value).map_err(|wrong| Wrong::new("value_error.header", wrong))?;
        Ok((name, value.into()))
    };
    given.into_iter().map(header).collect()
}
