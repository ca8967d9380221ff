//! Accepting connections: as many as there may be, each within its limits, drained at the end.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::CONNECTION;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::config::Server;
use crate::http::body::Body;
use crate::http::body::Request;
use crate::http::response::Response;
use crate::http::server::connection_slots::{ConnectionSlot, ConnectionSlots};
use crate::http::server::event_loops::EventLoop;
use crate::http::server::socket::{MalformedHandler, Socket};

/// Headers of a request: providers send some twenty.
pub(in crate::http) const MAX_HEADERS: usize = 64;
/// Bytes of a request's line and headers, and of what hyper buffers of a connection.
pub(in crate::http) const MAX_HEADER_BYTES: usize = 16 * 1024;
/// The pause after an accept failed, most often for want of descriptors: those that are in use
/// come back, and spinning would keep them from it.
const ACCEPT_PAUSE: Duration = Duration::from_millis(75);

/// What a listener allows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ListenerLimits {
    connections: u32,
    header_timeout: Duration,
    write_timeout: Duration,
}

impl ListenerLimits {
    pub fn of(settings: &Server) -> Self {
        Self {
            connections: settings.max_connections,
            header_timeout: settings.header_timeout,
            write_timeout: settings.request_timeout,
        }
    }

    /// The same for fewer connections.
    pub fn with_connections(self, connections: u32) -> Self {
        Self {
            connections,
            ..self
        }
    }
}

/// Serves until `stop` holds a grace, then lets the requests under way finish within it.
/// `refuse` answers what hyper can't make a request of; `loops` attend to the connections.
pub(crate) async fn serve<H, F>(
    listener: TcpListener,
    limits: ListenerLimits,
    handler: H,
    refuse: MalformedHandler,
    mut stop: watch::Receiver<Option<Duration>>,
    loops: Arc<[EventLoop]>,
) where
    H: Fn(Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder
        // Without a timer the header timeout is silently off.
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEADER_BYTES)
        .half_close(false);
    let slots = ConnectionSlots::new(limits.connections);
    let stopped = stop.clone();
    let mut stopping = std::pin::pin!(stop.wait_for(Option::is_some));
    let mut is_refused = false;
    loop {
        let accepted = tokio::select! {
            _ = &mut stopping => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                if !is_refused {
                    log::warn!(error:% = error; "connections can't be accepted");
                }
                is_refused = true;
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if is_refused {
            log::info!("connections are being accepted again");
            is_refused = false;
        }
        // An answer is one small segment: waiting to fill it would only delay it. A socket that
        // refuses the option is about to fail anyway.
        let _ = stream.set_nodelay(true);
        // One connection waits here for a slot, and may make an idle one close. All others wait in
        // the kernel, which costs us neither a descriptor nor memory.
        let slot = tokio::select! {
            _ = &mut stopping => break,
            slot = slots.take() => slot,
        };
        let (builder, handler) = (builder.clone(), handler.clone());
        let (refuse, stopped) = (Arc::clone(&refuse), stopped.clone());
        EventLoop::idlest(&loops).attend(stream, move |stream| {
            let state = Arc::clone(&slot.state);
            let socket = Socket::new(stream, state, refuse, limits.write_timeout);
            attend(builder, socket, slot, handler, stopped)
        });
    }
    drop(listener);
    let grace = stopped.borrow().unwrap_or_default();
    if tokio::time::timeout(grace, slots.all_free()).await.is_err() {
        log::warn!("requests were still under way at the end of server.shutdown_grace");
    }
}

/// Serves one connection to its end, or until it is idle and should close.
async fn attend<H, F>(
    builder: http1::Builder,
    socket: Socket,
    slot: ConnectionSlot,
    handler: H,
    mut stop: watch::Receiver<Option<Duration>>,
) where
    H: Fn(Request) -> F,
    F: Future<Output = Response>,
{
    let state = &slot.state;
    let service = service_fn(|request: hyper::Request<Incoming>| {
        state.begin_request();
        let (head, incoming) = request.into_parts();
        let body = Body::new(incoming, &head.headers, Arc::clone(state));
        let answer = handler(Request::from_parts(head, body));
        async move {
            let response = answer.await;
            if response.headers().get(CONNECTION).is_some() {
                state.linger();
            }
            state.answered();
            Ok::<_, Infallible>(response.map(Full::new))
        }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(socket), service));
    let mut stopping = pin!(stop.wait_for(Option::is_some));
    let mut is_last = false;
    loop {
        tokio::select! {
            // First what was sent: a connection whose request came while its thread was busy isn't idle.
            biased;
            ended = connection.as_mut() => {
                // What ends a connection early is the client's affair.
                if let Err(error) = ended {
                    log::debug!(error:% = error; "a connection ended early");
                }
                return;
            }
            () = state.room_wanted() => {
                // It may have been sent a request, or its answer, just then.
                if state.may_close() || state.may_make_room().is_some() {
                    log::debug!("a connection is closed to make room");
                    return;
                }
            }
            _ = &mut stopping, if !is_last => {
                is_last = true;
                // Between requests nobody is owed an answer: dropping the connection closes it.
                if state.may_close() {
                    return;
                }
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}
