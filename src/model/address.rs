//! The addresses that a delivery may reach.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net};

/// The addresses that a delivery may connect to: the guard against server-side request forgery.
#[derive(Clone, Debug, Default)]
pub struct AddressPolicy {
    /// Networks that ad hoc URLs may reach besides the public internet.
    pub allow_networks: Vec<IpNet>,
    /// The relay's own listeners. They are never a destination: an event could feed itself.
    pub own_listeners: Vec<SocketAddr>,
}

impl AddressPolicy {
    /// Whether an ad hoc URL may reach `address`.
    pub fn allows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        is_public(address) || self.allow_networks.iter().any(|net| net.contains(&address))
    }

    /// Whether `address` is one of the relay's own listeners. `is_local` tells whether an address
    /// belongs to this machine: each of those reaches a listener on every interface (`0.0.0.0`).
    pub fn is_own_listener(&self, address: SocketAddr, is_local: impl Fn(IpAddr) -> bool) -> bool {
        let ip = address.ip().to_canonical();
        self.own_listeners
            .iter()
            .filter(|own| own.port() == address.port())
            .any(|own| {
                let own = own.ip().to_canonical();
                own == ip || ip.is_unspecified() || (own.is_unspecified() && is_local(ip))
            })
    }
}

/// The network of IPv4 addresses that a network of mapped ones stands for; any other as it is.
/// Addresses are compared in this form, so that `::ffff:10.0.0.0/104` would cover none.
pub fn canonical_network(network: IpNet) -> IpNet {
    let mapped = match network {
        IpNet::V6(network) => network.addr().to_ipv4_mapped(),
        IpNet::V4(_) => None,
    };
    let of_ipv4 = mapped.zip(network.prefix_len().checked_sub(96));
    of_ipv4
        .and_then(|(address, length)| Ipv4Net::new(address, length).ok())
        .map_or(network, IpNet::V4)
}

/// Whether an address is globally routable unicast, by the IANA special-purpose registries
/// (RFC 6890 and its updates). Every other address belongs to a private network or a host.
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !matches!(
        address.octets(),
        [0 | 10 | 127 | 224..=255, ..]  // this network, private, loopback, multicast, reserved
            | [100, 64..=127, ..]       // shared by carriers, RFC 6598
            | [169, 254, ..]            // link-local: metadata services
            | [172, 16..=31, ..]        // private
            | [192, 168, ..]            // private
            | [192, 0, 0 | 2, _]        // protocol assignments, documentation
            | [192, 88, 99, _]          // 6to4 relays, RFC 7526
            | [198, 18 | 19, ..]        // benchmarking
            | [198, 51, 100, _]         // documentation
            | [203, 0, 113, _] // documentation
    )
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    // Only 2000::/3 is global unicast: unique-local, link-local, multicast, NAT64, discard-only,
    // v4-compatible and the rest all lie outside it.
    (0x2000..=0x3fff).contains(&a)
        && a != 0x2002                      // 6to4
        && !(a == 0x2001 && b < 0x0200)     // protocol assignments: Teredo, benchmarking, ORCHID
        && !(a == 0x2001 && b == 0x0db8)    // documentation
        && !(a == 0x3fff && b < 0x1000) // documentation, RFC 9637
}
