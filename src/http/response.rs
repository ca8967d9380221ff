//! Responses.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::StatusCode;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde::Serialize;

use crate::http::event_stream::EventStream;

/// A response whose body is in memory.
pub(crate) type Response = hyper::Response<Bytes>;

/// A response of the operator's listener, whose body may be a stream.
pub(crate) type AdminResponse = hyper::Response<AdminBody>;

/// The body of a response as a handler makes it. Each listener has a type of its own, so that the
/// public one pays nothing for the streams of the other.
pub(crate) trait ResponseBody: Send + 'static {
    type Sent: Body<Data = Bytes, Error = Infallible> + Send + 'static;

    /// Whether it goes on after its first bytes.
    fn is_stream(&self) -> bool;

    /// The body as it is sent.
    fn into_sent(self) -> Self::Sent;
}

impl ResponseBody for Bytes {
    type Sent = Full<Self>;

    fn is_stream(&self) -> bool {
        false
    }

    fn into_sent(self) -> Full<Self> {
        Full::new(self)
    }
}

/// The body of an [`AdminResponse`].
pub(crate) enum AdminBody {
    Whole(Full<Bytes>),
    Stream(EventStream),
}

impl From<Bytes> for AdminBody {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(Full::new(bytes))
    }
}

impl ResponseBody for AdminBody {
    type Sent = Self;

    fn is_stream(&self) -> bool {
        matches!(self, Self::Stream(_))
    }

    fn into_sent(self) -> Self {
        self
    }
}

impl Body for AdminBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(cx),
            Self::Stream(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Stream(body) => body.size_hint(),
        }
    }
}

/// A response with a JSON body.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let bytes = serde_json::to_vec(body)
        .expect("responses have string keys, and no value fails to serialize");
    with_type(status, "application/json", bytes)
}

/// A response with a body of this content type.
pub(super) fn with_type(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
