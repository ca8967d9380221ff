use super::*;

#[test]
fn a_network_of_mapped_addresses_is_that_of_the_addresses_which_they_map() {
    for (text, expected) in [
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ("::ffff:192.0.2.7/128", "192.0.2.7/32"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        // More than IPv4.
        ("::ffff:0:0/95", "::ffff:0:0/95"),
        ("::/0", "::/0"),
        ("::192.0.2.0/120", "::192.0.2.0/120"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("192.0.2.0/24", "192.0.2.0/24"),
    ] {
        let network: IpNet = text.parse().expect(text);
        let expected: IpNet = expected.parse().expect(expected);
        assert_eq!(canonical_network(network), expected, "{text}");
    }
}

#[test]
fn special_purpose_addresses_are_not_public() {
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
fn globally_routable_addresses_are_public() {
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
fn an_allowed_network_permits_only_its_own_addresses() {
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
fn an_own_listener_is_recognised_by_each_address_that_reaches_it() {
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
