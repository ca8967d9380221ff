use super::*;
use proptest::prelude::*;

#[test]
fn a_proxys_url_is_a_host_and_a_port() {
    for (text, host, port) in [
        ("http://proxy:3128", "proxy", 3128),
        ("HTTP://Proxy.Example/", "proxy.example", 80),
        ("http://[fd00::1]:8888/", "[fd00::1]", 8888),
        ("http://10.0.0.1:3128", "10.0.0.1", 3128),
    ] {
        let url: ProxyUrl = text
            .parse()
            .unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!((url.host(), url.port()), (host, port), "{text}");
    }
    for (text, error) in [
        ("proxy:3128", InvalidProxy::NotHttp),
        ("https://proxy:3128", InvalidProxy::NotHttp),
        ("socks5://proxy:1080", InvalidProxy::NotHttp),
        ("http://u:secret@proxy:3128", InvalidProxy::UserInfo),
        ("u:secret@proxy:3128", InvalidProxy::UserInfo),
        ("http://u:se cret@proxy", InvalidProxy::UserInfo),
        ("http://proxy:3128/path", InvalidProxy::Path),
        ("http://proxy:3128//", InvalidProxy::Path),
        ("http://proxy?a", InvalidProxy::Path),
        ("http://proxy:0", InvalidProxy::Url(InvalidUrl::Port)),
        ("http://", InvalidProxy::Url(InvalidUrl::Host)),
    ] {
        assert_eq!(text.parse::<ProxyUrl>(), Err(error), "{text}");
    }
}

fn covers(entry: &str, host: &str) -> bool {
    let entry: NoProxy = entry.parse().unwrap_or_else(|_| panic!("{entry}"));
    entry.covers(host)
}

#[test]
fn an_exempt_name_covers_the_names_below_it_and_no_others() {
    for (entry, host, is_covered) in [
        ("internal.example", "internal.example", true),
        ("internal.example", "a.b.Internal.EXAMPLE", true),
        ("internal.example", "a.internal.example.", true),
        (".internal.example.", "a.internal.example", true),
        (".internal.example", "internal.example", true),
        ("internal.example", "notinternal.example", false),
        ("internal.example", "internal.example.com", false),
        ("internal.example", "example", false),
        ("example", "127.0.0.1", false),
    ] {
        assert_eq!(covers(entry, host), is_covered, "{entry}: {host}");
    }
}

#[test]
fn an_exempt_network_covers_addresses_in_each_spelling_and_no_names() {
    for (entry, host, is_covered) in [
        ("10.0.0.0/8", "10.1.2.3", true),
        ("10.0.0.0/8", "11.1.2.3", false),
        ("::ffff:10.0.0.0/104", "10.1.2.3", true),
        ("10.0.0.0/8", "10.internal.example", false),
        ("127.0.0.1", "127.1", true),
        ("127.1", "127.0.0.1", true),
        ("127.0.0.1", "[::ffff:127.0.0.1]", true),
        ("::1", "[::1]", true),
        ("[::1]", "[::1]", true),
        ("fd00::/8", "[fd12::1]", true),
        ("fd00::/8", "[fe80::1]", false),
    ] {
        assert_eq!(covers(entry, host), is_covered, "{entry}: {host}");
    }
}

#[test]
fn entries_that_other_programs_read_otherwise_are_refused() {
    let long = "a.".repeat(128);
    for text in [
        "",
        ".",
        "*",
        "*.example",
        "a..b",
        "a:80",
        "http://a",
        "a b",
        "10.0.0.0/33",
        "bücher.example",
        &long,
    ] {
        assert_eq!(text.parse::<NoProxy>(), Err(InvalidNoProxy), "{text}");
    }
}

#[test]
fn the_address_of_an_address_and_of_localhost_is_known_without_a_look_up() {
    let loopback = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    for host in [
        "127.0.0.1",
        "127.1",
        "localhost",
        "LocalHost.",
        "a.localhost",
    ] {
        assert_eq!(known_address(host), loopback, "{host}");
    }
    for host in ["localhost.example", "notlocalhost", "example.com", ""] {
        assert_eq!(known_address(host), None, "{host}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(entry in ".{0,20}", host in ".{0,20}") {
        let _ = known_address(&host);
        let _ = entry.parse::<ProxyUrl>();
        if let Ok(entry) = entry.parse::<NoProxy>() {
            let _ = entry.covers(&host);
        }
    }

    #[test]
    fn a_name_covers_exactly_the_names_that_end_in_its_labels(
        entry in "[ab]{1,2}(\\.[ab]{1,2}){0,2}",
        host in "[ab]{1,2}(\\.[ab]{1,2}){0,3}",
    ) {
        let entry_labels: Vec<_> = entry.split('.').collect();
        let host_labels: Vec<_> = host.split('.').collect();
        prop_assert_eq!(covers(&entry, &host), host_labels.ends_with(&entry_labels));
    }
}
