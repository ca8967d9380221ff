use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

use crate::config::Resolved;
use crate::http::EventLoops;
use crate::relay::error::StartError;

/// Connections that wait in the kernel to be accepted.
const BACKLOG: u32 = 1024;

/// The listeners, bound but not yet accepting.
pub(super) struct Listeners {
    pub public: TcpListener,
    pub admin: Option<TcpListener>,
    pub address: SocketAddr,
    pub admin_address: Option<SocketAddr>,
}

impl Listeners {
    /// Binds the addresses of a configuration.
    pub fn bind(config: &Resolved, event_loops: &EventLoops) -> Result<Self, StartError> {
        let _entered = event_loops.accepting().enter();
        let (public, address) = listen("server.listen", config.server.listen)?;
        let admin = config
            .admin
            .listen
            .map(|address| listen("admin.listen", address))
            .transpose()?;
        let (admin, admin_address) = admin.unzip();
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
