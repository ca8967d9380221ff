//! Bounds of a listener and of a request's head.

use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::TokioTimer;

use crate::config::Server;

/// The bounds of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListenerLimits {
    /// Connections that are open at once.
    pub(super) connections: u32,
    pub(super) read_timeouts: ReadTimeouts,
    max_headers: usize,
    /// Bytes of a request's line and headers. The bytes that hyper buffers of a connection have the
    /// same bound.
    max_header_bytes: usize,
    /// How long a client may take to read an answer.
    pub(super) write_timeout: Duration,
}

/// How long a connection may wait for bytes while no request is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReadTimeouts {
    /// For a request's headers to arrive, from the first byte on; for those of the first request,
    /// from the beginning of the connection.
    pub head: Duration,
    /// Between an answer and the first byte of the next request.
    pub idle: Duration,
}

impl ReadTimeouts {
    /// hyper has one timeout for both, from the end of the answer before: never the first to end a
    /// wait. It makes hyper read while the connection is idle, so that the socket can end it.
    pub fn both(self) -> Duration {
        self.head.saturating_add(self.idle)
    }
}

impl ListenerLimits {
    pub fn new(settings: &Server) -> Self {
        Self {
            connections: settings.max_connections,
            read_timeouts: ReadTimeouts {
                head: settings.header_timeout,
                idle: settings.keep_alive_timeout,
            },
            max_headers: settings.max_headers,
            max_header_bytes: usize::try_from(settings.max_header_bytes)
                .expect("a checked size is 1 MiB at most"),
            write_timeout: settings.request_timeout,
        }
    }

    /// The same limits for fewer connections.
    pub fn with_connections(self, connections: u32) -> Self {
        Self {
            connections,
            ..self
        }
    }

    /// hyper's settings for a connection.
    pub(super) fn connection_builder(&self) -> http1::Builder {
        let mut builder = http1::Builder::new();
        builder
            // Without a timer hyper ignores the header timeout.
            .timer(TokioTimer::new())
            .header_read_timeout(self.read_timeouts.both())
            .max_headers(self.max_headers)
            .max_buf_size(self.max_header_bytes)
            .half_close(false);
        builder
    }
}
