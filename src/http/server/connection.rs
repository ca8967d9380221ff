//! Serves one connection.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;

use hyper::Response;
use hyper::body::Incoming;
use hyper::header::CONNECTION;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::time::{Sleep, sleep};

use crate::http::body::{Body, Origin, Request};
use crate::http::response::ResponseBody;
use crate::http::server::connection_slots::ConnectionSlot;
use crate::http::server::socket::Socket;
use crate::stop::Stop;

/// Serves a connection from `peer` to its end, or until it is idle and should close.
pub(super) async fn serve_connection<H, F, B>(
    builder: http1::Builder,
    socket: Socket,
    peer: IpAddr,
    slot: ConnectionSlot,
    handler: H,
    stop: Stop,
) where
    H: Fn(Request) -> F,
    F: Future<Output = Response<B>>,
    B: ResponseBody,
{
    let state = &slot.state;
    let is_secure = socket.is_secure();
    let service = service_fn(|request: hyper::Request<Incoming>| {
        state.begin_request();
        let (head, incoming) = request.into_parts();
        let from = Origin::new(peer, is_secure, Arc::clone(state));
        let body = Body::new(incoming, &head.headers, from);
        let answer = handler(Request::from_parts(head, body));
        async move {
            let response = answer.await;
            if response.headers().get(CONNECTION).is_some() {
                state.linger();
            }
            if !response.body().is_stream() {
                state.end_request();
            }
            Ok::<_, Infallible>(response.map(ResponseBody::into_sent))
        }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(socket), service));
    let mut stopping = pin!(stop.asked());
    let mut is_last = false;
    // Boxed: no connection has it before the stop.
    let mut awaited = None;
    loop {
        tokio::select! {
            // The connection comes first: if a request arrived while the thread was busy, the
            // connection isn't idle.
            biased;
            ended = connection.as_mut() => {
                // Clients end connections early for reasons of their own.
                if let Err(error) = ended {
                    log::debug!(error:% = error; "a connection ended early");
                }
                return;
            }
            () = state.eviction_requested() => {
                // A request, or its answer, may have been sent since.
                if state.is_closable() || state.eviction_order().is_some() {
                    log::debug!("a connection is closed to make room");
                    return;
                }
            }
            _ = &mut stopping, if !is_last => {
                is_last = true;
                if state.is_closable() {
                    awaited = Some(Box::pin(sleep(state.left_for_a_request())));
                } else {
                    connection.as_mut().graceful_shutdown();
                }
            }
            () = end_of(&mut awaited), if awaited.is_some() => {
                // Between requests no answer is owed. Returning closes the connection.
                if state.is_closable() {
                    return;
                }
                awaited = None;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// Resolves at the end of the wait, if there is one.
async fn end_of(wait: &mut Option<Pin<Box<Sleep>>>) {
    match wait {
        Some(wait) => wait.as_mut().await,
        None => std::future::pending().await,
    }
}
