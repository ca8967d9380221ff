//! Whether an address is this machine's own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

/// Whether a connection to `ip` would end at this machine. The kernel's routes decide: they include
/// local addresses that no interface has, and exclude those that can merely be bound
/// (`net.ipv4.ip_nonlocal_bind`). Connecting a UDP socket asks the routes, and sends nothing.
pub(super) fn is_local(ip: IpAddr) -> bool {
    // Without a route the address can't be dialled either.
    source_address(ip).is_ok_and(|here| is_local_end(here, ip))
}

/// The address of this machine at which a connection to `ip` would begin. An error if there is
/// none.
pub(super) fn source_address(ip: IpAddr) -> std::io::Result<IpAddr> {
    let any: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    // Any port will do, since none is contacted.
    socket.connect((ip, 9))?;
    Ok(socket.local_addr()?.ip())
}

/// Whether `there` is this machine's, given that a connection to it begins at `here`: a connection
/// within the machine begins at the address that it goes to, or at a loopback one.
pub(super) fn is_local_end(here: IpAddr, there: IpAddr) -> bool {
    let (here, there) = (here.to_canonical(), there.to_canonical());
    here == there || here.is_loopback()
}

#[cfg(test)]
mod tests;
