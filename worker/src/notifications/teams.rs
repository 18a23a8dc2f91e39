//! Messages of Microsoft Teams: an Adaptive Card, as workflows post it.

use platform::notifications::{IncidentFacts, NotificationMessage};
use serde_json::{Value, json};
use url::Url;

use super::text;

/// Returns the body of a workflow's webhook.
pub(super) fn body(message: &NotificationMessage, console: Option<&Url>) -> Value {
    let mut body = vec![json!({
        "type": "TextBlock", "text": escaped(&text::title(message)), "size": "Large", "weight": "Bolder",
        "wrap": true,
    })];
    if message.incidents.is_empty() {
        body.push(paragraph(text::test_sentence()));
    }
    for incident in message.incidents.iter().take(text::MAX_NAMED) {
        body.push(incident_container(&message.space, incident, console));
    }
    body.extend(text::rest(message).map(|rest| paragraph(&rest)));
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard", "version": "1.4", "body": body,
            },
        }],
    })
}

fn paragraph(text: &str) -> Value {
    json!({"type": "TextBlock", "text": text, "wrap": true})
}

fn incident_container(space: &str, incident: &IncidentFacts, console: Option<&Url>) -> Value {
    let facts: Vec<Value> = text::facts(incident)
        .into_iter()
        .map(|(name, value)| json!({"title": name, "value": escaped(&value)}))
        .collect();
    let mut items = vec![
        json!({
            "type": "TextBlock", "text": escaped(&text::subject(incident)), "weight": "Bolder", "wrap": true,
        }),
        paragraph(&escaped(&text::line(incident))),
        json!({"type": "FactSet", "facts": facts}),
    ];
    if let Some(link) = text::link(space, incident, console) {
        let action = json!({"type": "Action.OpenUrl", "title": "Open", "url": link});
        items.push(json!({"type": "ActionSet", "actions": [action]}));
    }
    json!({"type": "Container", "separator": true, "items": items})
}

/// Escapes what a card would interpret as Markdown.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if "\\`*_[]<>".contains(character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}
