//! Accepts connections until the stop, and then drains them.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::Response;
use hyper::server::conn::http1;
use tokio::net::{TcpListener, TcpStream};

use crate::http::body::Request;
use crate::http::response::ResponseBody;
use crate::http::server::connection::serve_connection;
use crate::http::server::connection_slots::{ConnectionSlot, ConnectionSlots};
use crate::http::server::event_loops::EventLoop;
use crate::http::server::limits::ListenerLimits;
use crate::http::server::socket::{MalformedHandler, Socket};
use crate::http::server::stream::Stream;
use crate::http::server::tls::ListenerTls;
use crate::stop::{Deadline, Stop};

/// The pause after a failed accept. It fails most often for want of file descriptors, and trying
/// again without a pause would take the time that requests need to free some.
const ACCEPT_PAUSE: Duration = Duration::from_millis(75);

/// A listener, and its TLS if it has any.
pub(crate) struct Listener {
    pub tcp: TcpListener,
    pub tls: Option<ListenerTls>,
}

/// Accepts connections and spreads them over `event_loops` until it is asked to stop. Then requests
/// in flight may finish by the deadline. `malformed` answers what hyper can't parse. A connection
/// is served by the limits that are in force at its beginning; their number of connections counts
/// at the start only.
pub(crate) async fn serve<H, F, B>(
    listener: Listener,
    limits: impl Fn() -> ListenerLimits + Send,
    handler: H,
    malformed: MalformedHandler,
    stop: Stop,
    event_loops: Arc<[EventLoop]>,
) where
    H: Fn(Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: ResponseBody,
{
    let mut bounds = limits();
    let mut builder = bounds.connection_builder();
    let slots = ConnectionSlots::new(bounds.connections);
    let Listener { tcp, tls } = listener;
    let mut acceptor = Acceptor::new(tcp);
    let mut stopping = pin!(stop.asked());
    loop {
        let (stream, peer) = tokio::select! {
            _ = &mut stopping => break,
            accepted = acceptor.accept() => accepted,
        };
        // A response is one small segment, which the kernel would delay to fill. The option fails
        // only on a socket that is about to fail anyway.
        let _ = stream.set_nodelay(true);
        // One accepted connection waits here for a slot, and may evict an idle one. Further ones
        // wait in the kernel, where they take neither descriptors nor memory of this process.
        let slot = tokio::select! {
            _ = &mut stopping => break,
            slot = slots.acquire() => slot,
        };
        let now = limits();
        if now != bounds {
            (bounds, builder) = (now, now.connection_builder());
        }
        let accepted = Accepted {
            builder: builder.clone(),
            bounds,
            handler: handler.clone(),
            malformed: Arc::clone(&malformed),
            peer,
            slot,
            stop: stop.clone(),
        };
        let event_loop = EventLoop::least_loaded(&event_loops);
        match tls.clone() {
            None => event_loop
                .spawn_connection(stream, move |stream| accepted.serve(Stream::Plain(stream))),
            Some(tls) => {
                event_loop.spawn_connection(stream, move |stream| accepted.secure(stream, tls));
            }
        }
    }
    drop(acceptor);
    let left = stop.deadline().map_or(Duration::ZERO, Deadline::left);
    let drained = tokio::time::timeout(left, slots.all_released());
    if drained.await.is_err() {
        log::warn!("requests were still under way at the end of server.shutdown_grace");
    }
}

/// A connection that was accepted and has a slot, with everything that serves it.
struct Accepted<H> {
    builder: http1::Builder,
    bounds: ListenerLimits,
    handler: H,
    malformed: MalformedHandler,
    peer: IpAddr,
    slot: ConnectionSlot,
    stop: Stop,
}

impl<H, F, B> Accepted<H>
where
    H: Fn(Request) -> F + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: ResponseBody,
{
    /// Serves it to its end.
    fn serve(self, stream: Stream) -> impl Future<Output = ()> + Send {
        let state = Arc::clone(&self.slot.state);
        let socket = Socket::new(stream, state, self.malformed, &self.bounds);
        serve_connection(
            self.builder,
            socket,
            self.peer,
            self.slot,
            self.handler,
            self.stop,
        )
    }

    /// Serves it to its end, if the client and relay agree on TLS.
    async fn secure(self, stream: TcpStream, tls: ListenerTls) {
        let (state, limit) = (&self.slot.state, self.bounds.read_timeouts.head);
        // Boxed: its state is not kept for the rest of the connection.
        let handshake = Box::pin(tls.shake_hands(stream, state, limit, &self.stop));
        if let Some(stream) = handshake.await {
            self.serve(Stream::Tls(Box::new(stream))).await;
        }
    }
}

/// A listener that outlasts failures, and logs the first of a series.
struct Acceptor {
    listener: TcpListener,
    is_failing: bool,
}

impl Acceptor {
    fn new(listener: TcpListener) -> Self {
        Self {
            listener,
            is_failing: false,
        }
    }

    async fn accept(&mut self) -> (TcpStream, IpAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    if self.is_failing {
                        log::info!("connections are being accepted again");
                        self.is_failing = false;
                    }
                    return (stream, peer.ip());
                }
                Err(error) => {
                    if !self.is_failing {
                        log::warn!(error:% = error; "connections can't be accepted");
                    }
                    self.is_failing = true;
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}
