//! Reading bodies: bounded in size and in time, which hyper leaves to us.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{EXPECT, HeaderMap};
use tokio::time::{Instant, timeout, timeout_at};

use crate::http::api_error::ApiError;
use crate::http::server::connection_slots::ConnectionState;

/// What is still read of a body that nobody wants, so that its connection can be used again: as much
/// as a relay's request may hold. More costs more than a new connection.
const DRAINED_BYTES: usize = 32_768;
/// How long that may take: what came along with the headers is there at once.
const DRAINED_WITHIN: Duration = Duration::from_millis(50);

/// What is reserved for a body on its own word: a large one has to come before it takes more.
const RESERVED: usize = 16 * 1024;

pub(crate) type Request = hyper::Request<Body>;

/// A request's body, on its way.
pub(crate) struct Body {
    incoming: Incoming,
    state: Arc<ConnectionState>,
    /// The client waits for a word before it sends any.
    is_held_back: bool,
    /// Where it ends can't be told any more.
    is_broken: bool,
}

impl Body {
    pub fn new(incoming: Incoming, headers: &HeaderMap, state: Arc<ConnectionState>) -> Self {
        Self {
            state,
            is_held_back: headers.contains_key(EXPECT),
            is_broken: false,
            incoming,
        }
    }

    /// The whole body, of at most `limit` bytes, by the deadline.
    pub async fn read(&mut self, limit: u64, deadline: Instant) -> Result<Bytes, ApiError> {
        // What announces itself as too large isn't read at all.
        if self.incoming.size_hint().lower() > limit {
            return Err(ApiError::too_large(limit));
        }
        self.is_held_back = false;
        let max = usize::try_from(limit).unwrap_or(usize::MAX);
        self.state.begin_body();
        let body = timeout_at(deadline, whole(&mut self.incoming, max)).await;
        self.state.end_body();
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

    /// Whether nothing more is to come, once what is here has been read away. If something is, the
    /// connection can't carry another request.
    pub async fn is_over(&mut self) -> bool {
        if self.incoming.is_end_stream() && !self.is_broken {
            return true;
        }
        if self.is_broken
            || self.is_held_back
            || self.incoming.size_hint().lower() > DRAINED_BYTES as u64
        {
            return false;
        }
        let rest = whole(&mut self.incoming, DRAINED_BYTES);
        matches!(timeout(DRAINED_WITHIN, rest).await, Ok(Ok(_)))
    }
}

/// The body in one piece. Each part is copied as it comes: kept as it is, one that came byte by byte
/// would pin a whole read buffer for each byte.
async fn whole(
    incoming: &mut Incoming,
    max: usize,
) -> Result<Bytes, Box<dyn std::error::Error + Send + Sync>> {
    let announced = usize::try_from(incoming.size_hint().lower()).unwrap_or(usize::MAX);
    let mut body = BytesMut::with_capacity(announced.min(RESERVED));
    let mut limited = Limited::new(incoming, max);
    while let Some(frame) = limited.frame().await {
        if let Ok(data) = frame?.into_data() {
            body.extend_from_slice(&data);
        }
    }
    Ok(body.freeze())
}
