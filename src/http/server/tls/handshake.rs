//! The begin of a TLS connection. Until its end the client is owed nothing: the handshake has the
//! time of a request's headers, and makes room for other connections.
//!
//! At the stop a client that hasn't said hello is treated as one that hasn't sent a request: it has
//! a moment, since its message may be on its way. One that has is in the middle of a handshake, as
//! others are in the middle of a request: it may end within its time and the grace, and then has a
//! moment for its request.

use std::io;
use std::time::Duration;

use rustls::server::Acceptor;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout_at};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, StartHandshake};

use crate::http::server::connection_slots::ConnectionState;
use crate::http::server::tls::listener::ListenerTls;
use crate::ops::metrics::HandshakeResult;
use crate::stop::Stop;

/// The answer to a request without TLS, such as `curl http://…`.
const PLAIN_HTTP_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Connection: close\r\n\
    Content-Length: 57\r\n\
    \r\n\
    this listener speaks TLS: expected https:// and not http\n";
/// Bytes that are read after that answer: closing before them would reset the connection, and the
/// client might never see the answer.
const MAX_DRAINED: usize = 64 * 1024;

/// The reason why there is no connection, and the error if there was one.
type Refusal = (HandshakeResult, Option<io::Error>);

impl ListenerTls {
    /// Shakes hands with a client, within `limit` from the connection's beginning; none if nothing
    /// came of it. Each end but that by the stop is counted. None is logged above `debug`:
    /// strangers knock at all hours.
    pub async fn shake_hands(
        &self,
        stream: TcpStream,
        state: &ConnectionState,
        limit: Duration,
        stop: &Stop,
    ) -> Option<TlsStream<TcpStream>> {
        let deadline = state.idle_since() + limit;
        let handshake = async {
            let begun = tokio::select! {
                biased;
                begun = hello(stream) => begun.map_err(Some)?,
                () = closed_by(stop, state) => return Err(None),
            };
            let done = self.finish(begun).await.map_err(Some)?;
            state.begin_requests();
            Ok(done)
        };
        let ended = tokio::select! {
            biased;
            done = timeout_at(deadline, handshake) => {
                done.unwrap_or(Err(Some((HandshakeResult::TimedOut, None))))
            }
            () = evicted(state) => Err(Some((HandshakeResult::Evicted, None))),
        };
        match ended {
            Ok(stream) => {
                self.counters().count(HandshakeResult::Ok);
                Some(stream)
            }
            Err(None) => None,
            Err(Some((result, error))) => {
                self.counters().count(result);
                let error = error.map(|error| error.to_string());
                log::debug!(
                    result = result.name(), error = error.as_deref();
                    "a TLS handshake came to nothing"
                );
                None
            }
        }
    }

    async fn finish(
        &self,
        begun: StartHandshake<TcpStream>,
    ) -> Result<TlsStream<TcpStream>, Refusal> {
        let (settings, result) = self.settings(&begun.client_hello());
        let done = begun.into_stream(settings).await;
        match (result, done) {
            (HandshakeResult::Challenge, Ok(mut stream)) => {
                // The authority has seen the certificate, and sends nothing.
                let _ = stream.shutdown().await;
                Err((HandshakeResult::Challenge, None))
            }
            (HandshakeResult::NoCertificate, _) => Err((HandshakeResult::NoCertificate, None)),
            (_, done) => done.map_err(refusal),
        }
    }
}

/// Reads the client's first message.
async fn hello(mut stream: TcpStream) -> Result<StartHandshake<TcpStream>, Refusal> {
    let mut first = [0];
    match stream.peek(&mut first).await {
        Ok(0) => return Err((HandshakeResult::Cut, None)),
        // A method: no record of TLS begins with a letter.
        Ok(_) if first[0].is_ascii_uppercase() => {
            answer_plain_http(&mut stream).await;
            return Err((HandshakeResult::PlainHttp, None));
        }
        Ok(_) => {}
        Err(error) => return Err((HandshakeResult::Cut, Some(error))),
    }
    let begun = LazyConfigAcceptor::new(Acceptor::default(), stream).await;
    begun.map_err(refusal)
}

/// Resolves once relay stops and the client's first message would be late.
async fn closed_by(stop: &Stop, state: &ConnectionState) {
    stop.asked().await;
    sleep(state.left_for_a_request()).await;
}

/// Resolves once the connection has to make room for another one.
async fn evicted(state: &ConnectionState) {
    loop {
        state.eviction_requested().await;
        if state.is_closable() {
            return;
        }
    }
}

fn refusal(error: io::Error) -> Refusal {
    // rustls's own errors have this kind; all others are the connection's.
    let result = match error.kind() {
        io::ErrorKind::InvalidData => HandshakeResult::Failed,
        _ => HandshakeResult::Cut,
    };
    (result, Some(error))
}

/// Tells a client that speaks plain HTTP, and closes. Errors don't matter: nothing is owed.
async fn answer_plain_http(stream: &mut TcpStream) {
    if stream.write_all(PLAIN_HTTP_ANSWER).await.is_err() || stream.shutdown().await.is_err() {
        return;
    }
    let (mut drained, mut some) = (0, [0; 4096]);
    while drained < MAX_DRAINED {
        match stream.read(&mut some).await {
            Ok(read @ 1..) => drained += read,
            Ok(0) | Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::PLAIN_HTTP_ANSWER;

    #[test]
    fn the_length_of_the_answer_to_plain_http_is_that_of_its_body() {
        let text = String::from_utf8_lossy(PLAIN_HTTP_ANSWER);
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())));
    }
}
