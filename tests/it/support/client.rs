use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use super::{KEY, document};

/// A client that opens a connection for each request. Except for raw requests, every answer is
/// checked against openapi.yaml.
#[derive(Clone, Debug)]
pub struct Client {
    address: SocketAddr,
    is_public: bool,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// # Panics
    ///
    /// If it isn't JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text()))
    }

    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
            .collect();
        Some(Self {
            status,
            headers,
            body: bytes[end + 4..].to_vec(),
        })
    }
}

/// A connection that stays open, for misbehaving clients.
pub struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    /// Sends bytes; false if the peer has closed.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Closes the sending side.
    pub fn finish(&self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
    }

    /// Waits for the next answer, with a body of its Content-Length; none if the connection ends
    /// first.
    pub fn reply(&mut self) -> Option<Reply> {
        loop {
            if let Some(mut reply) = Reply::parse(&self.read) {
                let head = self.read.len() - reply.body.len();
                let length = reply
                    .header("content-length")
                    .map_or(0, |length| length.parse().expect("a number"));
                if reply.body.len() >= length {
                    reply.body.truncate(length);
                    self.read.drain(..head + length);
                    return Some(reply);
                }
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(read) => self.read.extend_from_slice(&chunk[..read]),
                Err(error) if is_timeout(&error) => panic!("neither an answer nor an end"),
                Err(_) => return None,
            }
        }
    }

    /// Reads and discards up to `bytes` bytes; returns their number, 0 at the end.
    pub fn read_some(&mut self, bytes: usize) -> usize {
        let mut some = vec![0; bytes];
        self.stream.read(&mut some).unwrap_or(0)
    }

    /// Reads until the connection ends.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.read);
        if let Err(error) = self.stream.read_to_end(&mut rest) {
            assert!(!is_timeout(&error), "the connection doesn't end");
        }
        rest
    }

    /// Whether the connection has ended, without waiting for it.
    pub fn has_ended(&mut self) -> bool {
        self.peek().is_some_and(|bytes| bytes == 0)
    }

    /// Whether there are bytes to read or the connection has ended, without waiting.
    pub fn has_ended_or_answered(&mut self) -> bool {
        self.peek().is_some()
    }

    fn peek(&mut self) -> Option<usize> {
        self.stream.set_nonblocking(true).expect("a socket");
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).expect("a socket");
        match peeked {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => None,
            // A reset counts as an end.
            Err(_) => Some(0),
        }
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{TimedOut, WouldBlock};
    matches!(error.kind(), TimedOut | WouldBlock)
}

impl Client {
    /// Opens a connection and sends nothing.
    pub fn connect(&self) -> Connection {
        let stream = TcpStream::connect(self.address).expect("somebody listens");
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .expect("a timeout above zero");
        Connection {
            stream,
            read: Vec::new(),
        }
    }

    pub fn of(address: SocketAddr) -> Self {
        Self {
            address,
            is_public: true,
        }
    }

    /// A client of the operator's listener, which openapi.yaml doesn't describe.
    pub fn of_admin(address: SocketAddr) -> Self {
        Self {
            address,
            is_public: false,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends bytes and reads until the peer closes; none without a complete answer.
    pub fn try_raw(&self, bytes: &[u8]) -> Option<Reply> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .expect("a timeout above zero");
        stream.write_all(bytes).ok()?;
        let mut answer = Vec::new();
        // A reset after the answer is fine.
        let _ = stream.read_to_end(&mut answer);
        Reply::parse(&answer)
    }

    /// Sends bytes and reads until the peer closes.
    ///
    /// # Panics
    ///
    /// If there is no answer.
    pub fn raw(&self, bytes: &[u8]) -> Reply {
        self.try_raw(bytes).expect("an answer")
    }

    /// Sends a request; none without a complete answer.
    pub fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Option<Reply> {
        let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        // The operator's listener is asked by its address, as programs do.
        if !headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("host"))
        {
            let host = if self.is_public { "relay" } else { "127.0.0.1" };
            write!(request, "Host: {host}\r\n").expect("a String takes all");
        }
        for (name, value) in headers {
            write!(request, "{name}: {value}\r\n").expect("a String takes all");
        }
        if !body.is_empty() || method == "POST" {
            write!(request, "Content-Length: {}\r\n", body.len()).expect("a String takes all");
        }
        request.push_str("\r\n");
        let mut bytes = request.into_bytes();
        bytes.extend_from_slice(body);
        let reply = self.try_raw(&bytes)?;
        if self.is_public {
            document::check(method, path, &reply);
        }
        Some(reply)
    }

    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        self.try_send(method, path, headers, body)
            .unwrap_or_else(|| panic!("{method} {path}: no answer"))
    }

    /// `GET`, with the API key.
    pub fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[("X-API-Key", KEY)], b"")
    }

    /// `POST /v1/relays`, with the API key.
    pub fn create(&self, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut all = vec![("X-API-Key", KEY)];
        all.extend_from_slice(headers);
        self.send("POST", "/v1/relays", &all, body.as_bytes())
    }

    /// `POST /webhooks/github` under a key.
    pub fn hook(&self, key: &str, body: &[u8]) -> Reply {
        self.send(
            "POST",
            "/webhooks/github",
            &[
                ("Idempotency-Key", key),
                ("Content-Type", "application/json"),
            ],
            body,
        )
    }
}
