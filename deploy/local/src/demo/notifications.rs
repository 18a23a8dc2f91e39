//! Notifications of the demo: an e-mail and a webhook for each incident.

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};

use super::incidents::{LATE, SLOW};
use super::{DemoApi, SPACE, text};
use crate::env_file::{self, DemoSettings};
use crate::receiver::Receiver;
use crate::status::Component;

const EMAIL_TO: &str = "on-call@demo.example";

/// Sets the worker's mail server, and the address of the console for the links in messages. A running worker
/// with other settings is stopped.
pub(super) async fn set_mail_server(
    settings: &mut DemoSettings,
    api: &DemoApi,
    receiver: &Receiver,
) -> Result<()> {
    let before = settings.clone();
    let smtp_port = receiver.smtp_port.to_string();
    let changed = [
        ("ORCHESTRATION_URL", api.url.as_str()),
        ("ORCHESTRATION_SMTP_HOST", "127.0.0.1"),
        ("ORCHESTRATION_SMTP_PORT", &smtp_port),
        ("ORCHESTRATION_SMTP_TLS", "none"),
        ("ORCHESTRATION_SMTP_FROM", "Orchestration <orchestration@demo.example>"),
    ];
    settings.extend(changed.map(|(name, value)| (name.to_owned(), value.to_owned())));
    if *settings != before {
        Component::Worker.service().stop().await?;
    }
    env_file::write(settings)
}

/// Creates a channel of each receiver with a rule that holds for every incident, unless they exist.
pub(super) async fn ensure_channels(
    settings: &DemoSettings,
    api: &DemoApi,
    receiver: &Receiver,
) -> Result<()> {
    let key = &settings["ORCHESTRATION_ADMIN_KEY"];
    for channel in [
        json!({"type": "webhook", "name": "demo webhook", "config": {"url": receiver.url}}),
        json!({"type": "email", "name": "demo e-mail", "config": {"to": [EMAIL_TO]}}),
    ] {
        ensure_channel(api, key, &channel).await?;
    }
    Ok(())
}

async fn ensure_channel(api: &DemoApi, key: &str, desired: &Value) -> Result<()> {
    let base = format!("spaces/{SPACE}/orchestration/notifications");
    let channels = format!("{base}/channels");
    let found = api.find(&channels, key, "name", &text(desired, "name")?).await?;
    let channel = match &found {
        None => api.request(Method::POST, &channels, key, Some(desired)).await?,
        Some(found) => {
            let change = json!({"config": desired["config"], "is_active": true});
            let path = format!("{channels}/{}", text(found, "id")?);
            api.request(Method::PATCH, &path, key, Some(&change)).await?
        }
    };
    let (rules, id) = (format!("{base}/rules"), text(&channel, "id")?);
    if api.find(&rules, key, "channel_id", &id).await?.is_none() {
        api.request(Method::POST, &rules, key, Some(&json!({ "channel_id": id }))).await?;
    }
    Ok(())
}

/// The last lines of the demo, which say where the messages arrive.
pub(super) fn summary(receiver: &Receiver) -> String {
    format!(
        "
Within five minutes the slow run of `{SLOW}` and the late start of `{LATE}` are reported by e-mail
({EMAIL_TO}) and to a webhook:
  {url}   (what has arrived)
  cargo local logs receiver -f   (what arrives)",
        url = receiver.url
    )
}
