//! The grid of a pipeline: the states of its tasks, by task and run.

use contract::ids::{PipelineId, RunId, SpaceId, UserId};
use contract::state::TaskState;
use serde::Serialize;
use sqlx::{FromRow, PgPool, QueryBuilder};
use utoipa::ToSchema;

use super::page::{Paging, Position};
use super::runs::{self, RunQuery, RunSummary, RunsOf};

/// The maximum number of task runs of a grid besides those of its newest run. What has more has fewer runs.
const MAX_TASK_RUNS: usize = 100_000;

/// A task of a grid.
#[derive(Debug, Serialize, ToSchema)]
pub struct GridTask {
    pub task_id: String,
    pub name: String,
    /// Whether it has several instances in a run.
    pub mapped: bool,
}

/// The tasks of a pipeline by its runs.
#[derive(Debug, Serialize, ToSchema)]
pub struct Grid {
    /// By their ids.
    pub tasks: Vec<GridTask>,
    /// The newest first.
    pub runs: Vec<RunSummary>,
    /// A line for each task, in the order of `tasks`, and in it a field for each run, with commas between
    /// them. A field is a letter for the status: `p`ending, s`c`heduled, `q`ueued, `r`unning, `s`uccess,
    /// `f`ailed, re`t`rying, s`k`ipped, `u`pstream_failed, `d`eferred, `x` removed, `n` unknown. Of a mapped
    /// task it has the number of instances before each letter, as `18s2f`. It is empty if the run has no such
    /// task.
    pub cells: String,
}

/// Finds the grid of a page of runs, and the position of the last of them if another page follows; none when
/// the space has no such pipeline.
pub async fn find(
    db: &PgPool,
    space: SpaceId,
    user: UserId,
    pipeline: PipelineId,
    query: &RunQuery,
    paging: &Paging,
) -> sqlx::Result<Option<(Grid, Option<Position>)>> {
    let of = RunsOf::Pipeline(pipeline);
    let Some(mut page) = runs::list(db, space, user, &of, query, paging).await? else {
        return Ok(None);
    };
    let ids: Vec<RunId> = page.rows.iter().map(|run| run.summary.id).collect();
    let rows = find_cells(db, &ids, query.filter.include_deleted).await?;
    let complete = complete_runs(&rows, ids.len());
    if complete < ids.len() {
        let fewer = runs::list(db, space, user, &of, query, &paging.resized(complete)).await?;
        page = fewer.unwrap_or(page);
    }
    let runs: Vec<RunSummary> = page.rows.into_iter().map(|run| run.summary).collect();
    let cells = rows.iter().map(|row| row.line(runs.len())).collect::<Vec<_>>().join("\n");
    let tasks = rows.into_iter().map(TaskCells::into_task).collect();
    Ok(Some((Grid { tasks, runs, cells }, page.next)))
}

/// The task runs of a task.
#[derive(FromRow)]
struct TaskCells {
    task_id: String,
    name: Option<String>,
    mapped: bool,
    /// The place of the run of each task run, from 1.
    runs: Vec<i64>,
    statuses: Vec<String>,
}

impl TaskCells {
    fn places(&self) -> impl Iterator<Item = usize> {
        self.runs.iter().map(|run| usize::try_from(run - 1).unwrap_or(usize::MAX))
    }

    /// Returns the fields of this number of runs.
    fn line(&self, runs: usize) -> String {
        let mut cells = vec![Vec::new(); runs];
        for (place, status) in self.places().zip(&self.statuses) {
            if let Some(cell) = cells.get_mut(place) {
                count(cell, status.parse().unwrap_or(TaskState::Unknown));
            }
        }
        cells.into_iter().map(|states| field(states, self.mapped)).collect::<Vec<_>>().join(",")
    }

    fn into_task(self) -> GridTask {
        let Self { task_id, name, mapped, .. } = self;
        GridTask { name: name.unwrap_or_else(|| task_id.clone()), task_id, mapped }
    }
}

fn count(states: &mut Vec<(TaskState, usize)>, state: TaskState) {
    match states.iter_mut().find(|(counted, _)| *counted == state) {
        Some((_, count)) => *count += 1,
        None => states.push((state, 1)),
    }
}

fn field(mut states: Vec<(TaskState, usize)>, mapped: bool) -> String {
    states.sort_by_key(|(state, _)| *state as usize);
    let text = |(state, count): (TaskState, usize)| {
        let letter = letter(state);
        if mapped { format!("{count}{letter}") } else { letter.to_string() }
    };
    states.into_iter().map(text).collect()
}

fn letter(state: TaskState) -> char {
    match state {
        TaskState::Pending => 'p',
        TaskState::Scheduled => 'c',
        TaskState::Queued => 'q',
        TaskState::Running => 'r',
        TaskState::Success => 's',
        TaskState::Failed => 'f',
        TaskState::Retrying => 't',
        TaskState::Skipped => 'k',
        TaskState::UpstreamFailed => 'u',
        TaskState::Deferred => 'd',
        TaskState::Removed => 'x',
        TaskState::Unknown => 'n',
    }
}

/// Returns the number of runs of which all task runs were read: where the limit was reached, the last run may
/// lack some.
fn complete_runs(rows: &[TaskCells], runs: usize) -> usize {
    let later = || rows.iter().flat_map(TaskCells::places).filter(|place| *place > 0);
    if later().count() < MAX_TASK_RUNS { runs } else { later().max().unwrap_or(runs) }
}

async fn find_cells(db: &PgPool, runs: &[RunId], include_deleted: bool) -> sqlx::Result<Vec<TaskCells>> {
    // Two partial indexes cover the deleted and the other task runs; naming both halves lets PostgreSQL use
    // them.
    let deleted = if include_deleted {
        "(tr.deleted_at is null or tr.deleted_at is not null)"
    } else {
        "tr.deleted_at is null"
    };
    // Because of the `offset` the task runs are read run by run from their index, the newest run first.
    let task_runs = format!(
        "select page.place, t.* from page cross join lateral (
             select tr.task_id, tr.map_index >= 0 as mapped, tr.status from task_runs tr
             where tr.run_id = page.id and {deleted} offset 0) t"
    );
    let mut sql = QueryBuilder::new("with page as materialized (select id, place from unnest(");
    sql.push_bind(runs.to_vec());
    sql.push(format_args!(
        ") with ordinality as page(id, place)), found as (
             {task_runs} where page.place = 1
             union all
             ({task_runs} where page.place > 1 limit {MAX_TASK_RUNS})
         ), tasks as (
             select task_id, bool_or(mapped) as mapped, min(place) as newest,
                 array_agg(place) as runs, array_agg(status) as statuses
             from found group by 1
         )
         select tasks.*, (
             select tr.name from task_runs tr
             where tr.run_id = page.id and tr.task_id = tasks.task_id and {deleted} limit 1) as name
         from tasks join page on page.place = tasks.newest order by task_id collate \"C\""
    ));
    sql.build_query_as().fetch_all(db).await
}
