//! The SMTP server that e-mails are sent by: its settings, and sending.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, TlsParameters};
use lettre::{Address, Message};
use secrecy::{ExposeSecret, SecretString};

use super::request::EmailMessage;
use super::smtp_transaction::{EndedTransaction, SmtpEndpoint};

/// The maximum number of characters of the server's own words about a recipient.
const MAX_WORDS: usize = 200;
const SUBMISSION_PORT: u16 = 587;
const SUBMISSIONS_PORT: u16 = 465;

/// How a connection to the server is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SmtpTls {
    /// The connection must be upgraded before anything else is sent
    Starttls,
    /// The connection is encrypted from its beginning
    Implicit,
    /// Nothing is encrypted: for a relay on the same machine
    None,
}

/// The settings of the SMTP server.
#[derive(Args, Clone, Debug)]
pub struct SmtpConfig {
    /// Host name of the SMTP server for notifications by e-mail; without it, no e-mail is sent
    #[arg(long, env = "ORCHESTRATION_SMTP_HOST")]
    pub smtp_host: Option<String>,

    /// Port of the SMTP server (default: 587, or 465 with implicit TLS)
    #[arg(long, env = "ORCHESTRATION_SMTP_PORT")]
    pub smtp_port: Option<u16>,

    /// Encryption of the connection to the SMTP server
    #[arg(long, env = "ORCHESTRATION_SMTP_TLS", value_enum, default_value_t = SmtpTls::Starttls)]
    pub smtp_tls: SmtpTls,

    /// User at the SMTP server; without one, it is not authenticated
    #[arg(long, env = "ORCHESTRATION_SMTP_USERNAME")]
    pub smtp_username: Option<String>,

    /// Password of the user at the SMTP server
    #[arg(long, env = "ORCHESTRATION_SMTP_PASSWORD", hide_env_values = true)]
    pub smtp_password: Option<SecretString>,

    /// Sender of e-mails, such as `Orchestration <orchestration@example.org>`
    #[arg(long, env = "ORCHESTRATION_SMTP_FROM")]
    pub smtp_from: Option<String>,

    /// PEM file with the authority of the SMTP server's certificate, if it is a private one
    #[arg(long, env = "ORCHESTRATION_SMTP_CA_FILE")]
    pub smtp_ca_file: Option<PathBuf>,
}

/// What e-mails are sent with.
pub(super) struct SmtpSender {
    server: SmtpEndpoint,
    from: Mailbox,
}

/// How an e-mail was sent.
#[derive(Debug, Default)]
pub(super) struct SentEmail {
    /// The code of the server's response, if there was one.
    pub code: Option<u16>,
    /// The recipients of whom the server has accepted the e-mail.
    pub reached: Vec<String>,
    /// Why others do not get it; none if there are none.
    pub error: Option<String>,
    /// Whether another attempt would reach no one else.
    pub is_final: bool,
}

impl SmtpSender {
    /// Returns none without a host. Nothing is connected yet.
    ///
    /// # Errors
    /// When a setting cannot work.
    pub(super) fn new(config: &SmtpConfig) -> anyhow::Result<Option<Self>> {
        let Some(host) = config.smtp_host.clone() else { return Ok(None) };
        let from = config
            .smtp_from
            .as_ref()
            .context("ORCHESTRATION_SMTP_HOST needs ORCHESTRATION_SMTP_FROM, the sender of the e-mails")?;
        let from = from.parse().context("ORCHESTRATION_SMTP_FROM is no address of an e-mail")?;
        let credentials = match (&config.smtp_username, &config.smtp_password) {
            (Some(user), Some(password)) => {
                Some(Credentials::new(user.clone(), password.expose_secret().to_owned()))
            }
            (None, None) => None,
            _ => anyhow::bail!("ORCHESTRATION_SMTP_USERNAME and ORCHESTRATION_SMTP_PASSWORD need each other"),
        };
        let (implicit_tls, starttls, port) = match config.smtp_tls {
            SmtpTls::Starttls => (None, Some(tls_parameters(&host, config)?), SUBMISSION_PORT),
            SmtpTls::Implicit => (Some(tls_parameters(&host, config)?), None, SUBMISSIONS_PORT),
            SmtpTls::None => (None, None, SUBMISSION_PORT),
        };
        let port = config.smtp_port.unwrap_or(port);
        let server = SmtpEndpoint { host, port, implicit_tls, starttls, credentials };
        Ok(Some(Self { server, from }))
    }

    /// Sends an e-mail to those of its recipients that the server accepts.
    pub(super) async fn send(&self, email: &EmailMessage) -> SentEmail {
        let (recipients, invalid): (Vec<&String>, Vec<&String>) =
            email.recipients.iter().partition(|it| it.parse::<Address>().is_ok());
        let invalid = invalid.into_iter().map(|it| describe(it, "it is no address of an e-mail"));
        let recipients: Vec<Address> = recipients.into_iter().filter_map(|it| it.parse().ok()).collect();
        let content = match self.encode(email) {
            Ok(message) => message.formatted(),
            Err(error) => {
                let error = Some(format!("The e-mail is invalid: {error}."));
                return SentEmail { error, ..SentEmail::default() };
            }
        };
        match self.server.send(&self.from.email, &recipients, &content).await {
            Ok(ended) => SentEmail::of(&ended, invalid.collect()),
            Err(error) => SentEmail {
                code: error.code(),
                error: Some(format!("The SMTP server did not take the e-mail: {error}.")),
                ..SentEmail::default()
            },
        }
    }

    fn encode(&self, email: &EmailMessage) -> anyhow::Result<Message> {
        let mut builder = Message::builder()
            .from(self.from.clone())
            .subject(&email.subject)
            .message_id(Some(format!("<{}@{}>", email.id, self.from.email.domain())));
        for to in email.to.iter().filter_map(|to| to.parse().ok()) {
            builder = builder.to(to);
        }
        Ok(builder.multipart(MultiPart::alternative_plain_html(email.text.clone(), email.html.clone()))?)
    }
}

impl SentEmail {
    /// Once a recipient has the e-mail, those that are refused for good do not get it: their addresses are
    /// wrong, and not the server.
    fn of(ended: &EndedTransaction, invalid: Vec<String>) -> Self {
        let EndedTransaction { code, accepted, refused } = ended;
        let first_code = || refused.first().and_then(|(_, error)| error.status().map(Into::into));
        let errors: Vec<String> = refused
            .iter()
            .map(|(recipient, error)| describe(recipient.as_ref(), &error.to_string()))
            .chain(invalid)
            .collect();
        Self {
            code: code.or_else(first_code),
            reached: accepted.iter().map(ToString::to_string).collect(),
            error: (!errors.is_empty()).then(|| errors.join(" ")),
            is_final: !accepted.is_empty() && refused.iter().all(|(_, error)| error.is_permanent()),
        }
    }
}

/// Says that a recipient does not get an e-mail.
fn describe(recipient: &str, why: &str) -> String {
    let why: String = why.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(MAX_WORDS).collect();
    format!("{recipient} did not get the e-mail: {why}.")
}

fn tls_parameters(host: &str, config: &SmtpConfig) -> anyhow::Result<TlsParameters> {
    let mut parameters = TlsParameters::builder(host.to_owned());
    if let Some(path) = &config.smtp_ca_file {
        let pem = std::fs::read(path)
            .with_context(|| format!("ORCHESTRATION_SMTP_CA_FILE {} cannot be read", path.display()))?;
        let authority =
            Certificate::from_pem(&pem).context("ORCHESTRATION_SMTP_CA_FILE has no certificate in PEM")?;
        parameters = parameters.add_root_certificate(authority);
    }
    parameters.build().context("TLS could not be set up for the SMTP server")
}
