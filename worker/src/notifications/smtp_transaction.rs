//! One transaction with an SMTP server. The server answers each recipient by itself, so that one whom it
//! refuses does not keep the e-mail from the others. lettre ends the transaction at the first refusal.

use std::time::Duration;

use lettre::Address;
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, MailParameter};

/// The maximum wait for each response of the server.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The maximum duration of a transaction: a channel's lease lasts longer than it and the batch before it.
const MAX_DURATION: Duration = Duration::from_secs(45);

/// Where the server is, and how it is spoken to.
pub(super) struct SmtpEndpoint {
    pub host: String,
    pub port: u16,
    /// TLS from the beginning of a connection.
    pub implicit_tls: Option<TlsParameters>,
    /// TLS that the connection is upgraded to, before anything else is sent.
    pub starttls: Option<TlsParameters>,
    pub credentials: Option<Credentials>,
}

/// What a server has answered.
#[derive(Debug, Default)]
pub(super) struct EndedTransaction {
    /// The code of the response to the content; none if no recipient was accepted.
    pub code: Option<u16>,
    /// The recipients of whom the server has accepted the e-mail.
    pub accepted: Vec<Address>,
    pub refused: Vec<(Address, SmtpError)>,
}

/// Why no recipient gets the e-mail.
#[derive(Debug, thiserror::Error)]
pub(super) enum TransactionError {
    #[error("it gave no answer within {} s", .0.as_secs())]
    Silence(Duration),
    #[error(transparent)]
    Server(#[from] SmtpError),
}

impl TransactionError {
    /// The code of the response, if there was one.
    pub(super) fn code(&self) -> Option<u16> {
        match self {
            Self::Silence(_) => None,
            Self::Server(error) => error.status().map(Into::into),
        }
    }
}

impl SmtpEndpoint {
    /// Sends an e-mail to those recipients that the server accepts.
    pub(super) async fn send(
        &self,
        from: &Address,
        recipients: &[Address],
        content: &[u8],
    ) -> Result<EndedTransaction, TransactionError> {
        let transaction = async {
            let mut connection = self.connect().await?;
            let ended = exchange(&mut connection, from, recipients, content).await;
            // What follows the answer to the content changes nothing.
            let _ = tokio::time::timeout(TIMEOUT, connection.abort()).await;
            ended
        };
        let ended = tokio::time::timeout(MAX_DURATION, transaction).await;
        ended.unwrap_or(Err(TransactionError::Silence(MAX_DURATION)))
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, TransactionError> {
        let hello = ClientId::default();
        let address = (self.host.as_str(), self.port);
        let tls = self.implicit_tls.clone();
        let connect = AsyncSmtpConnection::connect_tokio1(address, Some(TIMEOUT), &hello, tls, None);
        let mut connection = within(connect).await?;
        if let Some(tls) = &self.starttls {
            within(connection.starttls(tls.clone(), &hello)).await?;
        }
        if let Some(credentials) = &self.credentials {
            within(connection.auth(DEFAULT_MECHANISMS, credentials)).await?;
        }
        Ok(connection)
    }
}

async fn exchange(
    connection: &mut AsyncSmtpConnection,
    from: &Address,
    recipients: &[Address],
    content: &[u8],
) -> Result<EndedTransaction, TransactionError> {
    let is_ascii = AsRef::<str>::as_ref(from).is_ascii();
    let parameters = if is_ascii { Vec::new() } else { vec![MailParameter::SmtpUtfEight] };
    within(connection.command(Mail::new(Some(from.clone()), parameters))).await?;
    let mut ended = EndedTransaction::default();
    for recipient in recipients {
        match within(connection.command(Rcpt::new(recipient.clone(), Vec::new()))).await {
            Ok(_) => ended.accepted.push(recipient.clone()),
            Err(TransactionError::Server(error)) if error.status().is_some() => {
                ended.refused.push((recipient.clone(), error));
            }
            Err(error) => return Err(error),
        }
    }
    if !ended.accepted.is_empty() {
        within(connection.command(Data)).await?;
        ended.code = Some(within(connection.message(content)).await?.code().into());
    }
    Ok(ended)
}

/// Bounds the wait for a response: lettre bounds that for the connection alone.
async fn within<T>(response: impl Future<Output = Result<T, SmtpError>>) -> Result<T, TransactionError> {
    match tokio::time::timeout(TIMEOUT, response).await {
        Ok(response) => Ok(response?),
        Err(_) => Err(TransactionError::Silence(TIMEOUT)),
    }
}
