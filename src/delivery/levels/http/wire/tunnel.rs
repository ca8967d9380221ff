//! Asks a proxy for a tunnel (RFC 9110, 9.3.6). http URLs are tunnelled, too: a proxy that forwards
//! requests would see signatures and bodies, and choose the connections that they share.
//!
//! None of the proxy's bytes are trusted: its answer's head is bounded in size and time, its body
//! is not read, and nothing may follow the head of an answer that opens a tunnel, since the
//! destination has not been asked anything yet.

use std::fmt::Write as _;
use std::io::ErrorKind;

use ureq::Error;
use ureq::http::{StatusCode, Uri};

use crate::config::ProxyPolicy;
use crate::delivery::levels::http::proxy::ProxyProblem;
use crate::delivery::levels::http::wire::deadline::Deadline;
use crate::delivery::levels::http::wire::head::Head;
use crate::delivery::levels::http::wire::socket::{Ready, Socket, Wanted, would_block};
use crate::model::literal_address;

/// Bytes that are read at once; most answers have a hundred.
const CHUNK: usize = 1024;

/// Has the proxy at the other end of `socket` open a tunnel to `target`.
pub(super) fn open(
    socket: &mut Socket,
    proxy: &ProxyPolicy,
    target: &str,
    deadline: &Deadline<'_>,
) -> Result<(), Error> {
    let asked = ask(socket, proxy, target, deadline);
    let (status, has_more) =
        asked.map_err(|error| ProxyProblem::while_asking(error, proxy, target))?;
    let target = || target.to_owned();
    let problem = match status {
        Some(200..=299) if !has_more => return Ok(()),
        Some(200..=299) => ProxyProblem::Unasked { target: target() },
        Some(407) if proxy.authorization.is_some() => ProxyProblem::CredentialsRefused,
        Some(407) => ProxyProblem::CredentialsMissing,
        Some(status) => match StatusCode::from_u16(status) {
            Ok(status) => ProxyProblem::Status {
                target: target(),
                status,
            },
            Err(_) => ProxyProblem::NotHttp,
        },
        None => ProxyProblem::NotHttp,
    };
    Err(problem.of(proxy))
}

/// The host and port of a URL as CONNECT names them. An address in an odd spelling (`127.1`) is
/// written out: the proxy shall connect to the one that was checked.
pub(super) fn target(uri: &Uri) -> String {
    let host = uri.host().unwrap_or_default();
    let default_port = if uri.scheme_str() == Some("http") {
        80
    } else {
        443
    };
    let port = uri.port_u16().unwrap_or(default_port);
    match literal_address(host) {
        Some(address) => std::net::SocketAddr::new(address, port).to_string(),
        None => format!("{host}:{port}"),
    }
}

/// Sends CONNECT, and reads the head of the answer. Returns its status, none if it isn't HTTP, and
/// whether bytes came with it that belong to no head.
fn ask(
    socket: &mut Socket,
    proxy: &ProxyPolicy,
    target: &str,
    deadline: &Deadline<'_>,
) -> Result<(Option<u16>, bool), Error> {
    let request = request(proxy, target);
    let mut rest = request.as_bytes();
    while !rest.is_empty() {
        let step = socket.write(rest);
        match or_wait(socket, step, Wanted::Write, deadline)? {
            Some(0) => return Err(std::io::Error::from(ErrorKind::UnexpectedEof).into()),
            Some(written) => rest = &rest[written..],
            None => {}
        }
    }
    let mut head = Head::default();
    let mut chunk = [0; CHUNK];
    while !head.is_over() {
        let step = socket.read(&mut chunk);
        match or_wait(socket, step, Wanted::Read, deadline)? {
            Some(0) => return Err(std::io::Error::from(ErrorKind::UnexpectedEof).into()),
            Some(read) => head
                .feed(&chunk[..read])
                .map_err(|error| Error::Other(Box::new(error)))?,
            None => {}
        }
    }
    let status = head.status();
    let (_, more) = head
        .finish()
        .map_err(|error| Error::Other(Box::new(error)))?;
    Ok((status, !more.is_empty()))
}

/// The result of a step; none if the socket had to be waited for.
fn or_wait(
    socket: &mut Socket,
    step: std::io::Result<usize>,
    wanted: Wanted,
    deadline: &Deadline<'_>,
) -> Result<Option<usize>, Error> {
    match step {
        Ok(bytes) => return Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(None),
        Err(error) if !would_block(&error) => return Err(error.into()),
        Err(_) => {}
    }
    match socket.wait(wanted, deadline.left()?)? {
        Ready::Late => Err(deadline.missed()),
        Ready::Read | Ready::Write => Ok(None),
    }
}

fn request(proxy: &ProxyPolicy, target: &str) -> String {
    let agent = concat!("relay/", env!("CARGO_PKG_VERSION"));
    let mut request =
        format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nUser-Agent: {agent}\r\n");
    if let Some(authorization) = &proxy.authorization {
        let value = authorization.reveal();
        write!(request, "Proxy-Authorization: {value}\r\n").expect("a String takes all");
    }
    request.push_str("\r\n");
    request
}
