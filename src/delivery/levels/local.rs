//! Whether an address is this machine's own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

/// Whether a connection to `ip` would end at this machine. The kernel's routes decide: they know
/// addresses that no interface has, and don't claim those that can merely be bound
/// (`net.ipv4.ip_nonlocal_bind`). Connecting a UDP socket asks them, and sends nothing.
pub(super) fn is_local(ip: IpAddr) -> bool {
    let any: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // Any port will do: none is contacted. Without a route the address can't be dialled either.
    let here = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((ip, 9))?;
        socket.local_addr()
    });
    here.is_ok_and(|here| is_local_end(here.ip(), ip))
}

/// Whether `there` is this machine's, given that a connection to it begins at `here`: what stays on
/// the machine begins at the address that it goes to, or at a loopback one.
pub(super) fn is_local_end(here: IpAddr, there: IpAddr) -> bool {
    let (here, there) = (here.to_canonical(), there.to_canonical());
    here == there || here.is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_can_be_bound_without_being_ours_are_not_local() {
        for text in ["127.0.0.1", "127.9.9.9", "::1"] {
            assert!(is_local(text.parse().expect("an address")), "{text}");
        }
        // Any socket can be bound to these, as to all addresses with ip_nonlocal_bind.
        for text in ["224.0.0.1", "255.255.255.255"] {
            let ip: IpAddr = text.parse().expect("an address");
            assert!(UdpSocket::bind((ip, 0)).is_ok(), "{text}");
            assert!(!is_local(ip), "{text}");
        }
        assert!(!is_local("192.0.2.1".parse().expect("an address")));
    }

    #[test]
    fn the_ends_of_a_connection_tell() {
        let is = |here: &str, there: &str| {
            is_local_end(
                here.parse().expect("an address"),
                there.parse().expect("an address"),
            )
        };
        assert!(is("10.0.0.9", "10.0.0.9"));
        assert!(is("127.0.0.1", "10.0.0.9"));
        assert!(is("::ffff:10.0.0.9", "10.0.0.9"));
        assert!(!is("10.0.0.9", "10.0.0.8"));
    }
}
