//! Notifications of incidents: the dispatcher decides which channels and users are notified of what, and
//! writes messages into the outbox of the channels; the deliverer sends them. What a message says is a pure
//! function of its facts and contains neither a conf nor a secret.

mod deliver;
mod dispatch;
mod email;
mod pagerduty;
mod request;
mod retries;
mod sender;
mod slack;
mod smtp;
mod smtp_transaction;
mod teams;
#[cfg(test)]
mod tests;
mod text;
mod webhook;

pub use deliver::Deliverer;
pub use dispatch::{dispatch, run as run_dispatcher};
pub use sender::{Sender, SenderConfig};
pub use smtp::{SmtpConfig, SmtpTls};
