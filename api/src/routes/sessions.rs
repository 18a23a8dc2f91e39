//! Browser sessions: a key is exchanged for a cookie, so that a page need not keep the key.

use axum::Json;
use axum::extract::{FromRequest, Request, State};
use axum::http::header::{SET_COOKIE, USER_AGENT};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::IntoResponse;
use chrono::{DateTime, Utc};
use contract::events::UserRef;
use contract::ids::{KeyId, SessionId, UserId};
use platform::audit::{self, Action, Actor, AuditEvent};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::me::Myself;
use crate::auth::sessions::{Cookie, new_secret};
use crate::auth::{Caller, CurrentSession, count_sign_in, keys};
use crate::http::BASE_PATH;
use crate::http::error::{ApiError, ApiResult};
use crate::http::pagination::{PageResponse, RequestUri, read_paging};
use crate::http::request::{Body, Id, Query, body};
use crate::oidc;
use crate::state::App;
use crate::store::sessions::{self, NewSession, SessionEntry};

/// The most characters that are kept of what a browser calls itself.
const MAX_USER_AGENT: usize = 300;

/// A key to be exchanged for a session.
#[derive(ToSchema)]
pub(super) struct SignIn {
    #[expect(dead_code, reason = "only its schema is used")]
    #[schema(min_length = 1, max_length = 200, format = Password)]
    key: String,
}

/// Who is signed in, and until when.
#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
pub(super) struct SignedIn {
    user: Myself,
    /// When the session ends at the latest; without requests it ends sooner.
    expires_at: DateTime<Utc>,
    /// Whether the session only reads, as its key does.
    read_only: bool,
    /// The address that a browser opens after the session has ended, to sign out at the OpenID Connect
    /// provider too; null for a session that began with a key.
    sign_out_url: Option<String>,
}

/// A way to sign in.
#[derive(Serialize, ToSchema)]
pub(super) struct SessionProvider {
    /// `key`: a key is sent to `url`. `oidc`: the browser opens `url`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The name to show.
    name: String,
    url: String,
}

/// Sign in with a key.
#[utoipa::path(
    post, path = "/session", operation_id = "post_session", tag = "Sessions", request_body = SignIn,
    description = "Exchanges a key for a session. The cookie of the answer is good for every endpoint, the \
        event stream included; scripts of the page cannot read it. A write with it needs `Sec-Fetch-Site: \
        same-origin` or this service's `Origin`, which browsers send by themselves.",
    responses((status = 201, description = "Signed in", body = SignedIn, headers(("Set-Cookie" = String)))),
)]
pub(super) async fn create(State(app): State<App>, request: Request) -> ApiResult<impl IntoResponse> {
    let (parts, content) = request.into_parts();
    if app.authenticator.sessions.is_foreign(&parts.headers) {
        return Err(ApiError::Forbidden("Only a page of this service can sign in"));
    }
    let body = Body::from_request(Request::from_parts(parts.clone(), content), &app).await?;
    let mut fields = body.fields()?;
    let key = fields.required("key", body::text_of(1..=200));
    fields.finish()?;
    let access = app.authenticator.sign_in(&parts, key.unwrap_or_default().trim()).await;
    let access = access.inspect_err(|_| count_sign_in(false))?;
    let user = UserRef { id: access.user_id, name: access.user_name.clone() };
    let (cookie, expires_at) = begin(&app, &parts.headers, user.id, Some(access.key_id)).await?;
    let user = Myself { id: user.id, name: user.name, email: access.email };
    let signed_in = SignedIn { user, expires_at, read_only: access.is_read_only, sign_out_url: None };
    Ok((StatusCode::CREATED, [(SET_COOKIE, cookie)], Json(signed_in)))
}

/// Inserts a session, and returns the cookie with its secret, and its end.
pub(super) async fn begin(
    app: &App,
    headers: &HeaderMap,
    user: UserId,
    key: Option<KeyId>,
) -> ApiResult<(HeaderValue, DateTime<Utc>)> {
    let secret = new_secret();
    let user_agent = headers.get(USER_AGENT).map(|agent| String::from_utf8_lossy(agent.as_bytes()));
    let user_agent: Option<String> = user_agent.map(|agent| agent.chars().take(MAX_USER_AGENT).collect());
    let new = NewSession {
        user,
        key,
        sha256: keys::digest(&secret),
        user_agent: user_agent.as_deref(),
        lifetime: app.authenticator.sessions.lifetime(),
    };
    let mut tx = app.db.begin().await?;
    let (id, expires_at) = sessions::insert(&mut tx, &new).await?;
    let details = json!({"user_id": user, "key_id": key});
    let event = AuditEvent::new(Actor::User(user), Action::SessionCreated, id, details);
    audit::insert_for_user(&mut tx, user, &event).await?;
    tx.commit().await?;
    count_sign_in(true);
    let config = &app.authenticator.sessions;
    Ok((config.set_cookie(headers, Cookie::Session, &secret, config.lifetime()), expires_at))
}

/// Who is signed in with this session.
#[utoipa::path(
    get, path = "/session", operation_id = "get_session", tag = "Sessions",
    responses((status = 200, description = "Who, and until when", body = SignedIn),
              (status = 404, description = "The request has a key, and no session")),
)]
pub(super) async fn get(session: CurrentSession, State(app): State<App>) -> ApiResult<Json<SignedIn>> {
    let end = sessions::find_end(&app.db, session.id).await?;
    let (expires_at, is_of_provider) = end.ok_or(ApiError::Unauthorized)?;
    let sign_out_url =
        (is_of_provider && app.oidc.is_some()).then(|| format!("{BASE_PATH}{}", oidc::SIGN_OUT_PATH));
    let user = Myself { id: session.user.id, name: session.user.name, email: session.email };
    Ok(Json(SignedIn { user, expires_at, read_only: session.is_read_only, sign_out_url }))
}

/// Sign out.
#[utoipa::path(
    delete, path = "/session", operation_id = "delete_session", tag = "Sessions",
    responses((status = 204, description = "Signed out", headers(("Set-Cookie" = String))),
              (status = 404, description = "The request has a key, and no session")),
)]
pub(super) async fn delete(
    session: CurrentSession,
    State(app): State<App>,
    headers: HeaderMap,
) -> ApiResult<impl IntoResponse> {
    end_session(&app, &session.user, session.id).await?;
    let cookie = app.authenticator.sessions.remove_cookie(&headers, Cookie::Session);
    Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, cookie)]))
}

/// The ways to sign in.
#[utoipa::path(
    get, path = "/session/providers", operation_id = "get_session_providers", tag = "Sessions",
    responses((status = 200, description = "The ways to sign in", body = [SessionProvider])),
)]
pub(super) async fn list_providers(State(app): State<App>) -> Json<Vec<SessionProvider>> {
    let key =
        SessionProvider { kind: "key", name: "API key".to_owned(), url: format!("{BASE_PATH}/session") };
    let oidc = app.oidc.as_ref().map(|client| SessionProvider {
        kind: "oidc",
        name: client.name().to_owned(),
        url: format!("{BASE_PATH}{}", oidc::PATH),
    });
    Json(oidc.into_iter().chain([key]).collect())
}

/// List one's own sessions, newest first.
#[utoipa::path(
    get, path = "/sessions", operation_id = "get_sessions", tag = "Sessions",
    responses((status = 200, description = "Sessions", body = [SessionEntry])),
)]
pub(super) async fn list(
    caller: Caller,
    State(app): State<App>,
    uri: RequestUri,
    mut query: Query,
) -> ApiResult<PageResponse<SessionEntry>> {
    let page = read_paging(&mut query, uri, sessions::ORDER);
    query.finish()?;
    let idle = app.authenticator.sessions.idle();
    let rows = sessions::list(&app.db, caller.user.id, caller.session, idle, &page.paging).await?;
    Ok(PageResponse::new(rows, page))
}

/// End one of one's own sessions.
#[utoipa::path(
    delete, path = "/sessions/{session_id}", operation_id = "delete_sessions_by_session_id", tag = "Sessions",
    responses((status = 204, description = "Ended")),
)]
pub(super) async fn end(
    caller: Caller,
    State(app): State<App>,
    Id(session): Id<SessionId>,
) -> ApiResult<StatusCode> {
    end_session(&app, &caller.user, session).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn end_session(app: &App, user: &UserRef, session: SessionId) -> ApiResult<()> {
    let mut tx = app.db.begin().await?;
    if !sessions::delete(&mut tx, user.id, session).await? {
        return Err(ApiError::NotFound("Session"));
    }
    let event =
        AuditEvent::new(Actor::User(user.id), Action::SessionEnded, session, json!({"user_id": user.id}));
    audit::insert_for_user(&mut tx, user.id, &event).await?;
    Ok(tx.commit().await?)
}
