//! Accepting connections: as many as there may be, each within its limits, drained at the end.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use super::{Request, Response};
use crate::config::Server;

/// Headers of a request: providers send some twenty.
const MAX_HEADERS: usize = 64;
/// Bytes of a request's line and headers, and of what hyper buffers of a connection.
const MAX_HEADER_BYTES: usize = 16 * 1024;
/// The pause after an accept failed, most often for want of descriptors: those that are in use
/// come back, and spinning would keep them from it.
const ACCEPT_PAUSE: Duration = Duration::from_millis(75);

/// What a listener allows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    connections: usize,
    header_timeout: Duration,
    grace: Duration,
}

impl Limits {
    pub fn of(settings: &Server) -> Self {
        Self {
            connections: settings.max_connections,
            header_timeout: settings.header_timeout,
            grace: settings.shutdown_grace,
        }
    }

    /// The same for fewer connections.
    pub fn with_connections(self, connections: usize) -> Self {
        Self {
            connections,
            ..self
        }
    }
}

/// Serves until `stop` turns true, then lets the requests under way finish within the grace.
pub(crate) async fn serve<H, F>(
    listener: TcpListener,
    limits: Limits,
    handler: H,
    mut stop: watch::Receiver<bool>,
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
    let slots = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    let mut stopping = std::pin::pin!(stop.wait_for(|&stop| stop));
    loop {
        let accept = async {
            // The slot comes first: beyond the limit connections wait in the kernel, which costs us
            // neither a descriptor nor memory.
            let slot = Arc::clone(&slots)
                .acquire_owned()
                .await
                .expect("the semaphore is never closed");
            (listener.accept().await, slot)
        };
        let (accepted, slot) = tokio::select! {
            _ = &mut stopping => break,
            accepted = accept => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                log::warn!(error:% = error; "a connection can't be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // An answer is one small segment: waiting to fill it would only delay it. A socket that
        // refuses the option is about to fail anyway.
        let _ = stream.set_nodelay(true);
        let handler = handler.clone();
        let service = service_fn(move |request| {
            let answer = handler(request);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let connection = graceful.watch(builder.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            // What ends a connection early is the client's affair.
            if let Err(error) = connection.await {
                log::debug!(error:% = error; "a connection ended early");
            }
            drop(slot);
        });
    }
    drop(listener);
    if tokio::time::timeout(limits.grace, graceful.shutdown())
        .await
        .is_err()
    {
        log::warn!("requests were still under way at the end of server.shutdown_grace");
    }
}
