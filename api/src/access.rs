//! The extractors that are the right: a handler that takes a [`SpaceEditor`] runs for editors and admins alone.
//! Key and `{slug}` become a person and a space, or 401, 404 or 403.

mod memory;

use std::ops::Deref;
use std::sync::OnceLock;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use shared::events::UserRef;
use shared::ids::SpaceId;
use shared::state::Role;

pub use self::memory::AccessMemory;
use crate::error::{ApiError, ApiResult};
use crate::limit::Standing;
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
        let access = authenticate(parts, app, None).await?;
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

async fn member(parts: &mut Parts, app: &App, least: Role) -> ApiResult<Member> {
    let params = RawPathParams::from_request_parts(parts, app).await.ok();
    let slug = params.iter().flatten().find(|(name, _)| *name == "slug").map(|(_, slug)| slug.to_owned());
    // A slug that no text column can hold names no space.
    let slug = slug.filter(|slug| !slug.contains('\0')).unwrap_or_default();
    let access = authenticate(parts, app, Some(&slug)).await?;
    let (Some(space), Some(role)) = (access.space_id, access.role) else {
        return Err(ApiError::NotFound("Space"));
    };
    tracing::Span::current().record("space", &slug);
    if role < least {
        return Err(ApiError::RoleTooLow(least));
    }
    Ok(Member { space, slug, user: UserRef { id: access.user_id, name: access.user_name }, role })
}

async fn authenticate(parts: &Parts, app: &App, slug: Option<&str>) -> ApiResult<Access> {
    let key = bearer(parts).ok_or(ApiError::Unauthorized)?;
    let found = app.access.find(&app.db, keys::digest(key), slug).await?;
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

/// The key in the header; a scheme's name is not case-sensitive.
fn bearer(parts: &Parts) -> Option<&str> {
    let header = parts.headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = header.split_once(' ')?;
    let key = key.trim();
    (scheme.eq_ignore_ascii_case("bearer") && key.starts_with(keys::SCHEME)).then_some(key)
}
