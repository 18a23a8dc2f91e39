//! Descriptions of the worker's metrics.

use contract::state::EntityKind;
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram};
use platform::health;
use platform::notifications::ChannelType;
use strum::VariantArray;

use super::{NOTIFICATION_OUTCOMES, count_notifications, count_unreadable};

/// Describes the metrics. Counters of rare events exist from the start, so that their first event is an
/// increase.
pub fn describe() {
    describe_connectors();
    describe_queues();
    describe_projection();
    describe_signals();
    let histogram = |name, help| describe_histogram!(name, Unit::Seconds, help);
    histogram(
        "orchestration_sync_duration_seconds",
        "How long syncs took, by outcome: succeeded, failed, cancelled, or left to another worker",
    );
    histogram(
        "orchestration_schedule_lateness_seconds",
        "How long after its scheduled time a sync began: ticking, waiting for a permit",
    );
    health::describe();
    describe_counter!("orchestration_ticks_total", "Runs of the scheduler, one a second");
    describe_counter!("orchestration_ticks_missed_total", "Scheduled syncs that were due but skipped");
    describe_counter!("orchestration_changes_total", "Pipelines, runs and task runs found changed, by kind");
    describe_counter!(
        "orchestration_source_unreadable_total",
        "Rows of providers that could not be read, or only in part, by what they describe"
    );
    describe_counter!("orchestration_events_published_total", "Events acknowledged by Kafka, by topic");
    counter!("orchestration_signal_evaluations_total").increment(0);
    for channel_type in ChannelType::VARIANTS {
        for outcome in NOTIFICATION_OUTCOMES {
            count_notifications(*channel_type, outcome, 0);
        }
    }
    counter!("orchestration_log_resets_total").increment(0);
    counter!("orchestration_ticks_total").increment(0);
    counter!("orchestration_ticks_missed_total").increment(0);
    EntityKind::KNOWN.into_iter().for_each(|what| count_unreadable(what, 0));
}

fn describe_connectors() {
    describe_gauge!(
        "orchestration_connector_last_success_timestamp_seconds",
        Unit::Seconds,
        "When the last successful sync of a connector finished, or when it was created if it had none"
    );
    describe_gauge!(
        "orchestration_connector_due_timestamp_seconds",
        Unit::Seconds,
        "When the next successful sync of a connector is due by its schedule; absent without a schedule"
    );
    describe_gauge!(
        "orchestration_connector_consecutive_failures",
        "Failed syncs of a connector since the last successful one"
    );
}

fn describe_queues() {
    describe_gauge!("orchestration_syncs_waiting", "Queued syncs");
    describe_gauge!("orchestration_syncs_running", "Running syncs");
    describe_gauge!(
        "orchestration_syncs_oldest_waiting_seconds",
        Unit::Seconds,
        "Age of the oldest sync that is queued for a worker, and not for another sync of its connector"
    );
    describe_gauge!(
        "orchestration_outbox_records",
        "Records that are queued for Kafka in the outbox, counted up to 10000"
    );
    describe_gauge!(
        "orchestration_outbox_oldest_seconds",
        Unit::Seconds,
        "Age of the oldest record in the outbox"
    );
    describe_gauge!(
        "orchestration_notifications_pending",
        "Notifications that are queued for their channels, counted up to 10000"
    );
    describe_gauge!(
        "orchestration_notifications_oldest_pending_seconds",
        Unit::Seconds,
        "Age of the oldest notification that its channel was not delivered yet"
    );
    describe_counter!(
        "orchestration_notification_attempts_total",
        "Attempts to send notifications, by type of channel and outcome: delivered, retried, failed"
    );
    describe_gauge!(
        "orchestration_dead_letters_open",
        "Dead letters that were not sent again, counted up to 10000"
    );
}

fn describe_signals() {
    describe_gauge!("orchestration_incidents_unresolved", "Open and acknowledged incidents, by kind");
    describe_counter!("orchestration_incidents_opened_total", "Incidents that were opened, by kind");
    describe_counter!(
        "orchestration_signal_evaluations_total",
        "Evaluations of signals, one every ten seconds over all workers"
    );
}

fn describe_projection() {
    describe_gauge!(
        "orchestration_projector_lag_records",
        "Records that the read model has not applied yet, by topic"
    );
    describe_gauge!(
        "orchestration_projector_lag_seconds",
        Unit::Seconds,
        "Age of the oldest record that the read model has not applied yet, by topic"
    );
    describe_gauge!("orchestration_requests_lag_records", "Sync requests that were not read yet, by topic");
    describe_gauge!(
        "orchestration_requests_lag_seconds",
        Unit::Seconds,
        "Age of the oldest sync request that was not read yet, by topic"
    );
    describe_counter!("orchestration_records_applied_total", "Records read from Kafka and applied, by group");
    describe_counter!(
        "orchestration_events_too_large_total",
        "Events left out because they were larger than Kafka accepts, by topic"
    );
    describe_counter!(
        "orchestration_log_resets_total",
        "Partitions read from their start, because the topic was created again or has lost records"
    );
    describe_counter!("orchestration_dead_letters_total", "Records stored as dead letters, by group");
    describe_counter!(
        "orchestration_dead_letters_left_out_total",
        "Invalid records that were not stored because there are too many open dead letters, by group"
    );
    describe_counter!(
        "orchestration_retention_removed_total",
        "Rows past retention that were removed, by kind of row"
    );
}
