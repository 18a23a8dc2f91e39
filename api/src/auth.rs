//! The extractors that are the right: a handler that takes a [`SpaceEditor`] runs for editors and admins alone.
//! Key and `{slug}` become a person and a space, or 401, 404 or 403.

pub mod access_cache;
pub mod rate_limit;

use std::ops::Deref;
use std::sync::OnceLock;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use contract::events::UserRef;
use contract::ids::{KeyId, SpaceId};
use contract::state::Role;

use crate::auth::rate_limit::Standing;
use crate::http::error::{ApiError, ApiResult};
use crate::state::App;
use crate::store::access::Access;
use crate::store::keys;

/// Where access leaves how the key stands, for the response's headers.
#[derive(Clone, Default)]
pub struct Counted(std::sync::Arc<OnceLock<Standing>>);

impl Counted {
    /// How the key stands after this request, if it was counted.
    pub fn standing(&self) -> Option<Standing> {
        self.0.get().copied()
    }
}

/// A person with a valid key, in no space yet.
pub struct Caller {
    pub user: UserRef,
    pub email: String,
}

/// A person in a space.
#[derive(Clone, Debug)]
pub struct Member {
    pub space: SpaceId,
    pub slug: String,
    pub user: UserRef,
    pub role: Role,
    pub key: KeyId,
    key_sha256: [u8; 32],
}

/// May read the space.
pub struct SpaceViewer(Member);

/// May also comment, trigger, assign and sync.
pub struct SpaceEditor(Member);

/// May also delete connectors and other people's comments.
pub struct SpaceAdmin(Member);

impl FromRequestParts<App> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> ApiResult<Self> {
        let key_sha256 = key_sha256(parts)?;
        let access = authenticate(parts, app, key_sha256, None).await?;
        Ok(Self { user: UserRef { id: access.user_id, name: access.user_name }, email: access.email })
    }
}

impl FromRequestParts<App> for SpaceViewer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> ApiResult<Self> {
        member(parts, app, Role::Viewer).await.map(Self)
    }
}

impl FromRequestParts<App> for SpaceEditor {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> ApiResult<Self> {
        member(parts, app, Role::Editor).await.map(Self)
    }
}

impl FromRequestParts<App> for SpaceAdmin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> ApiResult<Self> {
        member(parts, app, Role::Admin).await.map(Self)
    }
}

impl Deref for SpaceViewer {
    type Target = Member;
    fn deref(&self) -> &Member {
        &self.0
    }
}

impl Deref for SpaceEditor {
    type Target = Member;
    fn deref(&self) -> &Member {
        &self.0
    }
}

impl Deref for SpaceAdmin {
    type Target = Member;
    fn deref(&self) -> &Member {
        &self.0
    }
}

impl SpaceViewer {
    /// Whether the key still lets its person read the space. It is not counted as a request.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn may_still_read(&self, app: &App) -> ApiResult<bool> {
        let access = app.access.find(&app.db, self.key_sha256, Some(&self.slug)).await?;
        Ok(access.is_some_and(|access| access.space_id == Some(self.space) && access.role.is_some()))
    }
}

async fn member(parts: &mut Parts, app: &App, least: Role) -> ApiResult<Member> {
    let params = RawPathParams::from_request_parts(parts, app).await.ok();
    let slug = params.iter().flatten().find(|(name, _)| *name == "slug").map(|(_, slug)| slug.to_owned());
    // A slug that no text column can hold names no space.
    let slug = slug.filter(|slug| !slug.contains('\0')).unwrap_or_default();
    let key_sha256 = key_sha256(parts)?;
    let access = authenticate(parts, app, key_sha256, Some(&slug)).await?;
    let (Some(space), Some(role)) = (access.space_id, access.role) else {
        return Err(ApiError::NotFound("Space"));
    };
    tracing::Span::current().record("space", &slug);
    if role < least {
        return Err(ApiError::RoleTooLow(least));
    }
    let user = UserRef { id: access.user_id, name: access.user_name };
    Ok(Member { space, slug, user, role, key: access.key_id, key_sha256 })
}

async fn authenticate(
    parts: &Parts,
    app: &App,
    key_sha256: [u8; 32],
    slug: Option<&str>,
) -> ApiResult<Access> {
    let found = app.access.find(&app.db, key_sha256, slug).await?;
    let access = found.ok_or(ApiError::Unauthorized)?;
    tracing::Span::current().record("user_id", access.user_id.to_string());
    let Some(standing) = app.limiter.count(access.key_id) else {
        return Ok(access);
    };
    if let Some(counted) = parts.extensions.get::<Counted>() {
        let _ = counted.0.set(standing);
    }
    match standing.exceeded {
        Some(seconds) => Err(ApiError::TooManyRequests(seconds)),
        None => Ok(access),
    }
}

/// What the key in the header is known by.
fn key_sha256(parts: &Parts) -> ApiResult<[u8; 32]> {
    bearer(parts).map(keys::digest).ok_or(ApiError::Unauthorized)
}

/// The key in the header; a scheme's name is not case-sensitive.
fn bearer(parts: &Parts) -> Option<&str> {
    let header = parts.headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = header.split_once(' ')?;
    let key = key.trim();
    (scheme.eq_ignore_ascii_case("bearer") && key.starts_with(keys::SCHEME)).then_some(key)
}
