//! The `conf` of runs in a list. A large one is not part of it, and does not leave PostgreSQL with it: a page
//! of them would not fit into memory.

use contract::ids::{RunId, SpaceId};
use futures::TryStreamExt;
use serde_json::value::RawValue;
use sqlx::{PgPool, Row};
use tokio::sync::Semaphore;

use super::response::Run;

/// In bytes of compact JSON: a larger `conf` is not part of a list.
const MAX_LISTED: usize = 16 * 1024;

/// In bytes: the `conf`s of a page. What does not fit is not part of it.
const MAX_OF_PAGE: usize = 1024 * 1024;

/// The number of large `conf`s of older rows that are in memory at a time.
static MEASURED: Semaphore = Semaphore::const_new(2);

/// The column of a single run.
pub(super) const WHOLE: &str = "r.conf";

/// In bytes of compact JSON: a single run with a larger `conf` is a large one.
pub(super) const MAX_SMALL: usize = 256 * 1024;

/// The column of a single run that is not large.
pub(super) const SMALL: &str =
    "case when r.conf_bytes <= 262144 or r.conf_bytes is null and octet_length(r.conf::text) <= 393216
        then r.conf else 'null' end as conf";

/// The column of a run in a list. PostgreSQL writes JSON with spaces, which are at most a third of it.
pub(super) const LISTED: &str =
    "case when r.conf_bytes <= 16384 or r.conf_bytes is null and octet_length(r.conf::text) <= 24576
        then r.conf else 'null' end as conf";

/// Measures the `conf` of each run, and leaves out those that are too large for a list, or for the page.
pub(super) async fn measure(db: &PgPool, space: SpaceId, runs: Vec<Run>) -> sqlx::Result<Vec<Run>> {
    let is_missing = |run: &Run| run.summary.conf_bytes == 0 && run.conf.get() == "null";
    let missing: Vec<RunId> = runs.iter().filter(|run| is_missing(run)).map(|run| run.summary.id).collect();
    let mut runs: Vec<Run> = runs.into_iter().map(|run| run.with_conf_of_at_most(MAX_LISTED)).collect();
    let mut left = MAX_OF_PAGE;
    for run in &mut runs {
        match left.checked_sub(run.conf.get().len()) {
            Some(rest) => left = rest,
            None => run.conf = RawValue::NULL.to_owned(),
        }
    }
    if missing.is_empty() {
        return Ok(runs);
    }
    // One after the other, so that only one of them is in memory.
    let _permit = MEASURED.acquire().await;
    let mut texts = sqlx::query("select id, conf::text from runs where id = any($1) and space_id = $2")
        .bind(missing)
        .bind(space)
        .fetch(db);
    while let Some(row) = texts.try_next().await? {
        let id: RunId = row.try_get(0)?;
        if let Some(run) = runs.iter_mut().find(|run| run.summary.id == id) {
            run.summary.conf_bytes = compact_size(row.try_get(1)?) as i64;
        }
    }
    Ok(runs)
}

/// The size of a JSON text without the white space between its tokens, in bytes.
pub(super) fn compact_size(json: &str) -> usize {
    let (mut in_string, mut is_escaped) = (false, false);
    let counted = json.bytes().filter(|byte| {
        let is_token = in_string || !byte.is_ascii_whitespace();
        in_string ^= *byte == b'"' && !is_escaped;
        is_escaped = in_string && *byte == b'\\' && !is_escaped;
        is_token
    });
    counted.count()
}
