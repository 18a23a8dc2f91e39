//! A proxy before PostgreSQL that can go mute, as a host without power or a firewall that drops a connection
//! does: connections stay open, bytes are taken, and nothing comes back.

use std::future::pending;

use sqlx::postgres::PgConnectOptions;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use url::Url;

/// The proxy. A connection that was open or opened while it was mute stays mute.
pub struct MuteProxy {
    /// The database's URL through the proxy.
    pub url: String,
    /// How often the proxy has been muted and opened: odd while it is mute.
    turns: watch::Sender<u64>,
}

impl MuteProxy {
    /// Starts an open proxy before the server of a database.
    pub async fn start(database_url: &str) -> Self {
        let server: PgConnectOptions = database_url.parse().unwrap();
        let server = (server.get_host().to_owned(), server.get_port());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut url: Url = database_url.parse().unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
        let (turns, turned) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, server.clone(), turned.clone()));
            }
        });
        Self { url: url.into(), turns }
    }

    /// Holds back every byte from now on.
    pub fn mute(&self) {
        self.turns.send_modify(|turns| *turns |= 1);
    }

    /// Lets new connections pass.
    pub fn open(&self) {
        self.turns.send_modify(|turns| *turns += *turns % 2);
    }
}

/// Carries the bytes of a connection until the proxy goes mute, and then holds it open.
async fn carry(mut client: TcpStream, server: (String, u16), mut turned: watch::Receiver<u64>) {
    if turned.borrow_and_update().is_multiple_of(2) {
        let mut server = TcpStream::connect(server).await.unwrap();
        tokio::select! {
            _ = copy_bidirectional(&mut client, &mut server) => return,
            Ok(()) = turned.changed() => pending::<()>().await,
        }
    }
    pending::<()>().await;
}
