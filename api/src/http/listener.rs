//! Accepts connections and serves HTTP/1.1 on them, within limits.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::connection::{Connection, ConnectionTimeouts, RequestProgress};
use super::raw_response;

/// The size that the head of a request may have, in bytes; one that arrives at once may be somewhat larger.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// The pause after a connection could not be accepted, for instance without a free file descriptor.
const ACCEPT_BACKOFF: Duration = Duration::from_secs(1);

/// The limits of the listener.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionLimits {
    pub timeouts: ConnectionTimeouts,
    /// The maximum number of open connections.
    pub connections: usize,
}

/// Serves until stopped, and then until every open request is answered.
pub(crate) async fn serve(
    listener: TcpListener,
    routes: Router,
    limits: ConnectionLimits,
    stop: CancellationToken,
) {
    let open = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "connection not accepted");
                sleep(ACCEPT_BACKOFF).await;
                continue;
            }
        };
        match open.clone().try_acquire_owned() {
            Ok(permit) => spawn(Accepted { socket, peer, permit }, &routes, limits.timeouts, &graceful),
            Err(_) => refuse(&socket),
        }
    }
    drop(listener);
    graceful.shutdown().await;
}

struct Accepted {
    socket: TcpStream,
    peer: SocketAddr,
    permit: OwnedSemaphorePermit,
}

/// Serves one connection in a task of its own.
fn spawn(accepted: Accepted, routes: &Router, timeouts: ConnectionTimeouts, graceful: &GracefulShutdown) {
    let Accepted { socket, peer, permit } = accepted;
    let progress = Arc::new(RequestProgress::default());
    let io = TokioIo::new(Connection::new(socket, timeouts, progress.clone()));
    let routes = routes.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (routes, open_request) = (routes.clone(), progress.receive());
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            let response = routes.oneshot(request).await;
            drop(open_request);
            Ok::<_, Infallible>(response.unwrap_or_else(|never| match never {}))
        }
    });
    let connection = http1::Builder::new().max_buf_size(MAX_HEAD_BYTES).serve_connection(io, service);
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection ended");
        }
        drop(permit);
    });
}

/// Answers a connection beyond the limit, as far as its buffer allows, and closes it.
fn refuse(socket: &TcpStream) {
    tracing::warn!("connection refused: too many are open");
    let sentence = "Too many connections are open here; try again in a moment";
    let response = raw_response::closing(StatusCode::SERVICE_UNAVAILABLE, sentence);
    let _ = socket.try_write(&response);
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;

    use super::*;
    use axum::routing::{get, post};
    use futures::stream::repeat_with;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::oneshot;

    fn limits(timeouts: ConnectionTimeouts) -> ConnectionLimits {
        ConnectionLimits { timeouts, connections: 3 }
    }

    /// Opens a connection, sends these bytes, and reads until the server closes it.
    async fn exchange(address: SocketAddr, request: &[u8]) -> String {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(request).await.unwrap();
        let mut response = Vec::new();
        let read = client.read_to_end(&mut response);
        let _ = tokio::time::timeout(Duration::from_secs(60), read).await.expect("the connection is closed");
        String::from_utf8(response).unwrap()
    }

    #[tokio::test]
    async fn malformed_heads_and_too_many_connections_get_json_errors() {
        let inner = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = inner.local_addr().unwrap();
        let timeouts = ConnectionTimeouts { write: Duration::from_secs(600), idle: Duration::from_secs(600) };
        let app = Router::new().route("/", get(async || "here"));
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve(inner, app, limits(timeouts), stop.clone()));
        let huge = "x".repeat(2 * MAX_HEAD_BYTES);
        for (request, status) in [
            ("no request\r\n\r\n".to_owned(), "400"),
            (format!("GET / HTTP/1.1\r\nhost: x\r\nx: {huge}\r\n\r\n"), "431"),
            (format!("GET /{huge} HTTP/1.1\r\nhost: x\r\n\r\n"), "431"),
        ] {
            let response = exchange(address, request.as_bytes()).await;
            let (head, body) = response.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
            assert!(head.contains("x-request-id: ") && body.starts_with("{\"detail\":\""), "{response}");
        }
        let mut open = Vec::new();
        for _ in 0..3 {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            assert!(client.read(&mut [0; 1024]).await.unwrap() > 0);
            open.push(client);
        }
        let refused = exchange(address, b"").await;
        assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("retry-after: 2"), "{refused}");
        // Idle connections are closed by the stop, which waits for no one.
        stop.cancel();
        tokio::time::timeout(Duration::from_secs(60), server).await.expect("the server ends").unwrap();
    }

    /// One byte a second keeps no connection open; a slow body does.
    #[tokio::test]
    async fn slow_heads_are_disconnected_and_slow_bodies_are_not() {
        let inner = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = inner.local_addr().unwrap();
        let timeouts = ConnectionTimeouts { write: Duration::from_secs(600), idle: Duration::from_secs(600) };
        let app = Router::new().route("/", post(async |body: String| body.len().to_string()));
        tokio::spawn(serve(inner, app, limits(timeouts), CancellationToken::new()));
        let mut body = TcpStream::connect(address).await.unwrap();
        let head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 15\r\nconnection: close\r\n\r\n";
        body.write_all(head).await.unwrap();
        let trickle = async {
            for _ in 0..15 {
                sleep(Duration::from_secs(1)).await;
                body.write_all(b"x").await.unwrap();
            }
            let mut response = String::new();
            body.read_to_string(&mut response).await.unwrap();
            assert!(response.ends_with("15"), "{response}");
        };
        let mut client = TcpStream::connect(address).await.unwrap();
        let slow_head = async {
            while client.write_all(b"x").await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        };
        let slow_head = tokio::time::timeout(Duration::from_secs(120), slow_head);
        let (closed, ()) = tokio::join!(slow_head, trickle);
        closed.expect("the slow head is disconnected");
    }

    /// An endless response body that reports when it is dropped.
    struct Endless(Option<oneshot::Sender<()>>);

    impl Drop for Endless {
        fn drop(&mut self) {
            let _ = self.0.take().map(|sender| sender.send(()));
        }
    }

    #[tokio::test]
    async fn stalled_client_is_disconnected_and_slow_client_is_not() {
        let inner = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = inner.local_addr().unwrap();
        let (sender, dropped) = oneshot::channel();
        let endless = Arc::new(Mutex::new(Some(Endless(Some(sender)))));
        let send = move || {
            let endless = endless.lock().unwrap().take();
            async move {
                Body::from_stream(repeat_with(move || {
                    let _held = &endless;
                    Ok::<_, io::Error>(vec![b'x'; 1 << 16])
                }))
            }
        };
        let timeouts = ConnectionTimeouts { write: Duration::from_secs(5), idle: Duration::from_secs(600) };
        let routes = Router::new().route("/", get(send));
        tokio::spawn(serve(inner, routes, limits(timeouts), CancellationToken::new()));
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut dropped = Box::pin(dropped);
        for _ in 0..12 {
            sleep(Duration::from_millis(500)).await;
            client.read_exact(&mut vec![0; 1 << 20]).await.unwrap();
            assert!(
                futures::FutureExt::now_or_never(&mut dropped).is_none(),
                "a slow client stays connected"
            );
        }
        tokio::time::timeout(Duration::from_secs(60), dropped).await.expect("the body is dropped").unwrap();
    }

    #[tokio::test]
    async fn idle_connection_is_closed_and_busy_connection_is_not() {
        let inner = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = inner.local_addr().unwrap();
        let timeouts = ConnectionTimeouts { write: Duration::from_secs(600), idle: Duration::from_secs(3) };
        let app = Router::new().route("/", get(async || "here"));
        tokio::spawn(serve(inner, app, limits(timeouts), CancellationToken::new()));
        let mut silent =
            [TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap()];
        silent[1].write_all(b"GET / HTTP/1.1\r\nhost:").await.unwrap();
        let mut busy = TcpStream::connect(address).await.unwrap();
        for _ in 0..8 {
            busy.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            assert!(busy.read(&mut [0; 1024]).await.unwrap() > 0, "the busy connection stays open");
            sleep(Duration::from_millis(500)).await;
        }
        for mut client in silent {
            let mut nothing = [0; 1024];
            let closed = client.read(&mut nothing);
            let closed = tokio::time::timeout(Duration::from_secs(60), closed)
                .await
                .expect("the idle connection is closed");
            assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
        }
    }
}
