//! Connections as they are accepted: one whose client takes nothing of what is sent to it is closed after a while, so
//! that what waits for it is held no longer; and so is one on which nothing happens at all.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

/// How long things may take on a connection.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For the client to take something of what is sent to it.
    pub write: Duration,
    /// For anything to come or go: longer than any answer takes to begin.
    pub idle: Duration,
}

/// Accepts connections with limits.
pub struct Listener {
    inner: TcpListener,
    patience: Patience,
}

/// A connection with limits on how long nothing may happen.
pub struct Connection {
    inner: TcpStream,
    patience: Patience,
    /// Runs while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
    moved_at: Instant,
    /// Ends no later than the patience after the last move.
    idle: Pin<Box<Sleep>>,
}

impl Listener {
    pub fn new(inner: TcpListener, patience: Patience) -> Self {
        Self { inner, patience }
    }
}

impl axum::serve::Listener for Listener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let (inner, address) = axum::serve::Listener::accept(&mut self.inner).await;
        // An event is small, and must not wait for the next one to fill a packet.
        if let Err(error) = inner.set_nodelay(true) {
            tracing::debug!(%error, "a connection will be a little slower");
        }
        let (patience, moved_at) = (self.patience, Instant::now());
        let idle = Box::pin(sleep_until(moved_at + patience.idle));
        (Connection { inner, patience, stalled: None, moved_at, idle }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

impl Connection {
    fn within_patience<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            self.moved_at = Instant::now();
            return written;
        }
        let patience = self.patience.write;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Ready when nothing has come or gone for too long.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.idle.as_mut().poll(cx));
            let until = self.moved_at + self.patience.idle;
            if until <= Instant::now() {
                return Poll::Ready(());
            }
            self.idle.as_mut().reset(until);
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
            self.moved_at = Instant::now();
            return read;
        }
        ready!(self.poll_idle(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.within_patience(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bytes);
        self.within_patience(written, cx)
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

    /// Sends for ever, and says when it is dropped.
    struct Endless(Option<oneshot::Sender<()>>);

    impl Drop for Endless {
        fn drop(&mut self) {
            let _ = self.0.take().map(|sender| sender.send(()));
        }
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_left_and_a_slow_one_is_not() {
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
        let patience = Patience { write: Duration::from_secs(5), idle: Duration::from_secs(600) };
        let listener = Listener::new(inner, patience);
        tokio::spawn(axum::serve(listener, Router::new().route("/", get(send))).into_future());
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut dropped = Box::pin(dropped);
        for _ in 0..12 {
            sleep(Duration::from_millis(500)).await;
            client.read_exact(&mut vec![0; 1 << 20]).await.unwrap();
            assert!(
                futures::FutureExt::now_or_never(&mut dropped).is_none(),
                "it takes a little now and then"
            );
        }
        tokio::time::timeout(Duration::from_secs(60), dropped).await.expect("it is left").unwrap();
    }

    #[tokio::test]
    async fn a_connection_on_which_nothing_happens_is_closed_and_one_in_use_is_not() {
        let inner = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = inner.local_addr().unwrap();
        let patience = Patience { write: Duration::from_secs(600), idle: Duration::from_secs(3) };
        let app = Router::new().route("/", get(async || "here"));
        tokio::spawn(axum::serve(Listener::new(inner, patience), app).into_future());
        let mut silent =
            [TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap()];
        silent[1].write_all(b"GET / HTTP/1.1\r\nhost:").await.unwrap();
        let mut busy = TcpStream::connect(address).await.unwrap();
        for _ in 0..8 {
            busy.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            assert!(busy.read(&mut [0; 1024]).await.unwrap() > 0, "it is in use");
            sleep(Duration::from_millis(500)).await;
        }
        for mut client in silent {
            let mut nothing = [0; 1024];
            let closed = client.read(&mut nothing);
            let closed = tokio::time::timeout(Duration::from_secs(60), closed).await.expect("it is closed");
            assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
        }
    }
}
