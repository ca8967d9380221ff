//! Request bodies, with the bounds in size and time that hyper leaves to its users.

use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{EXPECT, HeaderMap};
use tokio::time::{Instant, timeout, timeout_at};

use crate::http::api_error::ApiError;
use crate::http::server::connection_slots::ConnectionState;

/// Bytes read of a body that is not wanted, so that its connection can be used again: as many as a
/// request of the relay API may have by default. Reading more costs more than a new connection.
const MAX_DRAINED_BYTES: usize = 32_768;
/// How long draining may take. The bytes that came along with the headers are there at once.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(50);

/// The most that a body's announced length reserves. A larger body takes memory as it arrives.
const MAX_RESERVED_BYTES: usize = 16 * 1024;

/// A request whose body may still be arriving.
pub(crate) type Request = hyper::Request<Body>;

/// The connection that a request came by.
pub(crate) struct Origin {
    /// The address of its other end.
    peer: IpAddr,
    /// Whether it has TLS.
    is_secure: bool,
    connection: Arc<ConnectionState>,
}

impl Origin {
    pub fn new(peer: IpAddr, is_secure: bool, connection: Arc<ConnectionState>) -> Self {
        Self {
            peer,
            is_secure,
            connection,
        }
    }
}

/// A request's body.
pub(crate) struct Body {
    incoming: Incoming,
    /// The address of the other end of the connection.
    pub(in crate::http) peer: IpAddr,
    /// Whether the request came over TLS to relay itself. A proxy in front may have ended TLS.
    pub(in crate::http) is_secure: bool,
    connection: Arc<ConnectionState>,
    /// The client waits for `100 Continue` before it sends the body.
    is_held_back: bool,
    /// The body's framing is broken, so that its end is unknown.
    is_broken: bool,
}

impl Body {
    pub fn new(incoming: Incoming, headers: &HeaderMap, from: Origin) -> Self {
        Self {
            peer: from.peer,
            is_secure: from.is_secure,
            connection: from.connection,
            is_held_back: headers.contains_key(EXPECT),
            is_broken: false,
            incoming,
        }
    }

    /// The connection that the request came by.
    pub fn connection(&self) -> Arc<ConnectionState> {
        Arc::clone(&self.connection)
    }

    /// Reads the whole body, of at most `limit` bytes, until the deadline.
    pub async fn read(&mut self, limit: u64, deadline: Instant) -> Result<Bytes, ApiError> {
        // A body whose announced length is too large isn't read at all.
        if self.incoming.size_hint().lower() > limit {
            return Err(ApiError::too_large(limit));
        }
        self.is_held_back = false;
        let max = usize::try_from(limit).unwrap_or(usize::MAX);
        self.connection.begin_body();
        let body = timeout_at(deadline, collect(&mut self.incoming, max)).await;
        self.connection.end_body();
        match body {
            Ok(Ok(body)) => Ok(body),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ApiError::too_large(limit)),
            Ok(Err(_)) => {
                self.is_broken = true;
                Err(ApiError::malformed(
                    "the body ended early or was badly framed",
                ))
            }
            Err(_) => Err(ApiError::malformed("the body took too long to arrive")),
        }
    }

    /// Reads the rest of a short body. Returns whether its end was reached: if not, the connection
    /// can't carry another request.
    pub async fn drain(&mut self) -> bool {
        if self.incoming.is_end_stream() && !self.is_broken {
            return true;
        }
        if self.is_broken
            || self.is_held_back
            || self.incoming.size_hint().lower() > MAX_DRAINED_BYTES as u64
        {
            return false;
        }
        let rest = collect(&mut self.incoming, MAX_DRAINED_BYTES);
        matches!(timeout(DRAIN_TIMEOUT, rest).await, Ok(Ok(_)))
    }
}

/// Collects the body in one piece. Each frame is copied on arrival: kept as it is, a body that
/// arrives byte by byte would hold a whole read buffer for each byte.
async fn collect(
    incoming: &mut Incoming,
    max: usize,
) -> Result<Bytes, Box<dyn Error + Send + Sync>> {
    let announced = usize::try_from(incoming.size_hint().lower()).unwrap_or(usize::MAX);
    let mut body = BytesMut::with_capacity(announced.min(MAX_RESERVED_BYTES));
    let mut limited = Limited::new(incoming, max);
    while let Some(frame) = limited.frame().await {
        if let Ok(data) = frame?.into_data() {
            body.extend_from_slice(&data);
        }
    }
    Ok(body.freeze())
}
