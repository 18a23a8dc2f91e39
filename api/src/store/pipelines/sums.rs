//! Sums over the runs of a window, from stored sums of whole days: what a list of all pipelines is sorted by.
//! Single runs are read of the window's first day alone, of which a part belongs to the window: that part is
//! added, or early in the day, when the rest is smaller, the rest is subtracted from the whole day.

use chrono::{Timelike, Utc};
use contract::ids::SpaceId;
use platform::pipeline_metrics::SUMMED_WINDOWS;
use sqlx::{Postgres, QueryBuilder};

use super::MetricsWindow;

/// Until this hour in UTC, the sums of a window's first day are read whole. Those sums are rows, too.
const FIRST_DAY_WHOLE_UNTIL: u32 = 6;

/// The sums of the pipelines of a space. They are right at any time of the day, whichever way the first day
/// is read.
#[derive(Clone, Copy, Debug)]
pub struct WindowSums {
    pub space: SpaceId,
    pub window: MetricsWindow,
    pub is_first_day_whole: bool,
}

impl WindowSums {
    /// Returns the sums that read the fewest rows now.
    pub(super) fn of(space: SpaceId, window: MetricsWindow) -> Self {
        Self { space, window, is_first_day_whole: Utc::now().hour() < FIRST_DAY_WHOLE_UNTIL }
    }

    /// Joins the sums of `p` as `sums`.
    pub fn push(&self, sql: &mut QueryBuilder<Postgres>) {
        sql.push(
            " left join (
                 select pipeline_id, sum(success_count) as success_count, sum(failed_count) as failed_count,
                     sum(durations) as durations, sum(duration_sum) as duration_sum
                 from (",
        );
        let whole_days = self.whole_days_from();
        let days = self.window.days;
        if SUMMED_WINDOWS.contains(&days) {
            self.push_window(sql);
            // The stored sums begin on the day after `summed`, which may be earlier or later.
            let summed = format!("((select as_of from run_window_day) - {days})");
            self.push_days(sql, "run_days", &format!("sign({summed} - ({whole_days} - 1))::int"));
            sql.push(format_args!(
                " and day > least({summed}, {whole_days} - 1) and day <= greatest({summed}, {whole_days} - 1)"
            ));
        } else {
            self.push_days(sql, "run_days", "1");
            sql.push(format_args!(" and day >= {whole_days}"));
        }
        sql.push(" union all ");
        self.push_days(sql, "run_changes", "1");
        sql.push(format_args!(" and day >= {whole_days} union all "));
        self.push_runs_of_first_day(sql);
        sql.push(") parts group by pipeline_id) sums on sums.pipeline_id = p.id");
    }

    fn push_window(&self, sql: &mut QueryBuilder<Postgres>) {
        sql.push(
            "select pipeline_id, success_count, failed_count, durations, duration_sum from run_windows
             where space_id = ",
        )
        .push_bind(self.space)
        .push(format_args!(" and days = {}", self.window.days));
        if !self.window.include_deleted {
            sql.push(" and not is_deleted");
        }
        sql.push(" union all ");
    }

    fn push_days(&self, sql: &mut QueryBuilder<Postgres>, table: &str, sign: &str) {
        sql.push(format_args!(
            "select pipeline_id, case status when 'success' then {sign} * n else 0 end as success_count,
                 case status when 'failed' then {sign} * n else 0 end as failed_count,
                 {sign} * durations as durations, {sign} * duration_sum as duration_sum
             from {table} where status in ('success', 'failed')"
        ));
        if !self.window.include_deleted {
            sql.push(" and not is_deleted");
        }
        sql.push(" and space_id = ").push_bind(self.space);
    }

    /// Adds the runs of the first day. Those that have started are found by their start, and the few others
    /// by the lack of one: one index has both, but no column for the time of both.
    fn push_runs_of_first_day(&self, sql: &mut QueryBuilder<Postgres>) {
        let start = self.start();
        let midnight = format!("({}::timestamp at time zone 'UTC')", self.whole_days_from());
        let (sign, from, to) =
            if self.is_first_day_whole { (-1, &midnight, &start) } else { (1, &start, &midnight) };
        let started = format!("started_at >= {from} and started_at < {to}");
        let unstarted = format!("started_at is null and counted_at >= {from} and counted_at < {to}");
        for (before, condition) in [("", started), (" union all ", unstarted)] {
            sql.push(format_args!(
                "{before}select pipeline_id, {sign} * (status = 'success')::int,
                     {sign} * (status = 'failed')::int, {sign} * (duration_seconds is not null)::int,
                     {sign} * coalesce(duration_seconds::numeric, 0)
                 from runs where status in ('success', 'failed') and {condition}"
            ));
            if !self.window.include_deleted {
                sql.push(" and deleted_at is null");
            }
            sql.push(" and space_id = ").push_bind(self.space);
        }
    }

    /// Returns the expression of the first day that is summed as a whole.
    fn whole_days_from(&self) -> String {
        let next = i32::from(!self.is_first_day_whole);
        format!("(({} at time zone 'UTC')::date + {next})", self.start())
    }

    /// Returns the expression of the time at which the window begins.
    fn start(&self) -> String {
        format!("(now() - {} * interval '24 hours')", self.window.days)
    }
}
