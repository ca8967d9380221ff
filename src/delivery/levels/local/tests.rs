use super::*;

#[test]
fn an_address_that_can_be_bound_but_has_no_local_route_is_not_local() {
    for text in ["127.0.0.1", "127.9.9.9", "::1"] {
        let ip = text.parse().expect("an address");
        assert!(is_local(ip) && source_address(ip).is_ok(), "{text}");
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
fn a_connection_within_the_machine_is_recognised_by_its_ends() {
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
