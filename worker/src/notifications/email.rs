//! E-mails: a plain and an HTML part that say the same.

use std::fmt::Write as _;

use platform::notifications::IncidentFacts;
use url::Url;

use super::request::{EmailMessage, Outgoing};
use super::text;

/// Returns the e-mail of a message.
pub(super) fn render(outgoing: &Outgoing<'_>, to: Vec<String>) -> EmailMessage {
    let message = outgoing.message;
    let title = text::title(message);
    let (mut plain, mut html) = (format!("{title}\n"), format!("<h2>{}</h2>\n", escaped(&title)));
    if message.incidents.is_empty() {
        add_paragraph(&mut plain, &mut html, text::test_sentence());
    }
    for incident in message.incidents.iter().take(text::MAX_NAMED) {
        add_incident(&mut plain, &mut html, &message.space, incident, outgoing.console);
    }
    if let Some(rest) = text::rest(message) {
        add_paragraph(&mut plain, &mut html, &rest);
    }
    let html = format!("<!doctype html>\n<html><body>\n{html}</body></html>\n");
    let subject = format!("[{}] {title}", message.space);
    let recipients = to.iter().filter(|to| !outgoing.reached.contains(to)).cloned().collect();
    EmailMessage { id: outgoing.id, to, recipients, subject, text: plain, html }
}

fn add_paragraph(plain: &mut String, html: &mut String, sentence: &str) {
    let _ = write!(plain, "\n{sentence}\n");
    let _ = writeln!(html, "<p>{}</p>", escaped(sentence));
}

fn add_incident(
    plain: &mut String,
    html: &mut String,
    space: &str,
    incident: &IncidentFacts,
    console: Option<&Url>,
) {
    let (subject, line) = (text::subject(incident), text::line(incident));
    let link = text::link(space, incident, console);
    let heading = match &link {
        Some(link) => format!("<a href=\"{}\">{}</a>", escaped(link), escaped(&subject)),
        None => escaped(&subject),
    };
    let _ = write!(plain, "\n{subject}\n{line}\n");
    let _ = writeln!(html, "<h3>{heading}</h3>\n<p>{}</p>\n<ul>", escaped(&line));
    for (name, value) in text::facts(incident) {
        let _ = writeln!(plain, "  {name}: {value}");
        let _ = writeln!(html, "<li>{name}: {}</li>", escaped(&value));
    }
    html.push_str("</ul>\n");
    if let Some(link) = link {
        let _ = writeln!(plain, "  {link}");
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
