//! A proxy before PostgreSQL or Kafka that can become a black hole, like a host without power or a firewall
//! that drops packets: connections stay open, and no response arrives.

use std::future::pending;

use sqlx::postgres::PgConnectOptions;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use url::Url;

/// The proxy. A connection that was open when it became a black hole, or was opened while it was one, never
/// gets a response again.
pub struct BlackholeProxy {
    /// The database's URL, or Kafka's bootstrap servers, through the proxy.
    pub url: String,
    /// The number of changes of the state: an odd number while the proxy is a black hole.
    changes: watch::Sender<u64>,
}

impl BlackholeProxy {
    /// Starts an open proxy before the server of a database.
    pub async fn start(database_url: &str) -> Self {
        let server: PgConnectOptions = database_url.parse().unwrap();
        let server = format!("{}:{}", server.get_host(), server.get_port());
        let (listener, port) = listen().await;
        let mut url: Url = database_url.parse().unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(port)).unwrap();
        Self { url: url.into(), changes: forward(listener, server) }
    }

    /// Starts an open proxy before a broker of this name, which is started for it and must be stopped in the
    /// end.
    pub async fn start_before_kafka(name: &str) -> Self {
        let (listener, port) = listen().await;
        let server = local::proxied_kafka_instance(name, port).await.unwrap();
        Self { url: format!("127.0.0.1:{port}"), changes: forward(listener, server) }
    }

    /// Drops all bytes from now on.
    pub fn block(&self) {
        self.changes.send_modify(|changes| *changes |= 1);
    }

    /// Forwards the bytes of new connections from now on.
    pub fn open(&self) {
        self.changes.send_modify(|changes| *changes += *changes % 2);
    }
}

async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn forward(listener: TcpListener, server: String) -> watch::Sender<u64> {
    let (changes, changed) = watch::channel(0);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(proxy(client, server.clone(), changed.clone()));
        }
    });
    changes
}

/// Copies the bytes of a connection until the proxy becomes a black hole, and then keeps it open.
async fn proxy(mut client: TcpStream, server: String, mut changed: watch::Receiver<u64>) {
    if changed.borrow_and_update().is_multiple_of(2) {
        // The server may have been stopped already.
        let Ok(mut server) = TcpStream::connect(server).await else { return };
        tokio::select! {
            _ = copy_bidirectional(&mut client, &mut server) => return,
            Ok(()) = changed.changed() => pending::<()>().await,
        }
    }
    pending::<()>().await;
}
