//! Messages of Slack: blocks, and a text for where blocks are not shown.

use platform::notifications::{IncidentFacts, NotificationMessage};
use serde_json::{Value, json};
use url::Url;

use super::text;

/// Returns the body of an incoming webhook.
pub(super) fn body(message: &NotificationMessage, console: Option<&Url>) -> Value {
    let title = text::title(message);
    // A header has at most 150 characters.
    let header: String = title.chars().take(150).collect();
    let mut blocks = vec![json!({"type": "header", "text": {"type": "plain_text", "text": header}})];
    if message.incidents.is_empty() {
        blocks.push(section(text::test_sentence()));
    }
    for incident in message.incidents.iter().take(text::MAX_NAMED) {
        blocks.push(incident_section(&message.space, incident, console));
        blocks.push(context(incident));
    }
    if let Some(rest) = text::rest(message) {
        blocks.push(section(&rest));
    }
    json!({"text": escaped(&title), "blocks": blocks})
}

fn section(text: &str) -> Value {
    json!({"type": "section", "text": {"type": "mrkdwn", "text": text}})
}

fn incident_section(space: &str, incident: &IncidentFacts, console: Option<&Url>) -> Value {
    let subject = escaped(&text::subject(incident));
    let subject = match text::link(space, incident, console) {
        // In a link, a bar separates the address from the text.
        Some(link) => format!("<{link}|{}>", subject.replace('|', "¦")),
        None => subject,
    };
    section(&format!("*{subject}*\n{}", escaped(&text::line(incident))))
}

fn context(incident: &IncidentFacts) -> Value {
    let facts: Vec<String> =
        text::facts(incident).into_iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let text = escaped(&facts.join(" · "));
    json!({"type": "context", "elements": [{"type": "mrkdwn", "text": text}]})
}

/// Escapes the three characters that Slack interprets.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
