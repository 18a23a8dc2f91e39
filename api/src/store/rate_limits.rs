//! The budgets of the rate limits, which all replicas share.

use contract::ids::KeyId;
use sqlx::{FromRow, PgPool};

/// A slice of the budget of a key in a window.
#[derive(Clone, Copy, Debug)]
pub struct SliceRequest {
    pub key: KeyId,
    pub window_seconds: i32,
    /// In seconds since 1970.
    pub window_start: i64,
    /// The budget of the window.
    pub limit: i64,
    pub size: i64,
}

/// What was drawn.
#[derive(Clone, Copy, Debug, FromRow)]
pub struct DrawnSlice {
    /// The size of the slice, at most the requested one.
    pub granted: i64,
    /// What all replicas have drawn from the budget, this slice included.
    pub drawn: i64,
}

/// Draws a slice. The first one of a new window resets the budget.
pub async fn draw(db: &PgPool, request: SliceRequest) -> sqlx::Result<DrawnSlice> {
    sqlx::query_as(
        "insert into rate_limits as known (key_id, window_seconds, window_start, drawn, granted)
         values ($1, $2, $3, least($5, $4), least($5, $4))
         on conflict (key_id, window_seconds) do update set
             window_start = greatest(known.window_start, excluded.window_start),
             granted = case when known.window_start < excluded.window_start then least($5, $4)
                 else greatest(least($5, $4 - known.drawn), 0) end,
             drawn = case when known.window_start < excluded.window_start then least($5, $4)
                 else greatest(least(known.drawn + $5, $4), known.drawn) end
         returning granted, drawn",
    )
    .bind(request.key)
    .bind(request.window_seconds)
    .bind(request.window_start)
    .bind(request.limit)
    .bind(request.size)
    .fetch_one(db)
    .await
}
