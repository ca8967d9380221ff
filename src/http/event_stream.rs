//! The body of a response that goes on until somebody ends it.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::http::server::connection_slots::ConnectionState;

/// A body made of chunks as they come. It ends with the sender of the chunks.
pub(crate) struct EventStream {
    chunks: Receiver<Bytes>,
    connection: Arc<ConnectionState>,
}

impl EventStream {
    /// A stream on this connection, and the sender of its chunks. At most `queued` of them wait to
    /// be written.
    pub fn new(connection: Arc<ConnectionState>, queued: usize) -> (Sender<Bytes>, Self) {
        connection.begin_stream();
        let (sender, chunks) = channel(queued);
        (sender, Self { chunks, connection })
    }
}

impl Body for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let chunk = ready!(self.chunks.poll_recv(cx));
        if chunk.is_none() {
            self.connection.end_stream();
        }
        Poll::Ready(chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}
