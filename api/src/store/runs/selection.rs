//! Which runs a list consists of, how many they are, and the ids of those on a page.
//!
//! The conditions on pipelines become the ids of the pipelines first. Then the number of runs decides how a
//! page is read: few runs are collected and sorted; many are found soon by a walk along the index of the
//! order; and the newest of a few pipelines are among the newest of each.

use contract::ids::{PipelineId, SpaceId, UserId};
use sqlx::{PgPool, Postgres, QueryBuilder};

use super::each_pipeline::{DISORDERED, push_each_pipeline};
use super::{RunFilter, RunsOf};
use crate::store::page::{ListPart, MAX_COUNTED, Paging, Total, push_count};

/// At most so many pipelines have their runs counted one after the other.
const MAX_PIPELINES: usize = 500;
/// The newest runs of each pipeline are read if they are at most so many.
const MAX_CANDIDATES: i64 = 20_000;
/// The stored numbers of so many pipelines are added up in one statement, and so many of these statements
/// whatever the sum.
const MAX_PIPELINES_OF_PART: usize = 300;
const MAX_EXACT_PARTS: usize = 4;

/// The condition that the times of a run are out of order.
const IS_DISORDERED: &[&str] = &[" and r.id = any(array(", DISORDERED, "))"];

/// The number of runs in a list, and what it takes to decide how to read it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub total: Total,
    /// The estimated number of runs of all spaces.
    table: f64,
}

/// The runs of a list.
pub(super) struct Selection<'a> {
    space: SpaceId,
    /// All pipelines of the space if none.
    pipelines: Option<Vec<PipelineId>>,
    filter: &'a RunFilter,
    /// Whether each pipeline is read, because no index has the runs that match.
    is_by_each_pipeline: bool,
}

impl<'a> Selection<'a> {
    pub(super) async fn find(
        db: &PgPool,
        space: SpaceId,
        user: UserId,
        of: &RunsOf<'_>,
        filter: &'a RunFilter,
    ) -> sqlx::Result<Self> {
        let pipelines = match of {
            RunsOf::Pipeline(pipeline) => Some(vec![*pipeline]),
            RunsOf::Space(pipelines) if pipelines.is_empty() => None,
            RunsOf::Space(pipelines) => {
                let mut sql = QueryBuilder::new(
                    "select p.id from pipelines p join connectors c on c.id = p.connector_id
                     left join pipeline_governance g on g.pipeline_id = p.id and g.space_id = p.space_id",
                );
                pipelines.push(&mut sql, space, user);
                Some(sql.build_query_scalar().fetch_all(db).await?)
            }
        };
        let mut selection = Self { space, pipelines, filter, is_by_each_pipeline: false };
        if selection.is_of_several() && !filter.has_index_by_pipeline() {
            selection.is_by_each_pipeline = filter.is_by_end()
                || filter.is_by_duration()
                    && selection.add_up(db).await?.total.rows < expect_in_range(db, space, filter).await?;
        }
        Ok(selection)
    }

    /// Returns whether these are all runs of a space or of a pipeline, whose number is stored.
    pub(super) fn is_whole(&self) -> bool {
        self.filter.is_status_only()
            && self.filter.status.is_empty()
            && self.pipelines.as_ref().is_none_or(|pipelines| pipelines.len() == 1)
    }

    /// Counts the runs, up to a bound if their number is not stored.
    pub(super) async fn count(&self, db: &PgPool) -> sqlx::Result<Size> {
        if self.filter.is_status_only() {
            return self.add_up(db).await;
        }
        let mut sql = QueryBuilder::new("select (");
        push_count(&mut sql, |sql| {
            self.push(sql);
            if self.pipelines.is_none() {
                self.filter.push_order_of_index(sql);
            }
        });
        push_estimate(&mut sql);
        // The values decide which index is best, so each statement is planned anew.
        let (rows, table) = sql.build_query_as().persistent(false).fetch_one(db).await?;
        Ok(Size { total: Total::counted(rows), table })
    }

    /// Adds up stored numbers. Beyond the bound of counted totals, those of many pipelines are not added to
    /// the end.
    async fn add_up(&self, db: &PgPool) -> sqlx::Result<Size> {
        let parts: Vec<_> = match &self.pipelines {
            None => vec![None],
            Some(pipelines) if pipelines.is_empty() => vec![Some(&[][..])],
            Some(pipelines) => pipelines.chunks(MAX_PIPELINES_OF_PART).map(Some).collect(),
        };
        let mut size = Size { total: Total::exact(0), table: 0.0 };
        for (index, part) in parts.into_iter().enumerate() {
            if index >= MAX_EXACT_PARTS && size.total.rows > MAX_COUNTED {
                size.total.is_exact = false;
                break;
            }
            let mut sql = QueryBuilder::new("select (");
            self.push_stored_count(&mut sql, part);
            push_estimate(&mut sql);
            let (rows, table): (i64, f64) = sql.build_query_as().fetch_one(db).await?;
            size = Size { total: Total::exact(size.total.rows + rows), table };
        }
        Ok(size)
    }

    /// Adds the sum of the stored numbers of runs by status and whether they are deleted: those of a page
    /// that is the whole list.
    pub(super) fn push_whole_count(&self, sql: &mut QueryBuilder<Postgres>) {
        self.push_stored_count(sql, self.pipelines.as_deref());
    }

    /// Adds the sum of the stored numbers of the runs of these pipelines, or of the space.
    fn push_stored_count(&self, sql: &mut QueryBuilder<Postgres>, pipelines: Option<&[PipelineId]>) {
        sql.push("select coalesce(sum(r.n), 0)::bigint from ");
        match pipelines {
            // The counts of a space are the sums of those of its pipelines.
            None => {
                sql.push("(select status, is_deleted, n from space_run_counts where space_id = ")
                    .push_bind(self.space)
                    .push(" union all select status, is_deleted, n from run_changes where space_id = ")
                    .push_bind(self.space)
                    .push(") r where true");
            }
            // Because of the `offset` the counts of each pipeline are looked up in an index.
            Some(pipelines) => {
                sql.push("unnest(").push_bind(pipelines.to_vec()).push(
                    ") pipeline(id) cross join lateral (
                         select status, is_deleted, n from run_counts where pipeline_id = pipeline.id
                         union all
                         select status, is_deleted, n from run_changes where pipeline_id = pipeline.id
                         offset 0) r where true",
                );
            }
        }
        if !self.filter.include_deleted {
            sql.push(" and not r.is_deleted");
        }
        self.filter.push_status(sql);
    }

    /// Adds a statement with the ids and sort keys of the runs on a page.
    pub(super) fn push_page(&self, sql: &mut QueryBuilder<Postgres>, paging: &Paging, size: Size) {
        // What matches only before some time is not among the newest.
        let may_be_newest =
            paging.is_by_newest() && self.filter.started_to.or(self.filter.ended_to).is_none();
        let newest = self
            .pipelines
            .as_ref()
            .filter(|pipelines| may_be_newest && pipelines.len() as i64 * paging.end() <= MAX_CANDIDATES);
        match newest {
            _ if self.is_better_sorted(paging, size) => {
                sql.push("with matching as materialized (");
                paging.push_id_and_key(sql);
                self.push(sql);
                sql.push(") ");
                paging.push_page_of_subquery(sql, "matching");
            }
            Some(pipelines) => {
                sql.push("with newest as (select row.* from unnest(").push_bind(pipelines.clone());
                sql.push(") pipeline(id) cross join lateral (");
                paging.push_id_and_key(sql);
                sql.push(" from runs r where r.pipeline_id = pipeline.id");
                self.filter.push(sql);
                paging.push_candidates(sql);
                sql.push(") row) ");
                paging.push_page_of_subquery(sql, "newest");
            }
            None => self.push_walk(sql, paging),
        }
    }

    /// Returns whether collecting all runs of the list reads fewer rows than a walk, which finds as many of
    /// them in each part of the table as in any other. The planner knows that of a status by itself.
    fn is_better_sorted(&self, paging: &Paging, size: Size) -> bool {
        let rows = size.total.rows as f64;
        let is_planned = self.filter.is_status_only() && !self.is_of_several();
        size.total.is_exact && !is_planned && rows * rows < paging.end() as f64 * size.table
    }

    /// Returns whether these are the runs of a few pipelines.
    fn is_of_several(&self) -> bool {
        self.pipelines.as_ref().is_some_and(|pipelines| (2..=MAX_PIPELINES).contains(&pipelines.len()))
    }

    /// Adds a walk along the index of the order. A run is due before it starts, and starts before it ends, so
    /// a condition on one of the times bounds the others; the few runs of which that is not true are a part
    /// of their own.
    pub(super) fn push_walk(&self, sql: &mut QueryBuilder<Postgres>, paging: &Paging) {
        let RunFilter { started_from, started_to, ended_to, .. } = *self.filter;
        let parts = match paging.order_key() {
            "r.ordered_at" => started_to.into_iter().chain(ended_to).min().map(|time| {
                [
                    ListPart::of(" and r.ordered_at < ", time, &[]),
                    ListPart::of(" and r.ordered_at >= ", time, IS_DISORDERED),
                ]
            }),
            "r.started_at" => ended_to.map(|time| {
                [
                    ListPart::of(" and r.started_at < ", time, &[]),
                    ListPart::of(" and r.started_at >= ", time, IS_DISORDERED),
                ]
            }),
            "r.ended_at" => started_from.map(|time| {
                [
                    ListPart::of(" and r.ended_at >= ", time, &[]),
                    ListPart::of(" and r.ended_at < ", time, IS_DISORDERED),
                ]
            }),
            _ => None,
        };
        let parts = parts.as_ref().map_or(&[ListPart::ALL][..], |parts| parts);
        // The indexes of the other orders are those of the space.
        let is_of_one = self.pipelines.as_ref().is_some_and(|pipelines| pipelines.len() == 1);
        let of_pipeline_alone = is_of_one && paging.is_by_newest();
        paging.push_walk(sql, parts, |sql| self.push_matching(sql, of_pipeline_alone));
    }

    /// Adds `from` and `where`.
    fn push(&self, sql: &mut QueryBuilder<Postgres>) {
        match &self.pipelines {
            Some(pipelines) if self.is_by_each_pipeline => {
                push_each_pipeline(sql, self.space, pipelines, self.filter);
                self.filter.push(sql);
            }
            _ => self.push_matching(sql, self.is_of_pipelines_alone()),
        }
    }

    fn push_matching(&self, sql: &mut QueryBuilder<Postgres>, of_pipelines_alone: bool) {
        sql.push(" from runs r where ");
        self.push_scope(sql, of_pipelines_alone);
        self.filter.push(sql);
        if of_pipelines_alone && self.pipelines.is_some() {
            self.filter.push_counted_at(sql);
        }
    }

    /// Returns whether the runs are read from the indexes by pipeline alone, which do not have the space.
    /// That is best if these indexes have the columns of the filter.
    fn is_of_pipelines_alone(&self) -> bool {
        let pipelines = self.pipelines.as_ref().map_or(usize::MAX, Vec::len);
        pipelines == 1 || pipelines <= MAX_PIPELINES && self.filter.has_index_by_pipeline()
    }

    /// Adds the conditions on the space and the pipelines, or on the pipelines alone.
    fn push_scope(&self, sql: &mut QueryBuilder<Postgres>, of_pipelines_alone: bool) {
        let pipelines = self.pipelines.as_deref();
        if pipelines.is_none() || !of_pipelines_alone {
            sql.push("r.space_id = ").push_bind(self.space);
        }
        if pipelines.is_some() && !of_pipelines_alone {
            sql.push(" and ");
        }
        match pipelines {
            None => {}
            Some([pipeline]) => {
                sql.push("r.pipeline_id = ").push_bind(*pipeline);
            }
            Some(pipelines) => {
                sql.push("r.pipeline_id = any(").push_bind(pipelines.to_vec()).push(")");
            }
        }
    }
}

/// Returns how many runs of a space PostgreSQL expects in the range of durations of a filter.
async fn expect_in_range(db: &PgPool, space: SpaceId, filter: &RunFilter) -> sqlx::Result<i64> {
    let mut sql = QueryBuilder::new("explain (format json) select from runs r where r.space_id = ");
    sql.push_bind(space);
    filter.push_duration(&mut sql);
    let plan: serde_json::Value = sql.build_query_scalar().persistent(false).fetch_one(db).await?;
    Ok(plan[0]["Plan"]["Plan Rows"].as_i64().unwrap_or_default())
}

/// Adds the estimated number of runs as the second column of a statement, and closes its first.
fn push_estimate(sql: &mut QueryBuilder<Postgres>) {
    sql.push("), (select reltuples::float8 from pg_class where oid = 'runs'::regclass)");
}
