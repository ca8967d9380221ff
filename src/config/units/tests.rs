use super::*;
use proptest::prelude::*;

#[test]
fn durations_need_a_unit() {
    assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
    assert_eq!(parse_duration("5m"), Ok(Duration::from_secs(300)));
    assert_eq!(parse_duration("7d"), Ok(Duration::from_secs(604_800)));
    for text in [
        "",
        "s",
        "15",
        "1.5s",
        "-1s",
        "15 s",
        "15sec",
        "99999999999999999999s",
        "18446744073709551615d",
    ] {
        assert!(parse_duration(text).is_err(), "{text}");
    }
}

#[test]
fn sizes_may_have_a_unit() {
    assert_eq!(parse_size("512"), Ok(512));
    assert_eq!(parse_size("64KiB"), Ok(65_536));
    for text in ["", "KiB", "64KB", "64 KiB", "-1", "18446744073709551615GiB"] {
        assert!(parse_size(text).is_err(), "{text}");
    }
}

#[test]
fn a_bare_port_listens_everywhere() {
    assert_eq!(parse_listen(":8429"), Ok(([0, 0, 0, 0], 8429).into()));
    assert!(parse_listen("localhost").is_err());
    assert!(parse_listen(":").is_err());
    assert_eq!(parse_listen_or_off(""), Ok(None));
}

proptest! {
    #[test]
    fn no_text_panics(text in ".*") {
        let _ = parse_duration(&text);
        let _ = parse_size(&text);
        let _ = parse_listen(&text);
    }
}
