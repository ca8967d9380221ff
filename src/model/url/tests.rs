use super::*;
use proptest::prelude::*;

#[test]
fn a_valid_url_is_kept_as_written_and_has_a_normalised_origin() {
    for (text, origin) in [
        ("http://example.com/hook?a=b", "http://example.com"),
        ("HTTP://Example.COM:80/", "http://example.com"),
        ("https://example.com:443", "https://example.com"),
        ("https://example.com:8443/x", "https://example.com:8443"),
        ("http://[::1]:9000/hook", "http://[::1]:9000"),
        (
            "http://xn--bcher-kva.example/",
            "http://xn--bcher-kva.example",
        ),
        ("http://example.com:", "http://example.com"),
    ] {
        let url: TargetUrl = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(url.as_str(), text);
        assert_eq!(url.origin(), origin);
    }
}

#[test]
fn an_invalid_url_is_refused_with_its_reason() {
    let long = format!("http://example.com/{}", "x".repeat(2048));
    for (text, error) in [
        ("", InvalidUrl::NotHttp),
        ("/hook", InvalidUrl::NotHttp),
        ("example.com/hook", InvalidUrl::NotHttp),
        ("ftp://example.com/", InvalidUrl::NotHttp),
        ("javascript://example.com/", InvalidUrl::NotHttp),
        ("http://user:pw@example.com/", InvalidUrl::UserInfo),
        ("http://@example.com/", InvalidUrl::UserInfo),
        ("http://example.com/#top", InvalidUrl::Fragment),
        ("http://example.com:0/", InvalidUrl::Port),
        ("http://example.com:65536/", InvalidUrl::Port),
        ("http://example.com:+80/", InvalidUrl::Port),
        ("http://bücher.example/", InvalidUrl::Character),
        ("http://exa mple.com/", InvalidUrl::Character),
        ("http://example.com/ok?q=a<b", InvalidUrl::Unencoded('<')),
        ("http://example.com/ok?q={a}>b", InvalidUrl::Unencoded('>')),
        ("http://example.com/`?q", InvalidUrl::Unencoded('`')),
        ("http://example.com/a<b", InvalidUrl::Unencoded('<')),
        ("http://exa<mple.com/", InvalidUrl::Host),
        ("http:///hook", InvalidUrl::Host),
        ("http://:80/hook", InvalidUrl::Host),
        ("http://[::1/hook", InvalidUrl::Host),
        ("http://[zz]/hook", InvalidUrl::Host),
        (&long, InvalidUrl::TooLong),
    ] {
        assert_eq!(text.parse::<TargetUrl>(), Err(error), "{text}");
    }
}

#[test]
fn an_address_is_recognised_in_each_form_that_resolvers_accept() {
    let loopback = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    for host in [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0x7f.1",
        "127.0.0.1.",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
    ] {
        let url: TargetUrl = format!("http://{host}/").parse().expect(host);
        assert_eq!(url.literal_address(), loopback, "{host}");
    }
    for host in [
        "example.com",
        "127.0.0.256",
        "1.2.3.4.5",
        "0x",
        "a.1",
        "09.1.1.1",
    ] {
        let url: TargetUrl = format!("http://{host}/").parse().expect(host);
        assert_eq!(url.literal_address(), None, "{host}");
    }
}

proptest! {
    #[test]
    fn parsing_never_panics(text in "(https?://)?.{0,60}") {
        let _ = text.parse::<TargetUrl>();
    }

    #[test]
    fn the_origin_of_a_url_is_its_own_origin(
        text in "https?://[a-zA-Z0-9.\\-\\[\\]:]{1,20}(:[0-9]{1,5})?(/[a-z?&=]{0,10})?"
    ) {
        if let Ok(url) = text.parse::<TargetUrl>() {
            let again: TargetUrl = url.origin().parse().expect("an origin is a URL");
            prop_assert_eq!(again.origin(), url.origin());
        }
    }
}

#[test]
fn a_url_is_shown_up_to_its_path_and_without_a_user() {
    for (text, shown) in [
        ("https://x.example", "https://x.example"),
        ("https://x.example:8443/", "https://x.example:8443/…"),
        ("https://x.example/hush?hush", "https://x.example/…"),
        ("https://x.example?hush", "https://x.example/…"),
        ("https://u:hush@x.example", "https://x.example"),
        ("https://u:hush@hush@x.example/a@b", "https://x.example/…"),
        ("hush", "…"),
    ] {
        assert_eq!(shown_url(text), shown, "{text}");
    }
}

#[test]
fn an_error_shows_a_text_without_a_password() {
    for (text, shown) in [
        ("ftp://u:hush@x/a", "ftp://***@x/a"),
        ("https://u:hu/sh?@x/a", "https://***@x/a"),
        ("u:hush@x", "***@x"),
        ("u:hush@x/?to=https://y", "***@x/?to=https://y"),
        ("ftp://x/a", "ftp://x/a"),
        ("https://x:8443/a?m=a@b<", "https://x:8443/a?m=a@b<"),
        ("https://[::1]/a@b", "https://[::1]/a@b"),
    ] {
        assert_eq!(without_password(text), shown, "{text}");
    }
}
