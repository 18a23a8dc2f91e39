//! The conditions on a list of runs.

use chrono::{DateTime, Utc};
use contract::ids::{RunId, UserId};
use contract::state::{RunState, RunType};
use sqlx::{Postgres, QueryBuilder};
use utoipa::IntoParams;

use super::text::push_run_id;
use crate::store::page::push_words;
use crate::store::schema::TimeOrDate;

/// The conditions on runs. A `from` is inclusive, a `to` is exclusive.
#[derive(Debug, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RunFilter {
    #[param(ignore)]
    pub ids: Vec<RunId>,
    /// Started then or later: RFC 3339, or a date
    #[param(value_type = Option<TimeOrDate>, inline)]
    pub started_from: Option<DateTime<Utc>>,
    /// Started before then
    #[param(value_type = Option<TimeOrDate>, inline)]
    pub started_to: Option<DateTime<Utc>>,
    /// Ended then or later
    #[param(value_type = Option<TimeOrDate>, inline)]
    pub ended_from: Option<DateTime<Utc>>,
    /// Ended before then
    #[param(value_type = Option<TimeOrDate>, inline)]
    pub ended_to: Option<DateTime<Utc>>,
    /// The least duration, in seconds
    #[param(minimum = 0)]
    pub duration_min: Option<f64>,
    /// The greatest duration, in seconds
    #[param(minimum = 0)]
    pub duration_max: Option<f64>,
    #[param(required = false, inline)]
    pub status: Vec<RunState>,
    #[param(required = false, inline)]
    pub run_type: Vec<RunType>,
    /// The id of the person who triggered it here
    #[param(value_type = Option<Uuid>)]
    pub triggered_by: Option<UserId>,
    /// Text in the provider's run id, in any case
    pub run_id: Option<String>,
    /// Whether those that the provider no longer has are shown too
    #[param(required = false)]
    pub include_deleted: bool,
}

impl RunFilter {
    /// Returns whether there is no condition but those on the status and on deleted runs.
    pub(super) fn is_status_only(&self) -> bool {
        matches!(
            self,
            Self {
                ids,
                started_from: None,
                started_to: None,
                ended_from: None,
                ended_to: None,
                duration_min: None,
                duration_max: None,
                triggered_by: None,
                run_id: None,
                run_type,
                status: _,
                include_deleted: _,
            } if run_type.is_empty() && ids.is_empty()
        )
    }

    /// Returns whether the indexes by pipeline find the runs that match.
    pub(super) fn has_index_by_pipeline(&self) -> bool {
        let has_time = self.started_from.is_some() || self.started_to.is_some();
        has_time || !self.status.is_empty() || !self.run_type.is_empty() || self.is_status_only()
    }

    /// Returns whether there is a condition on the end.
    pub(super) fn is_by_end(&self) -> bool {
        self.ended_from.or(self.ended_to).is_some()
    }

    /// Returns whether there is a condition on the duration.
    pub(super) fn is_by_duration(&self) -> bool {
        self.duration_min.or(self.duration_max).is_some()
    }

    /// Adds the condition on the status. Its words are part of the statement, because only then PostgreSQL
    /// uses partial indexes.
    pub(super) fn push_status(&self, sql: &mut QueryBuilder<Postgres>) {
        push_words(sql, "r.status", &self.status);
    }

    /// Adds the conditions to a statement in which `r` is the run.
    pub(super) fn push(&self, sql: &mut QueryBuilder<Postgres>) {
        if !self.include_deleted {
            sql.push(" and r.deleted_at is null");
        }
        if !self.ids.is_empty() {
            sql.push(" and r.id = any(").push_bind(self.ids.clone()).push(")");
        }
        self.push_times(sql);
        self.push_status(sql);
        push_words(sql, "r.run_type", &self.run_type);
        if let Some(user) = self.triggered_by {
            sql.push(" and r.triggered_by_id = ").push_bind(user);
        }
        if let Some(text) = &self.run_id {
            push_run_id(sql, text);
        }
    }

    /// Adds conditions on `counted_at` that follow from those on `started_at`: the indexes by pipeline have
    /// the former.
    pub(super) fn push_counted_at(&self, sql: &mut QueryBuilder<Postgres>) {
        let times = [(" and r.counted_at >= ", self.started_from), (" and r.counted_at < ", self.started_to)];
        for (condition, time) in times {
            if let Some(time) = time {
                sql.push(condition).push_bind(time);
            }
        }
    }

    /// Adds an order in which an index has the runs that match. A scan of the table would find as many in the
    /// same time only if they lay everywhere in it, and a bitmap is made of all that match.
    pub(super) fn push_order_of_index(&self, sql: &mut QueryBuilder<Postgres>) {
        let ranges = [
            (" order by r.started_at desc", self.started_from.or(self.started_to).is_some()),
            (" order by r.ended_at desc", self.is_by_end()),
            (" order by r.duration_seconds desc", self.is_by_duration()),
        ];
        let range = ranges.into_iter().find(|(_, is_asked)| *is_asked);
        match (range, self.run_type.len(), self.status.len()) {
            (Some((order, _)), 0, 0 | 1) => {
                sql.push(order);
            }
            (None, 1, 0) if self.triggered_by.is_none() && self.run_id.is_none() && self.ids.is_empty() => {
                sql.push(" order by r.ordered_at desc");
            }
            _ => {}
        }
    }

    fn push_times(&self, sql: &mut QueryBuilder<Postgres>) {
        let times = [
            (" and r.started_at >= ", self.started_from),
            (" and r.started_at < ", self.started_to),
            (" and r.ended_at >= ", self.ended_from),
            (" and r.ended_at < ", self.ended_to),
        ];
        for (condition, time) in times {
            if let Some(time) = time {
                sql.push(condition).push_bind(time);
            }
        }
        self.push_duration(sql);
    }

    /// Adds the conditions on the duration.
    pub(super) fn push_duration(&self, sql: &mut QueryBuilder<Postgres>) {
        if let Some(seconds) = self.duration_min {
            sql.push(" and r.duration_seconds >= ").push_bind(seconds);
        }
        if let Some(seconds) = self.duration_max {
            sql.push(" and r.duration_seconds <= ").push_bind(seconds);
        }
    }
}
