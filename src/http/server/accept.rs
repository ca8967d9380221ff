//! Accepts connections until the stop, and then drains them.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::http::body::Request;
use crate::http::response::Response;
use crate::http::server::connection::serve_connection;
use crate::http::server::connection_slots::ConnectionSlots;
use crate::http::server::event_loops::EventLoop;
use crate::http::server::limits::ListenerLimits;
use crate::http::server::socket::{MalformedHandler, Socket};

/// The pause after a failed accept. It fails most often for want of file descriptors, and trying
/// again without a pause would take the time that requests need to free some.
const ACCEPT_PAUSE: Duration = Duration::from_millis(75);

/// Accepts connections and spreads them over `event_loops`, until `stop` holds a grace. Then
/// requests under way may finish within the grace. `malformed` answers what hyper can't parse.
pub(crate) async fn serve<H, F>(
    listener: TcpListener,
    limits: ListenerLimits,
    handler: H,
    malformed: MalformedHandler,
    mut stop: watch::Receiver<Option<Duration>>,
    event_loops: Arc<[EventLoop]>,
) where
    H: Fn(Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let builder = limits.connection_builder();
    let slots = ConnectionSlots::new(limits.connections);
    let mut acceptor = Acceptor::new(listener);
    let stopped = stop.clone();
    let mut stopping = pin!(stop.wait_for(Option::is_some));
    loop {
        let stream = tokio::select! {
            _ = &mut stopping => break,
            stream = acceptor.accept() => stream,
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
        let (builder, handler) = (builder.clone(), handler.clone());
        let (malformed, stopped) = (Arc::clone(&malformed), stopped.clone());
        EventLoop::least_loaded(&event_loops).spawn_connection(stream, move |stream| {
            let state = Arc::clone(&slot.state);
            let socket = Socket::new(stream, state, malformed, limits.write_timeout);
            serve_connection(builder, socket, slot, handler, stopped)
        });
    }
    drop(acceptor);
    let grace = stopped.borrow().unwrap_or_default();
    let drained = tokio::time::timeout(grace, slots.all_released());
    if drained.await.is_err() {
        log::warn!("requests were still under way at the end of server.shutdown_grace");
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

    async fn accept(&mut self) -> TcpStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    if self.is_failing {
                        log::info!("connections are being accepted again");
                        self.is_failing = false;
                    }
                    return stream;
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
