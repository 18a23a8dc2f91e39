//! The user that a key or a session authenticates and their role in a space: one query on unique indexes.

use std::time::Duration;

use contract::ids::{KeyId, SessionId, SpaceId, UserId};
use contract::state::Role;
use sqlx::{FromRow, PgPool, Postgres, QueryBuilder};

/// What a request authenticates with: the SHA-256 of a key, or of the secret of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Credential {
    Key([u8; 32]),
    Session([u8; 32]),
}

/// The user of a valid key or session, and their role in the requested space.
#[derive(Clone, Debug, FromRow)]
pub struct Access {
    /// Whose limits apply: the key, also that of a session, or the id of a user who signed in without one.
    pub key_id: KeyId,
    pub session_id: Option<SessionId>,
    pub is_read_only: bool,
    /// Whether the last recorded use is so long ago that this one is to be recorded.
    pub is_use_due: bool,
    /// In how many seconds the key or session expires; none if it does not.
    pub expires_in: Option<f64>,
    pub user_id: UserId,
    pub user_name: String,
    pub email: String,
    /// None when no space was requested, or none has this slug.
    pub space_id: Option<SpaceId>,
    /// None when the user is not a member of the space.
    pub role: Option<Role>,
}

const OF_KEY: &str = "
    select k.id as key_id, null::uuid as session_id, k.read_only as is_read_only,
        coalesce(used.used_at < date_trunc('hour', now()), true) as is_use_due,
        extract(epoch from k.expires_at - now())::float8 as expires_in,
        u.id as user_id, u.name as user_name, u.email, s.id as space_id, m.role
    from api_keys k
    left join api_key_uses used on used.key_id = k.id
    join users u on u.id = k.user_id";

const OF_SESSION: &str = "
    select coalesce(b.key_id, b.user_id) as key_id, b.id as session_id,
        coalesce(k.read_only, false) as is_read_only,
        b.last_used_at < now() - interval '1 minute' as is_use_due,
        extract(epoch from least(b.expires_at, k.expires_at, b.last_used_at + o.idle) - now())::float8
            as expires_in,
        u.id as user_id, u.name as user_name, u.email, s.id as space_id, m.role
    from sessions b
    cross join options o
    left join api_keys k on k.id = b.key_id
    join users u on u.id = b.user_id";

/// Finds the access that a key or a session gives; none when it is unknown, revoked or expired, or its user
/// is disabled. A session expires when it was not used for `idle`, too.
pub async fn find(
    db: &PgPool,
    credential: Credential,
    slug: Option<&str>,
    idle: Duration,
) -> sqlx::Result<Option<Access>> {
    let mut sql = QueryBuilder::<Postgres>::new("with options as (select interval '1 s' * ");
    sql.push_bind(idle.as_secs_f64()).push(" as idle)");
    let (select, digest) = match credential {
        Credential::Key(digest) => (OF_KEY, digest),
        Credential::Session(digest) => (OF_SESSION, digest),
    };
    sql.push(select).push(" left join spaces s on s.slug = ").push_bind(slug);
    sql.push(" left join memberships m on m.space_id = s.id and m.user_id = u.id where ");
    if matches!(credential, Credential::Session(_)) {
        sql.push("b.expires_at > now() and b.last_used_at > now() - o.idle and b.secret_sha256 = ");
        sql.push_bind(digest);
    } else {
        sql.push("k.secret_sha256 = ").push_bind(digest);
    }
    sql.push(" and k.revoked_at is null and coalesce(k.expires_at > now(), true) and u.disabled_at is null");
    sql.build_query_as().fetch_optional(db).await
}

/// Records that a key or a session is used: a key to the hour, a session to the minute.
pub async fn record_use(db: &PgPool, access: &Access) -> sqlx::Result<()> {
    let query = match access.session_id {
        Some(session) => sqlx::query(
            "update sessions set last_used_at = now()
             where id = $1 and last_used_at < now() - interval '1 minute'",
        )
        .bind(session.0),
        None => sqlx::query(
            "insert into api_key_uses (key_id, used_at) values ($1, date_trunc('hour', now()))
             on conflict (key_id) do update set used_at = excluded.used_at
             where api_key_uses.used_at < excluded.used_at",
        )
        .bind(access.key_id.0),
    };
    query.execute(db).await.map(drop)
}
