//! Posts one request to the relay that serves the configuration. Plain sockets: a build that
//! delivers nothing has no other client.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use rustls::pki_types::ServerName;

use crate::cli::send::unverified;

/// The longest wait of `relay send` to connect, and for each part of the answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The most bytes of an answer that are read.
const MAX_ANSWER: u64 = 64 << 10;

/// The address to reach a listener at, from the same machine.
pub(in crate::cli) fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// A listener of a relay, and how it is spoken to.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Door {
    pub address: SocketAddr,
    /// The name to ask for in TLS; none: in the clear.
    pub tls: Option<ServerName<'static>>,
}

impl Door {
    /// A listener of this machine.
    pub fn of(listen: SocketAddr, is_tls: bool) -> Self {
        let address = reachable(listen);
        Self {
            address,
            tls: is_tls.then(|| ServerName::from(address.ip())),
        }
    }

    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme(), self.address)
    }
}

/// Sends the bytes of a request that asks for the end of the connection; the bytes of the answer.
pub(super) fn post(to: &Door, request: &[u8]) -> io::Result<Vec<u8>> {
    exchange(to, request, TIMEOUT)
}

/// The same with another wait to connect, and for each part of the answer.
pub(in crate::cli) fn exchange(
    to: &Door,
    request: &[u8],
    timeout: Duration,
) -> io::Result<Vec<u8>> {
    let stream = TcpStream::connect_timeout(&to.address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    match &to.tls {
        None => converse(stream, request),
        Some(name) => converse(unverified::stream(stream, name.clone())?, request),
    }
}

fn converse(mut stream: impl Read + Write, request: &[u8]) -> io::Result<Vec<u8>> {
    // A relay that refuses early answers and closes while the body is still being sent.
    let sent = stream.write_all(request).and_then(|()| stream.flush());
    let mut answer = Vec::new();
    match stream.take(MAX_ANSWER).read_to_end(&mut answer) {
        Ok(_) if answer.is_empty() => Err(sent.err().unwrap_or_else(|| {
            io::Error::new(io::ErrorKind::UnexpectedEof, "it closed without an answer")
        })),
        // A reset after the answer is no matter.
        Err(error) if answer.is_empty() => Err(error),
        _ => Ok(answer),
    }
}

/// The status line and the body of an answer. None if it is no HTTP.
pub(in crate::cli) fn split(answer: &[u8]) -> Option<(String, u16, &[u8])> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let line = head.split("\r\n").next()?;
    let status = line.strip_prefix("HTTP/1.1 ")?;
    let code = status.get(..3)?.parse().ok()?;
    Some((status.to_owned(), code, &answer[end + 4..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_every_interface_is_reached_at_loopback() {
        for (listen, expected) in [
            ("0.0.0.0:8080", "127.0.0.1:8080"),
            ("[::]:8080", "[::1]:8080"),
            ("192.0.2.1:80", "192.0.2.1:80"),
        ] {
            let listen = listen.parse().expect("an address");
            assert_eq!(reachable(listen).to_string(), expected);
        }
    }

    #[test]
    fn an_answer_is_split_into_status_and_body() {
        let answer = b"HTTP/1.1 202 Accepted\r\nx: y\r\n\r\n{}";
        assert_eq!(
            split(answer),
            Some(("202 Accepted".to_owned(), 202, &b"{}"[..]))
        );
        for wrong in [
            &b""[..],
            b"HTTP/1.1 202 Accepted\r\n",
            b"220 smtp\r\n\r\n",
            b"HTTP/1.1 2\r\n\r\n",
        ] {
            assert_eq!(split(wrong), None);
        }
    }
}
