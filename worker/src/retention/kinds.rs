//! The kinds of rows that have a retention.

use super::RetentionConfig;
use crate::store::retention::{self, RetentionSql};

/// A kind of row that has a retention.
pub(super) struct RetainedKind {
    /// Its name in the `retention` table, in logs and in metrics.
    pub(super) what: &'static str,
    /// For how many days the settings keep it; none means forever.
    pub(super) days: fn(&RetentionConfig) -> Option<i32>,
    pub(super) sql: RetentionSql,
}

/// For how many days scheduled syncs are kept that found nothing. No request refers to them.
const QUIET_SYNC_DAYS: i32 = 1;

/// Task runs come before runs, because a run is removed only when it has no task runs left.
pub(super) const KINDS: [RetainedKind; 10] = [
    RetainedKind { what: "task_runs", days: RetentionConfig::task_run_days, sql: retention::TASK_RUNS },
    RetainedKind { what: "runs", days: |config| config.keep_runs.days(), sql: retention::RUNS },
    RetainedKind { what: "syncs", days: |config| config.keep_syncs.days(), sql: retention::SYNCS },
    RetainedKind { what: "quiet_syncs", days: |_| Some(QUIET_SYNC_DAYS), sql: retention::QUIET_SYNCS },
    RetainedKind { what: "triggers", days: |config| config.keep_triggers.days(), sql: retention::TRIGGERS },
    RetainedKind {
        what: "dead_letters",
        days: |config| config.keep_dead_letters.days(),
        sql: retention::DEAD_LETTERS,
    },
    RetainedKind {
        what: "incidents",
        days: |config| config.keep_incidents.days(),
        sql: retention::INCIDENTS,
    },
    RetainedKind {
        what: "notification_deliveries",
        days: |config| config.keep_notifications.days(),
        sql: retention::NOTIFICATION_DELIVERIES,
    },
    RetainedKind { what: "inbox", days: |config| config.keep_notifications.days(), sql: retention::INBOX },
    RetainedKind { what: "audit", days: |config| config.keep_audit.days(), sql: retention::AUDIT },
];
