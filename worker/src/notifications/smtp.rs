//! The SMTP server that e-mails are sent by: its settings, and sending.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::{AsyncSmtpTransport, AsyncSmtpTransportBuilder};
use lettre::{AsyncTransport, Message, Tokio1Executor};
use secrecy::{ExposeSecret, SecretString};

use super::request::EmailMessage;

/// The maximum wait for each response of the server.
const TIMEOUT: Duration = Duration::from_secs(10);
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

/// The connection to the SMTP server.
pub(super) struct SmtpSender {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl SmtpSender {
    /// Returns none without a host. Nothing is connected yet.
    ///
    /// # Errors
    /// When a setting cannot work.
    pub(super) fn new(config: &SmtpConfig) -> anyhow::Result<Option<Self>> {
        let Some(host) = &config.smtp_host else { return Ok(None) };
        let from = config
            .smtp_from
            .as_ref()
            .context("ORCHESTRATION_SMTP_HOST needs ORCHESTRATION_SMTP_FROM, the sender of the e-mails")?;
        let from = from.parse().context("ORCHESTRATION_SMTP_FROM is no address of an e-mail")?;
        let builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host);
        let builder = encrypted(builder, host, config)?.timeout(Some(TIMEOUT));
        let builder = match (&config.smtp_username, &config.smtp_password) {
            (Some(user), Some(password)) => {
                builder.credentials(Credentials::new(user.clone(), password.expose_secret().to_owned()))
            }
            (None, None) => builder,
            _ => anyhow::bail!("ORCHESTRATION_SMTP_USERNAME and ORCHESTRATION_SMTP_PASSWORD need each other"),
        };
        Ok(Some(Self { transport: builder.build(), from }))
    }

    /// Sends an e-mail, and returns the code of the server's response.
    ///
    /// # Errors
    /// The code of the response, if there was one, and a sentence for the channel's admins.
    pub(super) async fn send(&self, email: &EmailMessage) -> Result<u16, (Option<u16>, String)> {
        let message =
            self.encode(email).map_err(|error| (None, format!("The e-mail is invalid: {error}.")))?;
        match self.transport.send(message).await {
            Ok(response) => Ok(response.code().into()),
            Err(error) => {
                let code = error.status().map(Into::into);
                Err((code, format!("The SMTP server did not take the e-mail: {error}.")))
            }
        }
    }

    fn encode(&self, email: &EmailMessage) -> anyhow::Result<Message> {
        let mut builder = Message::builder()
            .from(self.from.clone())
            .subject(&email.subject)
            .message_id(Some(format!("<{}@{}>", email.id, self.from.email.domain())));
        for to in &email.to {
            builder = builder.to(to.parse()?);
        }
        Ok(builder.multipart(MultiPart::alternative_plain_html(email.text.clone(), email.html.clone()))?)
    }
}

fn encrypted(
    builder: AsyncSmtpTransportBuilder,
    host: &str,
    config: &SmtpConfig,
) -> anyhow::Result<AsyncSmtpTransportBuilder> {
    let (tls, default_port) = match config.smtp_tls {
        SmtpTls::Starttls => (Tls::Required(tls_parameters(host, config)?), SUBMISSION_PORT),
        SmtpTls::Implicit => (Tls::Wrapper(tls_parameters(host, config)?), SUBMISSIONS_PORT),
        SmtpTls::None => (Tls::None, SUBMISSION_PORT),
    };
    Ok(builder.port(config.smtp_port.unwrap_or(default_port)).tls(tls))
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
