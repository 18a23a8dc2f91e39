//! The conditions on a list of runs.

use chrono::{DateTime, Utc};
use contract::ids::UserId;
use contract::state::{RunState, RunType};
use sqlx::{Postgres, QueryBuilder};
use utoipa::IntoParams;

use crate::store::schema::TimeOrDate;

/// The conditions on runs. A `from` is inclusive, a `to` is exclusive.
#[derive(Debug, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RunFilter {
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
            } if run_type.is_empty()
        )
    }

    pub(super) fn push_status(&self, sql: &mut QueryBuilder<Postgres>) {
        if !self.status.is_empty() {
            sql.push(" and r.status = any(").push_bind(words(&self.status)).push(")");
        }
    }

    /// Adds the conditions to a statement in which `r` is the run.
    pub(super) fn push(&self, sql: &mut QueryBuilder<Postgres>) {
        if !self.include_deleted {
            sql.push(" and r.deleted_at is null");
        }
        self.push_times(sql);
        self.push_status(sql);
        if !self.run_type.is_empty() {
            sql.push(" and r.run_type = any(").push_bind(words(&self.run_type)).push(")");
        }
        if let Some(user) = self.triggered_by {
            sql.push(" and r.triggered_by_id = ").push_bind(user);
        }
        if let Some(text) = &self.run_id {
            sql.push(r#" and strpos(lower(r.external_id collate "und-x-icu"), lower("#)
                .push_bind(text.clone())
                .push(r#" collate "und-x-icu")) > 0"#);
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
        if let Some(seconds) = self.duration_min {
            sql.push(" and r.duration_seconds >= ").push_bind(seconds);
        }
        if let Some(seconds) = self.duration_max {
            sql.push(" and r.duration_seconds <= ").push_bind(seconds);
        }
    }
}

fn words<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}
