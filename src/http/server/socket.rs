//! A client's socket, with what hyper leaves out: a deadline for writes, a close that doesn't lose
//! the answer, and relay's own error in place of hyper's bare status.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use hyper::StatusCode;
use hyper::header::{CONNECTION, CONTENT_LENGTH};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use crate::http::response::Response;
use crate::http::server::connection_slots::ConnectionState;
use crate::http::server::limits::{ListenerLimits, ReadTimeouts};
use crate::http::server::stream::Stream;

/// How long a lingering close reads what the client still sends: long enough for the client to see
/// the answer, and too short to be worth sending on for.
const LINGER: Duration = Duration::from_secs(2);

/// How long the client of a stream may take to read a chunk. Chunks that don't fit into the queue
/// meanwhile are lost to it, so that waiting longer gains nothing.
const STREAM_WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes that are kept of a request's first line: enough to tell which error format its path has.
const KEPT_START_BYTES: usize = 32;

/// Answers a request that hyper can't parse, given the status and the request's first bytes.
pub(crate) type MalformedHandler = Arc<dyn Fn(StatusCode, &[u8]) -> Response + Send + Sync>;

pub(super) struct Socket {
    stream: Stream,
    state: Arc<ConnectionState>,
    malformed: MalformedHandler,
    /// How long a client may take to read an answer, from the first write that has to wait.
    write_timeout: Duration,
    /// Ends at the write timeout. There is one while the client is behind.
    write_deadline: Option<Pin<Box<Sleep>>>,
    /// The first bytes of the request under way.
    request_start: Vec<u8>,
    /// The bytes of relay's own error that are not yet written.
    error: Bytes,
    read_timeouts: ReadTimeouts,
    /// Ends a read that waits while no request is under way.
    read_timer: Option<Pin<Box<Sleep>>>,
    /// When a read first had to wait for the rest of a request's headers.
    head_since: Option<Instant>,
    /// Whether the connection has carried a request.
    has_answered: bool,
    /// Ends a lingering close.
    linger_deadline: Option<Pin<Box<Sleep>>>,
}

impl Socket {
    pub fn new(
        stream: Stream,
        state: Arc<ConnectionState>,
        malformed: MalformedHandler,
        limits: &ListenerLimits,
    ) -> Self {
        Self {
            stream,
            state,
            malformed,
            write_timeout: limits.write_timeout,
            write_deadline: None,
            request_start: Vec::with_capacity(KEPT_START_BYTES),
            error: Bytes::new(),
            read_timeouts: limits.read_timeouts,
            read_timer: None,
            head_since: None,
            has_answered: false,
            linger_deadline: None,
        }
    }

    /// Whether the connection has TLS.
    pub fn is_secure(&self) -> bool {
        self.stream.is_secure()
    }

    /// Whether these bytes are an error that hyper wrote by itself: no handler is answering, and
    /// they begin with a 4xx status.
    fn is_hypers_error(&self, head: &[u8]) -> bool {
        self.state.is_idle() && head.starts_with(b"HTTP/1.") && head.get(8..10) == Some(b" 4")
    }

    /// Writes relay's own error in place of hyper's.
    fn replace_hypers_error(&mut self, head: &[u8]) {
        self.state.linger();
        self.error = render_error(head, |status| (self.malformed)(status, &self.request_start));
    }

    /// Fails a write that has to wait past the write timeout. Only a flush ends the wait, so that a
    /// client that reads a byte now and then is cut off like one that reads none.
    fn or_timed_out<T>(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if result.is_pending() || self.write_deadline.is_some() {
            let timeout = if self.state.is_streaming() {
                self.write_timeout.min(STREAM_WRITE_TIMEOUT)
            } else {
                self.write_timeout
            };
            let deadline = self
                .write_deadline
                .get_or_insert_with(|| Box::pin(sleep(timeout)));
            if deadline.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        result
    }

    /// Fails a read that has to wait past its timeout while no request is under way.
    ///
    /// The timer is left as it is while it is due earlier than the deadline: most deadlines are put
    /// off by the next request, and a timer that fires too early is set anew.
    fn poll_read_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (since, timeout) = if !self.has_answered {
            (self.state.idle_since(), self.read_timeouts.head)
        } else if self.request_start.is_empty() {
            (self.state.idle_since(), self.read_timeouts.idle)
        } else {
            let since = self.head_since.get_or_insert_with(|| self.state.now());
            (*since, self.read_timeouts.head)
        };
        let deadline = since + timeout;
        let timer = self
            .read_timer
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= deadline {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            timer.as_mut().reset(deadline);
        }
    }

    /// Ends the connection's writing side. With TLS that writes, too, and may have to wait.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.stream).poll_shutdown(cx);
        if closed.is_pending() {
            return self.or_timed_out(cx, closed);
        }
        closed
    }

    fn poll_write_error(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.error.is_empty() {
            let result = Pin::new(&mut self.stream).poll_write(cx, &self.error);
            let written = ready!(self.or_timed_out(cx, result))?;
            self.error.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

/// Renders a response with the status line and the date of hyper's head.
fn render_error(head: &[u8], respond: impl Fn(StatusCode) -> Response) -> Bytes {
    let head = String::from_utf8_lossy(head);
    let mut lines = head.split("\r\n").filter(|line| !line.is_empty());
    let status_line = lines.next().unwrap_or_default();
    let status = status_line
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or(StatusCode::BAD_REQUEST);
    let (parts, body) = respond(status).into_parts();
    let mut bytes = BytesMut::new();
    let mut line = |parts: &[&[u8]]| {
        for part in parts {
            bytes.extend_from_slice(part);
        }
        bytes.extend_from_slice(b"\r\n");
    };
    line(&[status_line.as_bytes()]);
    for date in lines.filter(|line| line.starts_with("date:")) {
        line(&[date.as_bytes()]);
    }
    for (name, value) in &parts.headers {
        line(&[name.as_str().as_bytes(), b": ", value.as_bytes()]);
    }
    line(&[CONNECTION.as_str().as_bytes(), b": close"]);
    let length = body.len().to_string();
    line(&[CONTENT_LENGTH.as_str().as_bytes(), b": ", length.as_bytes()]);
    line(&[]);
    bytes.extend_from_slice(&body);
    bytes.freeze()
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, into);
        if self.request_start.len() < KEPT_START_BYTES {
            let read = &into.filled()[before..];
            let missing = KEPT_START_BYTES - self.request_start.len();
            self.request_start
                .extend_from_slice(&read[..read.len().min(missing)]);
        }
        if result.is_pending() && self.state.is_idle() {
            return self.poll_read_deadline(cx);
        }
        result
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_hypers_error(from) {
            self.replace_hypers_error(from);
            return Poll::Ready(Ok(from.len()));
        }
        self.state.begin_write();
        let result = Pin::new(&mut self.stream).poll_write(cx, from);
        self.or_timed_out(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(head) = from.iter().find(|slice| !slice.is_empty())
            && self.is_hypers_error(head)
        {
            self.replace_hypers_error(head);
            return Poll::Ready(Ok(head.len()));
        }
        self.state.begin_write();
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, from);
        self.or_timed_out(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_error(cx))?;
        // TLS keeps bytes that the kernel has not taken yet: until they are gone, the client is
        // owed the answer.
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if flushed.is_pending() {
            return self.or_timed_out(cx, flushed);
        }
        self.write_deadline = None;
        if self.state.end_write() {
            self.request_start.clear();
            self.has_answered = true;
            self.head_since = None;
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_error(cx))?;
        if !self.state.is_lingering() {
            return self.poll_close(cx);
        }
        if self.linger_deadline.is_none() {
            ready!(self.poll_close(cx))?;
            self.linger_deadline = Some(Box::pin(sleep(LINGER)));
        }
        // Checked before the read: a client that sends without a pause must not prolong the close.
        if let Some(deadline) = &mut self.linger_deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Ok(()));
        }
        let mut discarded = [0; 4096];
        loop {
            let mut into = ReadBuf::new(&mut discarded);
            match Pin::new(&mut self.stream).poll_read(cx, &mut into) {
                Poll::Ready(Ok(())) if !into.filled().is_empty() => {}
                // The end of the stream, or an error that ends it as well.
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
