//! Authentication and authorization as extractors: a handler that takes a [`SpaceEditor`] runs for editors
//! and admins alone. The key in the header, or else the session in the cookie, and the `{slug}` in the path
//! become a user and a space, or a 401, 404 or 403.

pub mod access_cache;
pub mod client_address;
pub mod failed_attempts;
pub mod keys;
pub mod rate_limit;
pub mod sessions;

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use contract::events::UserRef;
use contract::ids::{KeyId, SessionId, SpaceId};
use contract::state::Role;
use sqlx::PgPool;
use utoipa::openapi::{RefOr, Response};

use crate::http::error::{ApiError, ApiResult};
use crate::http::rate_limit::RateLimitSlot;
use crate::http::request::path_parameter;
use crate::store::access::{self, Access, Credential};
use access_cache::AccessCache;
use client_address::TrustedProxies;
use failed_attempts::Precheck;
use rate_limit::KeyRateLimiter;
use sessions::{Cookie, SessionConfig};

const UNAUTHORIZED: &str = "orchestration_http_unauthorized_total";
const UNAUTHORIZED_REASONS: [&str; 4] = ["missing", "malformed", "invalid", "limited"];

const SIGN_INS: &str = "orchestration_sign_ins_total";

/// Describes the metrics of this module.
pub(crate) fn describe() {
    metrics::describe_counter!(UNAUTHORIZED, "Requests without a valid key or session, by reason");
    for reason in UNAUTHORIZED_REASONS {
        metrics::counter!(UNAUTHORIZED, "reason" => reason).increment(0);
    }
    metrics::describe_counter!(SIGN_INS, "Sign-ins with a browser, by outcome");
    for outcome in ["succeeded", "failed"] {
        metrics::counter!(SIGN_INS, "outcome" => outcome).increment(0);
    }
}

fn unauthorized(reason: &'static str) -> ApiError {
    metrics::counter!(UNAUTHORIZED, "reason" => reason).increment(1);
    ApiError::Unauthorized
}

/// Counts a sign-in with a browser.
pub(crate) fn count_sign_in(has_succeeded: bool) {
    let outcome = if has_succeeded { "succeeded" } else { "failed" };
    metrics::counter!(SIGN_INS, "outcome" => outcome).increment(1);
}

/// What the extractors need to check a key or a session.
pub struct Authenticator {
    pub db: PgPool,
    pub access: AccessCache,
    pub rate_limiter: KeyRateLimiter,
    pub sessions: SessionConfig,
    pub trusted_proxies: TrustedProxies,
}

/// The user of a valid key or session, independent of any space.
pub struct Caller {
    pub user: UserRef,
    pub email: String,
    pub key: KeyId,
    pub session: Option<SessionId>,
}

/// The session of the request. A read-only key's session may be read and ended as well.
pub struct CurrentSession {
    pub id: SessionId,
    pub user: UserRef,
    pub email: String,
    pub is_read_only: bool,
}

/// A user in a space that they are a member of.
#[derive(Clone, Debug)]
pub struct SpaceMember {
    pub space: SpaceId,
    pub slug: String,
    pub user: UserRef,
    pub role: Role,
    pub key: KeyId,
    credential: Credential,
}

/// A member who may read the space.
pub struct SpaceViewer(SpaceMember);

/// A member who may also comment, trigger, assign and sync.
pub struct SpaceEditor(SpaceMember);

/// A member who may also delete connectors and other users' comments.
pub struct SpaceAdmin(SpaceMember);

impl<S: Send + Sync> FromRequestParts<S> for Caller
where
    Arc<Authenticator>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let authenticator = Arc::<Authenticator>::from_ref(state);
        let credential = authenticator.credential(&parts.headers)?;
        let access = authenticator.authenticate(parts, credential, None).await?;
        check_may_write(parts, &access)?;
        let user = UserRef { id: access.user_id, name: access.user_name };
        Ok(Self { user, email: access.email, key: access.key_id, session: access.session_id })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for CurrentSession
where
    Arc<Authenticator>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let authenticator = Arc::<Authenticator>::from_ref(state);
        let credential = authenticator.credential(&parts.headers)?;
        let access = authenticator.authenticate(parts, credential, None).await?;
        let id = access.session_id.ok_or(ApiError::NotFound("Session"))?;
        let user = UserRef { id: access.user_id, name: access.user_name };
        Ok(Self { id, user, email: access.email, is_read_only: access.is_read_only })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for SpaceViewer
where
    Arc<Authenticator>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        authorize(parts, state, Role::Viewer).await.map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for SpaceEditor
where
    Arc<Authenticator>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        authorize(parts, state, Role::Editor).await.map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for SpaceAdmin
where
    Arc<Authenticator>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        authorize(parts, state, Role::Admin).await.map(Self)
    }
}

impl Deref for SpaceViewer {
    type Target = SpaceMember;
    fn deref(&self) -> &SpaceMember {
        &self.0
    }
}

impl Deref for SpaceEditor {
    type Target = SpaceMember;
    fn deref(&self) -> &SpaceMember {
        &self.0
    }
}

impl Deref for SpaceAdmin {
    type Target = SpaceMember;
    fn deref(&self) -> &SpaceMember {
        &self.0
    }
}

impl SpaceViewer {
    /// Returns whether the key or session is still valid and its user still a member. The check counts
    /// neither as a request nor as a use.
    pub async fn is_still_member(&self, authenticator: &Authenticator) -> sqlx::Result<bool> {
        let access = authenticator.find_access(self.credential, Some(&self.slug)).await?;
        Ok(access.is_some_and(|access| access.space_id == Some(self.space) && access.role.is_some()))
    }
}

impl Authenticator {
    /// Returns what a request authenticates with. A header wins over a cookie, also with a wrong key.
    fn credential(&self, headers: &HeaderMap) -> ApiResult<Credential> {
        if headers.contains_key(AUTHORIZATION) {
            return bearer(headers).map(key_credential).ok_or_else(|| unauthorized("malformed"));
        }
        let secret = self.sessions.read_cookie(headers, Cookie::Session);
        let secret = secret.ok_or_else(|| unauthorized("missing"))?;
        Ok(Credential::Session(keys::digest(secret)))
    }

    /// Finds the access of a key or session, and counts the request against its rate limit. A write with a
    /// session must come from a page of this service.
    async fn authenticate(
        &self,
        parts: &Parts,
        credential: Credential,
        slug: Option<&str>,
    ) -> ApiResult<Access> {
        let access = self.look_up(parts, credential, slug).await?;
        self.count(parts, &access).await?;
        if access.session_id.is_some() && is_write(parts) && !self.sessions.is_same_origin(&parts.headers) {
            return Err(ApiError::Forbidden(
                "A browser session writes only from pages of this service: the request has neither \
                 `Sec-Fetch-Site: same-origin` nor this service's `Origin`",
            ));
        }
        if access.is_use_due
            && let Err(error) = access::record_use(&self.db, &access).await
        {
            tracing::debug!(%error, "use of a key or session not recorded");
        }
        Ok(access)
    }

    /// Finds the access of a key that is exchanged for a session.
    pub async fn sign_in(&self, parts: &Parts, key: &str) -> ApiResult<Access> {
        if !keys::is_well_formed(key) {
            return Err(unauthorized("malformed"));
        }
        let access = self.look_up(parts, key_credential(key), None).await?;
        self.count(parts, &access).await?;
        Ok(access)
    }

    /// Finds the access of a key or session of a request, unless its address tries too many invalid ones.
    async fn look_up(&self, parts: &Parts, credential: Credential, slug: Option<&str>) -> ApiResult<Access> {
        let address = self.trusted_proxies.client(parts);
        match self.access.failed_attempts.check(address, credential) {
            Precheck::LookUp => {}
            Precheck::Invalid => return Err(unauthorized("invalid")),
            Precheck::Wait(duration) => {
                metrics::counter!(UNAUTHORIZED, "reason" => "limited").increment(1);
                return Err(ApiError::TooManyRequests(duration.as_secs() + 1));
            }
        }
        let found = self.find_access(credential, slug).await?;
        self.access.failed_attempts.record(address, credential, found.is_some());
        found.ok_or_else(|| unauthorized("invalid"))
    }

    async fn count(&self, parts: &Parts, access: &Access) -> ApiResult<()> {
        tracing::Span::current().record("user_id", access.user_id.to_string());
        let Some(status) = self.rate_limiter.count(&self.db, access.key_id).await else {
            return Ok(());
        };
        if let Some(slot) = parts.extensions.get::<RateLimitSlot>() {
            slot.set(status);
        }
        match status.retry_after {
            Some(seconds) => Err(ApiError::TooManyRequests(seconds)),
            None => Ok(()),
        }
    }

    async fn find_access(&self, credential: Credential, slug: Option<&str>) -> sqlx::Result<Option<Access>> {
        self.access.find(&self.db, credential, slug, self.sessions.idle()).await
    }
}

/// The documented response of routes that require more than the role viewer.
pub struct Forbidden;

impl<'r> utoipa::ToResponse<'r> for Forbidden {
    fn response() -> (&'r str, RefOr<Response>) {
        ("Forbidden", Response::new("").into())
    }
}

async fn authorize<S: Send + Sync>(parts: &mut Parts, state: &S, required: Role) -> ApiResult<SpaceMember>
where
    Arc<Authenticator>: FromRef<S>,
{
    let slug = path_parameter(parts, state, "slug").await.ok();
    // A slug with the character NUL cannot be stored, and so names no space.
    let slug = slug.filter(|slug| !slug.contains('\0')).unwrap_or_default();
    let authenticator = Arc::<Authenticator>::from_ref(state);
    let credential = authenticator.credential(&parts.headers)?;
    let access = authenticator.authenticate(parts, credential, Some(&slug)).await?;
    let (Some(space), Some(role)) = (access.space_id, access.role) else {
        return Err(ApiError::NotFound("Space"));
    };
    tracing::Span::current().record("space", &slug);
    if role < required {
        return Err(ApiError::RoleTooLow(required));
    }
    check_may_write(parts, &access)?;
    let user = UserRef { id: access.user_id, name: access.user_name };
    Ok(SpaceMember { space, slug, user, role, key: access.key_id, credential })
}

fn is_write(parts: &Parts) -> bool {
    !matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS)
}

fn check_may_write(parts: &Parts, access: &Access) -> ApiResult<()> {
    if access.is_read_only && is_write(parts) {
        return Err(ApiError::Forbidden("This key only reads; use one that may write"));
    }
    Ok(())
}

fn key_credential(key: &str) -> Credential {
    Credential::Key(keys::digest(key))
}

/// Returns the key in the header. The name of the authentication scheme is not case-sensitive.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let header = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = header.split_once(' ')?;
    let key = key.trim();
    (scheme.eq_ignore_ascii_case("bearer") && keys::is_well_formed(key)).then_some(key)
}
