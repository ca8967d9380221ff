use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

use crate::config::{Config, Resolved};
use crate::http::EventLoops;
use crate::relay::error::StartError;

/// Connections that wait in the kernel to be accepted.
const BACKLOG: u32 = 1024;

/// Listening sockets that a service manager has passed to the process.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    pub server: Option<std::net::TcpListener>,
    pub admin: Option<std::net::TcpListener>,
}

/// The listeners, bound but not yet accepting.
pub(super) struct Listeners {
    pub public: TcpListener,
    pub admin: Option<TcpListener>,
    pub address: SocketAddr,
    pub admin_address: Option<SocketAddr>,
}

impl Listeners {
    /// Binds the addresses of a configuration, but for those whose sockets were passed.
    pub fn bind(
        config: &Resolved,
        event_loops: &EventLoops,
        sockets: Sockets,
    ) -> Result<Self, StartError> {
        let _entered = event_loops.accepting().enter();
        let bind = |key, address, passed| match passed {
            Some(socket) => take(key, address, socket),
            None => listen(key, address),
        };
        let (public, address) = bind("server.listen", config.server.listen, sockets.server)?;
        let admin = match (config.admin.listen, sockets.admin) {
            (Some(address), passed) => Some(bind("admin.listen", address, passed)?),
            (None, Some(_)) => {
                log::warn!(
                    "admin.listen is off: the socket \"admin\" of the service manager is not served"
                );
                None
            }
            (None, None) => None,
        };
        let (admin, admin_address) = admin.unzip();
        // The address of a socket that was passed was not checked with the configuration.
        if let Some(address) = admin_address {
            let checked = config.admin.check_address("admin.listen", address);
            checked.map_err(|problem| Config::refused(None, problem))?;
        }
        Ok(Self {
            public,
            admin,
            address,
            admin_address,
        })
    }

    pub fn addresses(&self) -> Vec<SocketAddr> {
        let both = [Some(self.address), self.admin_address];
        both.into_iter().flatten().collect()
    }
}

/// Takes a socket that was passed: it counts, also if the configuration names another address.
fn take(
    key: &'static str,
    wanted: SocketAddr,
    socket: std::net::TcpListener,
) -> Result<(TcpListener, SocketAddr), StartError> {
    socket.set_nonblocking(true)?;
    let listener = TcpListener::from_std(socket)?;
    let address = listener.local_addr()?;
    if wanted.port() != 0 && wanted != address {
        log::warn!(
            "{key} is {wanted}, and the service manager listens at {address}: its socket counts"
        );
    }
    Ok((listener, address))
}

fn listen(key: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let listen = || {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        // A restart must not wait for the old connections' TIME_WAIT.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    listen().map_err(|source| StartError::Listen {
        key,
        address,
        source,
    })
}
