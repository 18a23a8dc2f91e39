//! The tunnel: a proxy in this process. Every connection of a pool goes through its Unix socket to
//! PostgreSQL, and is closed once a response is overdue. The driver itself waits without a limit, and a
//! timeout around a call would leave its connection in the pool.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt;
use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, sink, split};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use super::response_timer::ResponseTimer;

/// Longer than the pool's own timeout for a connection, so that callers get the pool's error.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(6);
const MIN_CONNECT_BACKOFF: Duration = Duration::from_millis(10);
const MAX_CONNECT_BACKOFF: Duration = Duration::from_secs(1);
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);
const BUFFER_BYTES: usize = 16 << 10;

/// A peer is unreachable when it acknowledges neither probes nor data for this long: on an idle connection
/// after the idle time and all probes, on a busy one after the user timeout.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 3;
const USER_TIMEOUT_MILLISECONDS: u32 = 25_000;

/// The server of a tunnel, and the maximum time until a response.
struct Tunnel {
    server: ServerAddress,
    response_timeout: Option<Duration>,
}

enum ServerAddress {
    Tcp(String, u16),
    Unix(PathBuf),
}

/// Opens a tunnel to the server of these options. Returns options that connect through it, and the guard that
/// closes its socket when dropped; open connections stay until they are closed. Without a response timeout a
/// connection is ended only if the server is unreachable.
///
/// # Errors
/// When no socket can be opened.
pub(super) fn open(
    options: PgConnectOptions,
    response_timeout: Option<Duration>,
) -> io::Result<(PgConnectOptions, DropGuard)> {
    let file = format!(".s.PGSQL.{}", options.get_port());
    let server = match options.get_socket() {
        Some(folder) => ServerAddress::Unix(folder.join(&file)),
        None if options.get_host().starts_with('/') => {
            ServerAddress::Unix(PathBuf::from(options.get_host()).join(&file))
        }
        None => ServerAddress::Tcp(options.get_host().to_owned(), options.get_port()),
    };
    // An abstract name needs no file: none to be refused by a read-only file system or left by a killed
    // process.
    let folder = format!("\0orchestration-{}", Uuid::new_v4());
    let listener = UnixListener::bind(format!("{folder}/{file}"))?;
    let stop = CancellationToken::new();
    tokio::spawn(Arc::new(Tunnel { server, response_timeout }).accept(listener, stop.clone()));
    Ok((options.socket(folder), stop.drop_guard()))
}

impl Tunnel {
    async fn accept(self: Arc<Self>, listener: UnixListener, stop: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            match accepted {
                Ok((client, _)) if is_of_this_process(&client) => {
                    tokio::spawn(self.clone().proxy(client));
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "connection to PostgreSQL not accepted");
                    sleep(ACCEPT_BACKOFF).await;
                }
            }
        }
    }

    /// Connects to PostgreSQL and proxies one connection until it ends.
    async fn proxy(self: Arc<Self>, client: UnixStream) {
        let ended = match &self.server {
            ServerAddress::Tcp(host, port) => {
                let connected = connect(async || {
                    let server = TcpStream::connect((host.as_str(), *port)).await?;
                    watch_peer(&server)?;
                    Ok(server)
                });
                match connected.await {
                    Ok(server) => copy_both_ways(client, server, self.response_timeout).await,
                    Err(error) => Err(error),
                }
            }
            ServerAddress::Unix(path) => match connect(|| UnixStream::connect(path)).await {
                Ok(server) => copy_both_ways(client, server, self.response_timeout).await,
                Err(error) => Err(error),
            },
        };
        if let Err(error) = ended {
            tracing::warn!(%error, "connection to PostgreSQL ended");
        }
    }
}

/// Whether the client belongs to this process: every process of the machine can see the socket's name.
fn is_of_this_process(client: &UnixStream) -> bool {
    let owner = client.peer_cred().ok().and_then(|owner| owner.pid());
    owner.is_none_or(|pid| u32::try_from(pid).is_ok_and(|pid| pid == std::process::id()))
}

/// Tries to connect until a timeout: a server that is about to start refuses connections.
async fn connect<S, F: Future<Output = io::Result<S>>>(try_connect: impl Fn() -> F) -> io::Result<S> {
    let deadline = Instant::now() + CONNECT_TIMEOUT;
    let mut backoff = MIN_CONNECT_BACKOFF;
    loop {
        let error = match timeout_at(deadline, try_connect()).await {
            Ok(Ok(server)) => return Ok(server),
            Ok(Err(error)) => error,
            Err(elapsed) => return Err(elapsed.into()),
        };
        if Instant::now() + backoff >= deadline {
            return Err(error);
        }
        sleep(backoff).await;
        backoff = (backoff * 2).min(MAX_CONNECT_BACKOFF);
    }
}

/// Lets the kernel end a connection whose peer is unreachable.
fn watch_peer(server: &TcpStream) -> io::Result<()> {
    server.set_nodelay(true)?;
    sockopt::set_socket_keepalive(server, true)?;
    sockopt::set_tcp_keepidle(server, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(server, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(server, KEEPALIVE_PROBES)?;
    Ok(sockopt::set_tcp_user_timeout(server, USER_TIMEOUT_MILLISECONDS)?)
}

/// Copies bytes in both directions until the client closes or a response is overdue. What the client sends
/// after the server has closed is dropped: over TLS it ends the session when the server may have left.
async fn copy_both_ways<S: AsyncRead + AsyncWrite + Unpin>(
    client: UnixStream,
    server: S,
    response_timeout: Option<Duration>,
) -> io::Result<()> {
    let timer = ResponseTimer::default();
    let (mut client_read, client_write) = client.into_split();
    let (server_read, server_write) = split(server);
    let ended = tokio::select! {
        sent = copy(&mut client_read, server_write, |_| timer.start()) => match sent {
            Ok(()) => return Ok(()),
            broken => broken,
        },
        received = copy(server_read, client_write, |bytes| timer.read(bytes)) => received,
        overdue = timer.wait_until_overdue(response_timeout) => {
            let reason = format!("PostgreSQL did not answer for {} s", overdue.as_secs());
            return Err(io::Error::new(io::ErrorKind::TimedOut, reason));
        }
    };
    ended.and(copy(client_read, sink(), |_| ()).await)
}

/// Copies bytes until the end of the source, and reports them before they are written.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    report: impl Fn(&[u8]),
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        report(&buffer[..length]);
        to.write_all(&buffer[..length]).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_peer_that_is_unreachable_is_noticed_within_half_a_minute() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        watch_peer(&server).unwrap();
        assert!(sockopt::socket_keepalive(&server).unwrap());
        let probes = sockopt::tcp_keepintvl(&server).unwrap() * sockopt::tcp_keepcnt(&server).unwrap();
        let idle = sockopt::tcp_keepidle(&server).unwrap() + probes;
        let busy = sockopt::tcp_user_timeout(&server).unwrap();
        assert!(idle <= Duration::from_secs(30) && (1..=30_000).contains(&busy), "{idle:?}, {busy} ms");
    }

    /// Otherwise the end of a TLS session fails, and with it the command that closes its last connection.
    #[tokio::test]
    async fn a_client_may_send_its_last_bytes_after_the_server_has_closed() {
        let (mut client, client_end) = UnixStream::pair().unwrap();
        let (server, server_end) = UnixStream::pair().unwrap();
        let proxy = tokio::spawn(copy_both_ways(client_end, server_end, None));
        drop(server);
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0, "the server has closed");
        for _ in 0..10 {
            client.write_all(b"the session ends").await.unwrap();
            tokio::task::yield_now().await;
        }
        drop(client);
        proxy.await.unwrap().unwrap();
    }
}
