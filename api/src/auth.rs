//! Authentication and authorization as extractors: a handler that takes a [`SpaceEditor`] runs for editors
//! and admins alone. The key in the header and the `{slug}` in the path become a user and a space, or a 401,
//! 404 or 403.

pub mod access_cache;
pub mod keys;
pub mod rate_limit;

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts, RawPathParams};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use contract::events::UserRef;
use contract::ids::{KeyId, SpaceId};
use contract::state::Role;
use sqlx::PgPool;
use utoipa::openapi::{RefOr, Response};

use crate::http::error::{ApiError, ApiResult};
use crate::http::rate_limit::RateLimitSlot;
use crate::store::access::Access;
use access_cache::AccessCache;
use rate_limit::KeyRateLimiter;

/// What the extractors need to check a key.
pub struct Authenticator {
    pub db: PgPool,
    pub access: AccessCache,
    pub rate_limiter: KeyRateLimiter,
}

/// The user of a valid key, independent of any space.
pub struct Caller {
    pub user: UserRef,
    pub email: String,
}

/// A user in a space that they are a member of.
#[derive(Clone, Debug)]
pub struct SpaceMember {
    pub space: SpaceId,
    pub slug: String,
    pub user: UserRef,
    pub role: Role,
    pub key: KeyId,
    key_sha256: [u8; 32],
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
        let key_sha256 = key_sha256(parts)?;
        let access = Arc::<Authenticator>::from_ref(state).authenticate(parts, key_sha256, None).await?;
        Ok(Self { user: UserRef { id: access.user_id, name: access.user_name }, email: access.email })
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
    /// Returns whether the key is still valid and its user still a member. The check does not count as a
    /// request.
    pub async fn is_still_member(&self, authenticator: &Authenticator) -> sqlx::Result<bool> {
        let access = authenticator.find_access(self.key_sha256, Some(&self.slug)).await?;
        Ok(access.is_some_and(|access| access.space_id == Some(self.space) && access.role.is_some()))
    }
}

impl Authenticator {
    /// Looks the key up and counts the request against its rate limit.
    async fn authenticate(
        &self,
        parts: &Parts,
        key_sha256: [u8; 32],
        slug: Option<&str>,
    ) -> ApiResult<Access> {
        let found = self.find_access(key_sha256, slug).await?;
        let access = found.ok_or(ApiError::Unauthorized)?;
        tracing::Span::current().record("user_id", access.user_id.to_string());
        let Some(status) = self.rate_limiter.count(access.key_id) else {
            return Ok(access);
        };
        if let Some(slot) = parts.extensions.get::<RateLimitSlot>() {
            slot.set(status);
        }
        match status.retry_after {
            Some(seconds) => Err(ApiError::TooManyRequests(seconds)),
            None => Ok(access),
        }
    }

    async fn find_access(&self, key_sha256: [u8; 32], slug: Option<&str>) -> sqlx::Result<Option<Access>> {
        self.access.find(&self.db, key_sha256, slug).await
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
    let params = RawPathParams::from_request_parts(parts, state).await.ok();
    let slug = params.iter().flatten().find(|(name, _)| *name == "slug").map(|(_, slug)| slug.to_owned());
    // A slug with the character NUL cannot be stored, and so names no space.
    let slug = slug.filter(|slug| !slug.contains('\0')).unwrap_or_default();
    let key_sha256 = key_sha256(parts)?;
    let authenticator = Arc::<Authenticator>::from_ref(state);
    let access = authenticator.authenticate(parts, key_sha256, Some(&slug)).await?;
    let (Some(space), Some(role)) = (access.space_id, access.role) else {
        return Err(ApiError::NotFound("Space"));
    };
    tracing::Span::current().record("space", &slug);
    if role < required {
        return Err(ApiError::RoleTooLow(required));
    }
    let user = UserRef { id: access.user_id, name: access.user_name };
    Ok(SpaceMember { space, slug, user, role, key: access.key_id, key_sha256 })
}

/// Returns the digest of the key in the header.
fn key_sha256(parts: &Parts) -> ApiResult<[u8; 32]> {
    bearer(parts).map(keys::digest).ok_or(ApiError::Unauthorized)
}

/// Returns the key in the header. The name of the authentication scheme is not case-sensitive.
fn bearer(parts: &Parts) -> Option<&str> {
    let header = parts.headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = header.split_once(' ')?;
    let key = key.trim();
    (scheme.eq_ignore_ascii_case("bearer") && key.starts_with(keys::SCHEME)).then_some(key)
}
