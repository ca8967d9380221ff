use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

/// Which addresses a delivery may connect to: the guard against requests forged on the server's
/// behalf (SSRF).
#[derive(Clone, Debug, Default)]
pub struct AddressPolicy {
    /// Networks that ad hoc URLs may reach besides the public internet.
    pub allow_networks: Vec<IpNet>,
    /// Our own listeners: nobody's destination, or an event could feed itself.
    pub own_listeners: Vec<SocketAddr>,
}

impl AddressPolicy {
    /// Whether an ad hoc URL may reach `address`.
    pub fn allows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        is_public(address) || self.allow_networks.iter().any(|net| net.contains(&address))
    }

    /// Whether `address` is one of our own listeners. `is_local` tells whether an address belongs
    /// to this machine: a listener on every interface (`0.0.0.0`) is reached by all of those.
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

/// Whether an address is globally routable unicast, by the IANA special-purpose registries
/// (RFC 6890 and its updates): everything that is not is somebody's inside.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inside_addresses_are_not_public() {
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:2::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(text.parse().expect(text)), "{text}");
        }
    }

    #[test]
    fn the_internet_is_public() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "::ffff:8.8.8.8",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2606:4700::1111",
            "2a00:1450::1",
        ] {
            assert!(is_public(text.parse().expect(text)), "{text}");
        }
    }

    #[test]
    fn allowed_networks_open_just_themselves() {
        let policy = AddressPolicy {
            allow_networks: vec!["127.0.0.0/8".parse().expect("a network")],
            own_listeners: Vec::new(),
        };
        assert!(policy.allows("127.0.0.1".parse().expect("an address")));
        assert!(policy.allows("::ffff:127.0.0.1".parse().expect("an address")));
        assert!(!policy.allows("10.0.0.1".parse().expect("an address")));
        assert!(!policy.allows("::1".parse().expect("an address")));
    }

    #[test]
    fn our_own_listeners_are_known_by_every_name() {
        let policy = AddressPolicy {
            allow_networks: Vec::new(),
            own_listeners: vec![
                "0.0.0.0:8080".parse().expect("an address"),
                "127.0.0.1:8081".parse().expect("an address"),
            ],
        };
        let local = |ip: IpAddr| ip == IpAddr::from([10, 0, 0, 9]) || ip.is_loopback();
        let own = |text: &str| policy.is_own_listener(text.parse().expect(text), local);
        assert!(own("127.0.0.1:8080"));
        assert!(own("10.0.0.9:8080"));
        assert!(own("[::ffff:10.0.0.9]:8080"));
        assert!(own("0.0.0.0:8081"));
        assert!(own("127.0.0.1:8081"));
        assert!(!own("10.0.0.8:8080"));
        assert!(!own("10.0.0.9:8081"));
        assert!(!own("127.0.0.1:9000"));
    }
}
