//! An accepted connection with time-outs. It is closed when its client stops reading the response, so that
//! the buffered data is freed, when the head of a request takes too long, and when it is idle for too long.
//! The HTTP library's own errors get a JSON body here.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::raw_response;

/// How long the head of a request may take from its first byte to its last one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The time-outs of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionTimeouts {
    /// How long a write may wait for the client to read.
    pub write: Duration,
    /// How long there may be no traffic in either direction. Must exceed the time until a response starts.
    pub idle: Duration,
}

/// The requests of a connection that the service has received and has answered.
#[derive(Debug, Default)]
pub(crate) struct RequestProgress {
    received: AtomicU64,
    answered: AtomicU64,
}

/// Counts a request as answered when it is dropped.
pub(crate) struct OpenRequest(Arc<RequestProgress>);

impl RequestProgress {
    /// Counts a request whose head is complete.
    pub(crate) fn receive(self: &Arc<Self>) -> OpenRequest {
        self.received.fetch_add(1, Ordering::Relaxed);
        OpenRequest(self.clone())
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.answered.fetch_add(1, Ordering::Relaxed);
    }
}

/// The head of a request that is being read.
#[derive(Clone, Copy, Debug)]
struct PartialHead {
    /// The number of requests that were received before it.
    predecessors: u64,
    deadline: Instant,
}

/// A connection with time-outs.
pub(crate) struct Connection {
    inner: TcpStream,
    timeouts: ConnectionTimeouts,
    progress: Arc<RequestProgress>,
    head: Option<PartialHead>,
    /// Runs while a write is pending.
    write_timer: Option<Pin<Box<Sleep>>>,
    last_activity: Instant,
    /// Runs out no later than the next deadline of the head or of the idle time.
    idle_timer: Pin<Box<Sleep>>,
}

impl Connection {
    pub(crate) fn new(
        inner: TcpStream,
        timeouts: ConnectionTimeouts,
        progress: Arc<RequestProgress>,
    ) -> Self {
        // A stream event is small; without this option it would wait for more data to fill a packet.
        if let Err(error) = inner.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        let last_activity = Instant::now();
        let idle_timer = Box::pin(sleep_until(last_activity + timeouts.idle));
        Self { inner, timeouts, progress, head: None, write_timer: None, last_activity, idle_timer }
    }

    /// Starts the deadline of a head with its first byte. Bytes during a request belong to its body.
    fn record_read(&mut self) {
        self.last_activity = Instant::now();
        self.forget_complete_head();
        let received = self.progress.received.load(Ordering::Relaxed);
        if self.head.is_none() && received == self.progress.answered.load(Ordering::Relaxed) {
            let deadline = self.last_activity + HEAD_TIMEOUT;
            self.head = Some(PartialHead { predecessors: received, deadline });
            self.idle_timer.as_mut().reset(deadline);
        }
    }

    fn forget_complete_head(&mut self) {
        let received = self.progress.received.load(Ordering::Relaxed);
        self.head = self.head.filter(|head| head.predecessors == received);
    }

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

    /// Returns ready once the connection was idle, or the head of a request incomplete, for too long.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.idle_timer.as_mut().poll(cx));
            self.forget_complete_head();
            let idle_until = self.last_activity + self.timeouts.idle;
            let until = self.head.map_or(idle_until, |head| head.deadline.min(idle_until));
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
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buffer);
        if read.is_ready() {
            if buffer.filled().len() > before {
                self.record_read();
            }
            return read;
        }
        ready!(self.poll_idle(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(response) = raw_response::with_body(bytes) {
            // It fits into the socket's buffer, since the connection ends with it.
            return Poll::Ready(self.inner.try_write(&response).map(|_| bytes.len()));
        }
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.with_write_timeout(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [head] = bytes
            && raw_response::with_body(head).is_some()
        {
            return self.poll_write(cx, head);
        }
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
