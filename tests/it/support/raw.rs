//! Receivers that are scripted down to the bytes, for answers that no proper server gives.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// A plain stream or one in TLS.
pub trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

type Script = dyn Fn(&mut dyn Stream, &TcpStream) + Send + Sync;

/// Runs `script` on each connection, in TLS if `tls` is given. The script gets the stream and the
/// socket below it.
pub fn receiver(
    tls: Option<rustls::ServerConfig>,
    script: impl Fn(&mut dyn Stream, &TcpStream) + Send + Sync + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("an address");
    let scheme = if tls.is_some() { "https" } else { "http" };
    let (tls, script): (_, Arc<Script>) = (tls.map(Arc::new), Arc::new(script));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Otherwise the kernel may hold back an answer, and a reset would lose it.
            stream.set_nodelay(true).expect("a socket");
            let (tls, script) = (tls.clone(), Arc::clone(&script));
            std::thread::spawn(move || {
                let socket = stream.try_clone().expect("a descriptor");
                if let Some(tls) = tls {
                    let connection = rustls::ServerConnection::new(tls).expect("a connection");
                    script(&mut rustls::StreamOwned::new(connection, stream), &socket);
                } else {
                    let mut stream = stream;
                    script(&mut stream, &socket);
                }
            });
        }
    });
    format!("{scheme}://{address}/")
}

/// Reads up to the end of a request's headers, and any bytes that arrive with them; none if the
/// connection ends first.
pub fn read_head(stream: &mut dyn Stream) -> Option<Vec<u8>> {
    let mut read = Vec::new();
    let mut piece = [0; 4096];
    while !read.windows(4).any(|four| four == b"\r\n\r\n") {
        match stream.read(&mut piece) {
            Ok(bytes @ 1..) => read.extend_from_slice(&piece[..bytes]),
            _ => return None,
        }
    }
    Some(read)
}

/// Reads up to `bytes` bytes; returns how many arrived.
pub fn read_bytes(stream: &mut dyn Stream, bytes: usize) -> usize {
    let mut piece = vec![0; 64 * 1024];
    let mut all = 0;
    while all < bytes {
        match stream.read(&mut piece) {
            Ok(read @ 1..) => all += read,
            _ => break,
        }
    }
    all
}

pub fn answer(stream: &mut dyn Stream, text: &str) {
    let _ = stream.write_all(text.as_bytes());
    let _ = stream.flush();
}

/// Waits until the peer has closed, without reading from the socket.
pub fn wait_for_close_without_reading(socket: &TcpStream) {
    let mut polled = [rustix::event::PollFd::new(
        socket,
        rustix::event::PollFlags::RDHUP,
    )];
    let _ = rustix::event::poll(&mut polled, None);
}

/// Runs `script` on each connection.
pub fn raw_receiver(script: impl Fn(TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("an address");
    let script = Arc::new(script);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let script = Arc::clone(&script);
            std::thread::spawn(move || script(stream));
        }
    });
    format!("http://{address}/")
}

/// Reads a request, roughly to the end of its body; then writes `head`, and `part` repeatedly.
pub fn dripping(
    head: &'static [u8],
    part: &'static [u8],
    pause: Duration,
) -> impl Fn(TcpStream) + Send + Sync {
    move |mut stream| {
        let mut request = [0; 4096];
        let _ = stream.read(&mut request);
        let _ = stream.write_all(head);
        while stream.write_all(part).is_ok() {
            std::thread::park_timeout(pause);
        }
    }
}

pub fn saying(answer: &'static [u8]) -> impl Fn(TcpStream) + Send + Sync {
    move |mut stream| {
        let mut request = [0; 4096];
        let _ = stream.read(&mut request);
        let _ = stream.write_all(answer);
    }
}
