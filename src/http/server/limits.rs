//! Bounds of a listener and of a request's head.

use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::TokioTimer;

use crate::config::Server;

/// Headers of a request. Providers send some twenty.
pub(in crate::http) const MAX_HEADERS: usize = 64;
/// Bytes of a request's line and headers. The bytes that hyper buffers of a connection have the
/// same bound.
pub(in crate::http) const MAX_HEADER_BYTES: usize = 16 * 1024;

/// The bounds of a listener.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ListenerLimits {
    /// Connections that are open at once.
    pub(super) connections: u32,
    /// How long a request's headers may take to arrive.
    header_timeout: Duration,
    /// How long a client may take to read an answer.
    pub(super) write_timeout: Duration,
}

impl ListenerLimits {
    pub fn new(settings: &Server) -> Self {
        Self {
            connections: settings.max_connections,
            header_timeout: settings.header_timeout,
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
            .header_read_timeout(self.header_timeout)
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEADER_BYTES)
            .half_close(false);
        builder
    }
}
