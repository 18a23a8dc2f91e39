//! The user that a key authenticates and their role in a space: one query on two unique indexes.

use contract::ids::{KeyId, SpaceId, UserId};
use contract::state::Role;
use sqlx::{FromRow, PgPool};

/// The user of a valid key, and their role in the requested space.
#[derive(Clone, Debug, FromRow)]
pub struct Access {
    pub key_id: KeyId,
    pub user_id: UserId,
    pub user_name: String,
    pub email: String,
    /// None when no space was requested, or none has this slug.
    pub space_id: Option<SpaceId>,
    /// None when the user is not a member of the space.
    pub role: Option<Role>,
}

/// Finds the access that a key gives; none when the key is unknown or revoked.
pub async fn find(db: &PgPool, key_sha256: [u8; 32], slug: Option<&str>) -> sqlx::Result<Option<Access>> {
    sqlx::query_as(
        "select k.id as key_id, u.id as user_id, u.name as user_name, u.email, s.id as space_id, m.role
         from api_keys k
         join users u on u.id = k.user_id
         left join spaces s on s.slug = $2
         left join memberships m on m.space_id = s.id and m.user_id = u.id
         where k.secret_sha256 = $1 and k.revoked_at is null",
    )
    .bind(key_sha256)
    .bind(slug)
    .fetch_optional(db)
    .await
}
