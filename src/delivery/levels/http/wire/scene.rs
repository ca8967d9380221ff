//! Connections of tests.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use ureq::http::Uri;
use ureq::unversioned::transport::LazyBuffers;
use ureq::unversioned::transport::time::Instant;

use crate::clock::{Clock, FakeClock, Timestamp};
use crate::delivery::levels::http::wire::connection::{BUFFER, Wire};
use crate::delivery::levels::http::wire::idle::{Host, Idle};
use crate::delivery::levels::http::wire::socket::Socket;

/// Connections of a pool to a listener, and their other ends.
pub struct Scene {
    listener: TcpListener,
    pub clock: Arc<FakeClock>,
    pub idle: Arc<Idle>,
}

impl Scene {
    pub fn new(max: usize) -> Self {
        let clock = Arc::new(FakeClock::at(Timestamp::from_millis(0)));
        Self {
            listener: TcpListener::bind("127.0.0.1:0").expect("a port"),
            idle: Idle::new(max, Arc::clone(&clock) as Arc<dyn Clock>),
            clock,
        }
    }

    /// A connection, and its other end.
    pub fn connect(&self) -> (Box<Wire>, TcpStream) {
        let address = self.listener.local_addr().expect("an address");
        let stream = TcpStream::connect(address).expect("a connection");
        let (other, _) = self.listener.accept().expect("a connection");
        let socket = Socket::new(Arc::new(stream)).expect("a socket");
        let buffers = LazyBuffers::new(BUFFER, BUFFER);
        let now = Arc::new(|| Instant::NotHappening);
        (Box::new(Wire::new(socket, buffers, now)), other)
    }

    /// Keeps a new connection to `name`, and returns its other end.
    pub fn keep(&self, name: &str) -> TcpStream {
        let (wire, other) = self.connect();
        self.idle.keep(host(name), wire);
        other
    }

    /// The address of the connection that a request to `name` gets.
    pub fn take(&self, name: &str) -> Option<SocketAddr> {
        let taken = self.idle.take(Some(&host(name))).expect("it is open");
        let wire = taken?;
        Some(
            wire.socket()
                .stream()
                .local_addr()
                .expect("it is connected"),
        )
    }
}

pub fn host(name: &str) -> Host {
    let uri: Uri = format!("http://{name}/path").parse().expect("a URL");
    Host::of(&uri).expect("a host")
}

pub fn peer(other: &TcpStream) -> Option<SocketAddr> {
    other.peer_addr().ok()
}
