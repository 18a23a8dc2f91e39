//! Who a key speaks for, and what that person is in a space: one look by two unique indexes.

use contract::ids::{KeyId, SpaceId, UserId};
use contract::state::Role;
use sqlx::{FromRow, PgPool};

/// A valid key's person, and their part in the space that was named.
#[derive(Clone, Debug, FromRow)]
pub struct Access {
    pub key_id: KeyId,
    pub user_id: UserId,
    pub user_name: String,
    pub email: String,
    /// None when there is no such space, or none was named.
    pub space_id: Option<SpaceId>,
    /// None when the person is no member.
    pub role: Option<Role>,
}

/// The access that a key gives; none when it is not valid.
///
/// # Errors
/// When the database is away.
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
