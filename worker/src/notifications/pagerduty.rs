//! Events of PagerDuty (Events API v2): an incident triggers, is acknowledged and resolves under its own id.

use contract::state::Criticality;
use platform::notifications::{IncidentFacts, MessageChange};
use serde_json::{Value, json};

use super::request::Outgoing;
use super::text;

/// The maximum number of characters of a summary.
const MAX_SUMMARY: usize = 1_024;

/// Returns the event of a message. A message has one incident at most.
pub(super) fn body(outgoing: &Outgoing<'_>, routing_key: &str) -> Value {
    let message = outgoing.message;
    let summary: String = text::title(message).chars().take(MAX_SUMMARY).collect();
    let Some(incident) = message.incidents.first() else {
        return json!({
            "routing_key": routing_key, "event_action": "trigger", "dedup_key": outgoing.id,
            "client": "Orchestration",
            "payload": {"summary": summary, "source": message.space, "severity": "info"},
        });
    };
    let mut event = json!({
        "routing_key": routing_key, "event_action": action(incident), "dedup_key": incident.id,
        "client": "Orchestration",
        "payload": {
            "summary": summary,
            "source": message.space,
            "severity": severity(incident),
            "timestamp": incident.opened_at,
            "component": text::subject(incident),
            "class": incident.kind,
            "custom_details": {"summary": text::shortened(&incident.summary), "runs": incident.count,
                "criticality": incident.criticality},
        },
    });
    if let Some(link) = text::link(&message.space, incident, outgoing.console) {
        event["links"] = json!([{"href": link, "text": text::subject(incident)}]);
    }
    event
}

fn action(incident: &IncidentFacts) -> &'static str {
    match incident.change {
        MessageChange::Acknowledged => "acknowledge",
        MessageChange::Resolved => "resolve",
        _ => "trigger",
    }
}

fn severity(incident: &IncidentFacts) -> &'static str {
    match incident.criticality {
        Some(Criticality::Critical) => "critical",
        Some(Criticality::High) => "error",
        _ if incident.kind == "connector_stale" => "error",
        _ => "warning",
    }
}
