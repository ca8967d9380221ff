//! A client's socket, with what hyper leaves out: a deadline for writing, a close that doesn't lose
//! the answer, and an answer of our own where hyper would send a bare status.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use hyper::StatusCode;
use hyper::header::{CONNECTION, CONTENT_LENGTH};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use crate::http::response::Response;
use crate::http::server::connection_slots::ConnectionState;

/// How long a closing connection is read from when the client may still be sending: time enough for
/// it to see the answer, little enough that it gains nothing by going on.
const LINGER: Duration = Duration::from_secs(2);

/// What is remembered of a request's first line: enough to tell whose form its refusal should have.
const START: usize = 32;

/// Answers a request that hyper can't parse, given how it starts.
pub(crate) type MalformedHandler = Arc<dyn Fn(StatusCode, &[u8]) -> Response + Send + Sync>;

pub(in crate::http) struct Socket {
    stream: TcpStream,
    state: Arc<ConnectionState>,
    refuse: MalformedHandler,
    /// How long a client may take to read an answer, from when it first falls behind.
    write_timeout: Duration,
    behind: Option<Pin<Box<Sleep>>>,
    /// How the request under way starts.
    start: Vec<u8>,
    /// Our own answer in place of hyper's, as far as it isn't written.
    refusal: Bytes,
    closing: Option<Pin<Box<Sleep>>>,
}

impl Socket {
    pub fn new(
        stream: TcpStream,
        state: Arc<ConnectionState>,
        refuse: MalformedHandler,
        write_timeout: Duration,
    ) -> Self {
        Self {
            stream,
            state,
            refuse,
            write_timeout,
            behind: None,
            start: Vec::with_capacity(START),
            refusal: Bytes::new(),
            closing: None,
        }
    }

    /// Whether hyper answers by itself: nobody was asked, and it has a status to tell.
    fn is_hypers_own(&self, head: &[u8]) -> bool {
        self.state.is_idle() && head.starts_with(b"HTTP/1.") && head.get(8..10) == Some(b" 4")
    }

    fn replace(&mut self, head: &[u8]) {
        self.state.linger();
        self.refusal = dressed(head, |status| (self.refuse)(status, &self.start));
    }

    /// Turns a write that has to wait into an error once the client is too far behind. Only a flush
    /// ends the wait: a client that reads a byte now and then is as bad as one that reads none.
    fn or_too_slow<T>(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if result.is_pending() || self.behind.is_some() {
            let timeout = self.write_timeout;
            let behind = self.behind.get_or_insert_with(|| Box::pin(sleep(timeout)));
            if behind.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        result
    }

    fn poll_refusal(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.refusal.is_empty() {
            let result = Pin::new(&mut self.stream).poll_write(cx, &self.refusal);
            let written = ready!(self.or_too_slow(cx, result))?;
            self.refusal.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

/// hyper's head with our headers and body.
fn dressed(head: &[u8], refuse: impl Fn(StatusCode) -> Response) -> Bytes {
    let head = String::from_utf8_lossy(head);
    let mut lines = head.split("\r\n").filter(|line| !line.is_empty());
    let status_line = lines.next().unwrap_or_default();
    let status = status_line
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or(StatusCode::BAD_REQUEST);
    let (parts, body) = refuse(status).into_parts();
    let mut bytes = BytesMut::new();
    let mut line = |parts: &[&[u8]]| {
        for part in parts {
            bytes.extend_from_slice(part);
        }
        bytes.extend_from_slice(b"\r\n");
    };
    line(&[status_line.as_bytes()]);
    for kept in lines.filter(|line| line.starts_with("date:")) {
        line(&[kept.as_bytes()]);
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
        if self.start.len() < START {
            let read = &into.filled()[before..];
            let missing = START - self.start.len();
            self.start
                .extend_from_slice(&read[..read.len().min(missing)]);
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
        if self.is_hypers_own(from) {
            self.replace(from);
            return Poll::Ready(Ok(from.len()));
        }
        self.state.writes();
        let result = Pin::new(&mut self.stream).poll_write(cx, from);
        self.or_too_slow(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(head) = from.iter().find(|slice| !slice.is_empty())
            && self.is_hypers_own(head)
        {
            self.replace(head);
            return Poll::Ready(Ok(head.len()));
        }
        self.state.writes();
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, from);
        self.or_too_slow(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_refusal(cx))?;
        self.behind = None;
        if self.state.flushed() {
            self.start.clear();
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_refusal(cx))?;
        if !self.state.lingers() {
            return Pin::new(&mut self.stream).poll_shutdown(cx);
        }
        if self.closing.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.closing = Some(Box::pin(sleep(LINGER)));
        }
        // First: whoever sends fast enough would keep us reading for ever.
        if let Some(closing) = &mut self.closing
            && closing.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Ok(()));
        }
        let mut discarded = [0; 4096];
        loop {
            let mut into = ReadBuf::new(&mut discarded);
            match Pin::new(&mut self.stream).poll_read(cx, &mut into) {
                Poll::Ready(Ok(())) if !into.filled().is_empty() => {}
                // The end, or an error that is as good.
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
