//! One run with its task runs. Most runs have few, and are read at once; a run that has many, or a large
//! `conf`, is read whole by a second call, before which its reader waits for a turn.

use std::collections::HashMap;

use contract::ids::{RunId, SpaceId};
use sqlx::{PgPool, Postgres, QueryBuilder};

use super::conf::{self, MAX_SMALL};
use super::{JOINS, Run, RunDetail, columns};
use crate::store::{expectations, task_runs};

/// A run with more task runs is large.
const MAX_TASK_RUNS: u64 = 500;
/// So many task runs are counted to know whether a run is large.
const TASK_LIMIT: &str = " limit 501";

/// A run that was read at once, or that is too large for it.
#[derive(Debug)]
pub enum RunRead {
    Small(Box<RunDetail>),
    Large,
}

/// Finds one run of a space with its task runs, if it is not large.
pub async fn find_small(
    db: &PgPool,
    space: SpaceId,
    run: RunId,
    include_deleted: bool,
) -> sqlx::Result<Option<RunRead>> {
    let small = columns(include_deleted, TASK_LIMIT, conf::SMALL);
    let Some(run) = find_row(db, space, run, small).await? else {
        return Ok(None);
    };
    if is_large(&run) {
        return Ok(Some(RunRead::Large));
    }
    with_task_runs(db, space, run, include_deleted).await.map(|run| Some(RunRead::Small(Box::new(run))))
}

/// Finds one run of a space with its task runs, however large it is.
pub async fn find(
    db: &PgPool,
    space: SpaceId,
    run: RunId,
    include_deleted: bool,
) -> sqlx::Result<Option<RunDetail>> {
    match find_row(db, space, run, columns(include_deleted, "", conf::WHOLE)).await? {
        Some(run) => with_task_runs(db, space, run, include_deleted).await.map(Some),
        None => Ok(None),
    }
}

async fn find_row(
    db: &PgPool,
    space: SpaceId,
    run: RunId,
    mut sql: QueryBuilder<Postgres>,
) -> sqlx::Result<Option<Run>> {
    sql.push(" from runs r").push(JOINS);
    sql.push(" where r.id = ").push_bind(run).push(" and r.space_id = ").push_bind(space);
    sql.build_query_as().fetch_optional(db).await
}

async fn with_task_runs(
    db: &PgPool,
    space: SpaceId,
    run: Run,
    include_deleted: bool,
) -> sqlx::Result<RunDetail> {
    let tasks = task_runs::list(db, space, run.summary.id, include_deleted).await?;
    let expected = expectations::find_of_run(db, space, run.summary.id).await?;
    Ok(RunDetail { run: run.with_conf_of_at_most(usize::MAX), expected, tasks })
}

/// Returns whether the run has many task runs, or its `conf` was left out or may have been.
fn is_large(run: &Run) -> bool {
    let counts: HashMap<&str, u64> = serde_json::from_str(run.summary.task_counts.get()).unwrap_or_default();
    let size = usize::try_from(run.summary.conf_bytes).unwrap_or_default();
    let lacks_conf = run.conf.get() == "null" && (size == 0 || size > MAX_SMALL);
    lacks_conf || counts.values().sum::<u64>() > MAX_TASK_RUNS
}
