use hyper::header::HeaderValue;
use proptest::prelude::*;

use super::*;

fn networks(texts: &[&str]) -> Vec<IpNet> {
    let parse = |text: &&str| text.parse().expect("a network");
    texts.iter().map(parse).collect()
}

fn headers(lines: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        let value = HeaderValue::from_str(line).expect("a value");
        headers.append(FORWARDED_FOR, value);
    }
    headers
}

fn sender_of(peer: &str, lines: &[&str]) -> Option<String> {
    let trusted = networks(&["127.0.0.1/32", "10.0.0.0/8", "::1/128"]);
    let peer = peer.parse().expect("an address");
    sender(peer, &headers(lines), &trusted).map(|address| address.to_string())
}

#[test]
fn the_sender_is_the_first_address_from_the_right_that_is_no_trusted_proxy() {
    for (peer, lines, expected) in [
        ("192.0.2.9", &[][..], Some("192.0.2.9")),
        // Anybody can send the header: it counts only if a trusted proxy sends it.
        ("192.0.2.9", &["198.51.100.1"], Some("192.0.2.9")),
        ("127.0.0.1", &["198.51.100.1"], Some("198.51.100.1")),
        (
            "127.0.0.1",
            &["198.51.100.1, 10.1.1.1"],
            Some("198.51.100.1"),
        ),
        (
            "127.0.0.1",
            &["203.0.113.5, 198.51.100.1"],
            Some("198.51.100.1"),
        ),
        // All lines are one list.
        (
            "127.0.0.1",
            &["198.51.100.1", "10.1.1.1"],
            Some("198.51.100.1"),
        ),
        // The last line is the nearest proxy's; the first may be the sender's own.
        (
            "127.0.0.1",
            &["203.0.113.5", "198.51.100.1"],
            Some("198.51.100.1"),
        ),
        (
            "::ffff:127.0.0.1",
            &["::ffff:198.51.100.1"],
            Some("198.51.100.1"),
        ),
        ("127.0.0.1", &["198.51.100.1:4711"], Some("198.51.100.1")),
        ("::1", &["[2001:db8::1]:443"], Some("2001:db8::1")),
        ("::1", &["[2001:db8::1]"], Some("2001:db8::1")),
        // A list that ends among the proxies.
        ("127.0.0.1", &[], Some("127.0.0.1")),
        ("127.0.0.1", &["10.0.0.2"], Some("10.0.0.2")),
        // An entry that can't be read is nobody's address.
        ("127.0.0.1", &["unknown"], None),
        ("127.0.0.1", &["198.51.100.1,"], None),
        ("127.0.0.1", &["198.51.100.1, unknown, 10.1.1.1"], None),
        ("127.0.0.1", &["198.51.100.1.example"], None),
    ] {
        assert_eq!(
            sender_of(peer, lines).as_deref(),
            expected,
            "{peer} {lines:?}"
        );
    }
}

#[test]
fn a_mapped_address_is_allowed_as_the_address_that_it_maps() {
    let trusted: Arc<[IpNet]> = Arc::from([]);
    let allowed = AllowedAddresses::new(&networks(&["192.0.2.0/24"]), &trusted).expect("some");
    let allows = |peer: &str| allowed.allow(peer.parse().expect("an address"), &HeaderMap::new());
    assert!(allows("192.0.2.1") && allows("::ffff:192.0.2.1"));
    assert!(!allows("192.0.3.1") && !allows("::1"));
    assert!(AllowedAddresses::new(&[], &trusted).is_none());
}

proptest! {
    #[test]
    fn no_list_panics_and_none_hides_the_peer_of_an_untrusted_connection(
        lines in proptest::collection::vec("[ -~]{0,60}", 0..4),
    ) {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        prop_assert_eq!(sender_of("192.0.2.9", &lines), Some("192.0.2.9".to_owned()));
        let _ = sender_of("127.0.0.1", &lines);
    }
}
