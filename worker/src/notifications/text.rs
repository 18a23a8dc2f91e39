//! The words of messages, which all types of channels share.

use platform::notifications::{IncidentFacts, MessageChange, NotificationMessage};
use url::Url;

/// The maximum number of incidents that a message names.
pub(super) const MAX_NAMED: usize = 20;
/// The maximum number of characters of a name or a summary.
const MAX_LENGTH: usize = 300;

/// Returns the title of a message, without markup.
pub(super) fn title(message: &NotificationMessage) -> String {
    match message.incidents.as_slice() {
        [] => format!("Test of this channel from the space {}", message.space),
        [incident] => format!("{}: {}", heading(incident), subject(incident)),
        incidents => {
            let changes = [
                (MessageChange::Opened, "opened"),
                (MessageChange::Reopened, "reopened"),
                (MessageChange::Updated, "updated"),
                (MessageChange::Repeated, "still open"),
                (MessageChange::Acknowledged, "acknowledged"),
                (MessageChange::Resolved, "resolved"),
            ];
            let count = |change| incidents.iter().filter(|incident| incident.change == change).count();
            let counts: Vec<String> = changes
                .into_iter()
                .map(|(change, word)| (count(change), word))
                .filter(|(count, _)| *count > 0)
                .map(|(count, word)| format!("{count} {word}"))
                .collect();
            format!("{} incidents in {}: {}", incidents.len(), message.space, counts.join(", "))
        }
    }
}

/// Returns one sentence about a message that reports no incident.
pub(super) fn test_sentence() -> &'static str {
    "An admin has requested this test. Notifications of incidents arrive here."
}

/// Returns what happened to an incident.
fn heading(incident: &IncidentFacts) -> String {
    let kind = kind(incident);
    match incident.change {
        MessageChange::Opened | MessageChange::Test => capitalized(kind),
        MessageChange::Reopened => format!("Again {kind}"),
        MessageChange::Updated | MessageChange::Repeated => format!("Still {kind}"),
        MessageChange::Acknowledged => match &incident.acknowledged_by {
            Some(name) => format!("Acknowledged by {}", shortened(name)),
            None => "Acknowledged".to_owned(),
        },
        MessageChange::Resolved => format!("Resolved ({kind})"),
    }
}

fn kind(incident: &IncidentFacts) -> &str {
    match incident.kind.as_str() {
        "failing" => "failing",
        "late_start" => "late to start",
        "late_finish" => "late to finish",
        "slow" => "slow",
        "connector_stale" => "not synced",
        other => other,
    }
}

/// Returns the name of what the incident is about.
pub(super) fn subject(incident: &IncidentFacts) -> String {
    match &incident.pipeline {
        Some(pipeline) => shortened(&pipeline.name),
        None => format!("connector {}", shortened(&incident.connector_name)),
    }
}

/// Returns the line about an incident, without markup: what happened, and the summary.
pub(super) fn line(incident: &IncidentFacts) -> String {
    format!("{}: {}", heading(incident), shortened(&incident.summary))
}

/// Returns facts about an incident, by name.
pub(super) fn facts(incident: &IncidentFacts) -> Vec<(&'static str, String)> {
    let time = |at: chrono::DateTime<chrono::Utc>| at.format("%Y-%m-%d %H:%M UTC").to_string();
    let mut facts = vec![("Opened", time(incident.opened_at))];
    if let Some(resolved_at) = incident.resolved_at {
        facts.push(("Resolved", time(resolved_at)));
    }
    if incident.count > 1 {
        facts.push(("Runs", incident.count.to_string()));
    }
    if let Some(criticality) = incident.criticality {
        facts.push(("Criticality", criticality.to_string()));
    }
    if incident.pipeline.is_some() {
        facts.push(("Connector", shortened(&incident.connector_name)));
    }
    facts
}

/// Returns the page of the console that shows what the incident is about.
pub(super) fn link(space: &str, incident: &IncidentFacts, console: Option<&Url>) -> Option<String> {
    let mut url = console?.clone();
    let id = incident.pipeline.as_ref().map(|pipeline| pipeline.id.to_string());
    let mut segments = url.path_segments_mut().ok()?;
    segments.pop_if_empty().extend(["s", space]);
    match &id {
        Some(id) => segments.extend(["pipelines", id]),
        None => segments.push("connectors"),
    };
    drop(segments);
    Some(url.into())
}

/// Returns how many incidents a message leaves unnamed, as a sentence.
pub(super) fn rest(message: &NotificationMessage) -> Option<String> {
    let unnamed = message.incidents.len().saturating_sub(MAX_NAMED);
    (unnamed > 0).then(|| format!("And {unnamed} more."))
}

/// Cuts a text to a length that fits every service, and joins its lines.
pub(super) fn shortened(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_LENGTH) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}
