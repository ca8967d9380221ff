//! Makes connections: dials an address, and begins TLS.

use std::io::{Error as IoError, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Weak};
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use ureq::Error;
use ureq::unversioned::transport::{ConnectionDetails, Connector, LazyBuffers, ShutdownHandle};

use crate::clock::Clock;
use crate::config::ProxyPolicy;
use crate::delivery::levels::http::errors::{Forbidden, NotMade, TlsNotBegun, is_end};
use crate::delivery::levels::http::proxy::{ProxyProblem, Route};
use crate::delivery::levels::http::trace;
use crate::delivery::levels::http::wire::connection::Wire;
use crate::delivery::levels::http::wire::deadline::Deadline;
use crate::delivery::levels::http::wire::socket::{Ready, Socket, Wanted, would_block};
use crate::delivery::levels::http::wire::tunnel;
use crate::delivery::levels::local::{is_local_end, source_address};
use crate::model::AddressPolicy;

/// Takes the handle of a connection, by which another thread can shut it down.
pub(super) type Register<'a> = dyn Fn(Weak<dyn ShutdownHandle>) -> Result<(), Error> + 'a;

/// Makes connections, in TLS for `https`.
pub(in crate::delivery::levels::http) struct Dialer {
    policy: Arc<AddressPolicy>,
    route: Route,
    tls: Arc<ClientConfig>,
    clock: Arc<dyn Clock>,
}

impl Dialer {
    pub fn new(
        policy: Arc<AddressPolicy>,
        route: Route,
        tls: Arc<ClientConfig>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            policy,
            route,
            tls,
            clock,
        }
    }

    /// Makes a connection. `register` takes its handle before anything waits on it.
    pub(super) fn dial(
        &self,
        details: &ConnectionDetails<'_>,
        register: &Register<'_>,
    ) -> Result<Wire, Error> {
        let start = self.clock.monotonic();
        let result = self.dial_untraced(details, register);
        trace::connected(self.clock.monotonic().saturating_sub(start));
        result
    }

    fn dial_untraced(
        &self,
        details: &ConnectionDetails<'_>,
        register: &Register<'_>,
    ) -> Result<Wire, Error> {
        let now = Arc::clone(&details.current_time);
        let deadline = Deadline::new(details.timeout, details.now, &now);
        let mut socket = match self.route.proxy(details.uri) {
            None => self.connect(details, register, &deadline)?,
            Some(proxy) => self.connect_through(proxy, details, register, &deadline)?,
        };
        if details.needs_tls() {
            let start = self.clock.monotonic();
            self.begin_tls(&mut socket, details, &deadline)?;
            trace::shook_hands(self.clock.monotonic().saturating_sub(start));
        }
        let config = details.config;
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        Ok(Wire::new(socket, buffers, Arc::clone(&now)))
    }

    /// Connects to one of the checked addresses.
    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        register: &Register<'_>,
        deadline: &Deadline<'_>,
    ) -> Result<Socket, Error> {
        let connect = TcpStream::connect_timeout;
        let stream = Arc::new(connect_first(&details.addrs, deadline, connect)?);
        self.refuse_own_listener(&stream)?;
        // A request is sent in the largest possible pieces: waiting to fill a packet only delays
        // it.
        stream.set_nodelay(true)?;
        let handle: Weak<TcpStream> = Arc::downgrade(&stream);
        register(handle as Weak<dyn ShutdownHandle>)?;
        Ok(Socket::new(stream)?)
    }

    /// Connects to the proxy, and has it open a tunnel.
    fn connect_through(
        &self,
        proxy: &ProxyPolicy,
        details: &ConnectionDetails<'_>,
        register: &Register<'_>,
        deadline: &Deadline<'_>,
    ) -> Result<Socket, Error> {
        let connected = self.connect(details, register, deadline);
        let mut socket = connected.map_err(|error| ProxyProblem::while_connecting(error, proxy))?;
        tunnel::open(&mut socket, proxy, &tunnel::target(details.uri), deadline)?;
        Ok(socket)
    }

    /// Refuses a connection that led to one of relay's listeners. The check before the dial asked
    /// the routes; this one asks the connection.
    fn refuse_own_listener(&self, stream: &TcpStream) -> Result<(), Error> {
        let (here, there) = (stream.local_addr()?, stream.peer_addr()?);
        let is_own = |ip| is_local_end(here.ip(), ip);
        if self.policy.is_own_listener(there, is_own) {
            return Err(Error::Other(Box::new(Forbidden::OwnListener(there))));
        }
        Ok(())
    }

    fn begin_tls(
        &self,
        socket: &mut Socket,
        details: &ConnectionDetails<'_>,
        deadline: &Deadline<'_>,
    ) -> Result<(), Error> {
        let begun = self.shake_hands(socket, details, deadline);
        match self.route.proxy(details.uri) {
            None => begun.map_err(|error| match error {
                Error::Io(error) if is_end(error.kind()) => Error::Other(Box::new(TlsNotBegun)),
                other => other,
            }),
            Some(proxy) => begun.map_err(|error| {
                let target = tunnel::target(details.uri);
                ProxyProblem::while_beginning_tls(error, proxy, &target)
            }),
        }
    }

    fn shake_hands(
        &self,
        socket: &mut Socket,
        details: &ConnectionDetails<'_>,
        deadline: &Deadline<'_>,
    ) -> Result<(), Error> {
        let host = details.uri.host().unwrap_or_default();
        let host = host
            .strip_prefix('[')
            .and_then(|inner| inner.strip_suffix(']'))
            .unwrap_or(host);
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Error::Tls("the host's name can't be in a certificate"))?;
        let connection = ClientConnection::new(Arc::clone(&self.tls), name)
            .map_err(|error| IoError::new(ErrorKind::InvalidData, error))?;
        socket.begin_tls(connection);
        loop {
            let wanted = match socket.handshake() {
                Ok(()) => return Ok(()),
                Err(error) if would_block(&error) => {
                    if socket.has_to_write() {
                        Wanted::Write
                    } else {
                        Wanted::Read
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            if socket.wait(wanted, deadline.left()?)? == Ready::Late {
                return Err(deadline.missed());
            }
        }
    }
}

/// Connects to the first address that takes the connection. Each has half of the time that is left,
/// and the last one all of it, so that a silent address leaves time for the next.
fn connect_first(
    addresses: &[SocketAddr],
    deadline: &Deadline<'_>,
    connect: impl Fn(&SocketAddr, Duration) -> Result<TcpStream, IoError>,
) -> Result<TcpStream, Error> {
    let mut last = None;
    for (number, address) in addresses.iter().enumerate() {
        let left = match (deadline.left(), last) {
            (Ok(left), _) => left,
            (Err(late), None) => return Err(late),
            (Err(_), Some(error)) => return Err(error),
        };
        let patience = if number + 1 == addresses.len() {
            left
        } else {
            (left / 2).max(Duration::from_millis(1))
        };
        match connect(address, patience) {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                last = Some(deadline.missed());
            }
            Err(error) => match NotMade::of_dial(error, || source_address(address.ip()).is_ok()) {
                // This address can't be reached; another may be.
                Err(error) => last = Some(Error::Io(error)),
                Ok(shortage) => return Err(Error::Other(Box::new(shortage))),
            },
        }
    }
    Err(last.unwrap_or(Error::HostNotFound))
}

impl Connector for Dialer {
    type Out = Wire;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<Wire>, Error> {
        self.dial(details, &*details.register_shutdown).map(Some)
    }
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialer").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
