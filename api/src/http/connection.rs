//! Accepted connections with time-outs. A connection is closed when its client stops reading the response, so
//! that the buffered data is freed, and when it is idle for too long.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

/// The time-outs of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionTimeouts {
    /// How long a write may wait for the client to read.
    pub write: Duration,
    /// How long there may be no traffic in either direction. Must exceed the time until a response starts.
    pub idle: Duration,
}

/// A TCP listener whose connections have time-outs.
pub(crate) struct TimeoutListener {
    inner: TcpListener,
    timeouts: ConnectionTimeouts,
}

/// A connection with time-outs.
pub(crate) struct Connection {
    inner: TcpStream,
    timeouts: ConnectionTimeouts,
    /// Runs while a write is pending.
    write_timer: Option<Pin<Box<Sleep>>>,
    last_activity: Instant,
    /// Runs out no later than the idle time-out after the last activity.
    idle_timer: Pin<Box<Sleep>>,
}

impl TimeoutListener {
    pub(crate) fn new(inner: TcpListener, timeouts: ConnectionTimeouts) -> Self {
        Self { inner, timeouts }
    }
}

impl axum::serve::Listener for TimeoutListener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let (inner, address) = axum::serve::Listener::accept(&mut self.inner).await;
        // A stream event is small; without this option it would wait for more data to fill a packet.
        if let Err(error) = inner.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        let (timeouts, last_activity) = (self.timeouts, Instant::now());
        let idle_timer = Box::pin(sleep_until(last_activity + timeouts.idle));
        (Connection { inner, timeouts, write_timer: None, last_activity, idle_timer }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

impl Connection {
    /// Fails a write that is pending for too long.
    fn with_write_timeout<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.write_timer = None;
            self.last_activity = Instant::now();
            return written;
        }
        let timeout = self.timeouts.write;
        let timer = self.write_timer.get_or_insert_with(|| Box::pin(sleep(timeout)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Returns ready once the connection has been idle for too long.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.idle_timer.as_mut().poll(cx));
            let until = self.last_activity + self.timeouts.idle;
            if until <= Instant::now() {
                return Poll::Ready(());
            }
            self.idle_timer.as_mut().reset(until);
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.inner).poll_read(cx, buffer);
        if read.is_ready() {
            self.last_activity = Instant::now();
            return read;
        }
        ready!(self.poll_idle(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.with_write_timeout(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bytes);
        self.with_write_timeout(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;
    use futures::stream::repeat_with;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::oneshot;

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
        let listener = TimeoutListener::new(inner, timeouts);
        tokio::spawn(axum::serve(listener, Router::new().route("/", get(send))).into_future());
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
        tokio::spawn(axum::serve(TimeoutListener::new(inner, timeouts), app).into_future());
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
