use proptest::prelude::*;

use super::SignatureField::{Signature, Timestamp};
use super::*;

fn fields<'v>(format: &str, value: &'v str) -> Vec<SignatureField<'v>> {
    SignatureFormat::parse(format).expect(format).fields(value)
}

#[test]
fn a_list_is_split_at_what_neither_the_format_nor_an_encoding_holds() {
    for (format, value, expected) in [
        ("{signature}", "aa", &["aa"][..]),
        ("{signature}", "aa, bb", &["aa", "bb"]),
        ("{signature}", "aa bb", &["aa", "bb"]),
        ("v1={signature}", "v1=aa,v1=bb", &["aa", "bb"]),
        ("v1={signature}", "v0=aa, v1=bb", &["bb"]),
        ("v1,{signature}", "v1,aa v1,bb", &["aa", "bb"]),
        ("v1,{signature}", "v2,aa", &[]),
        ("HMAC {signature}", "HMAC aa", &["aa"]),
        ("HMAC {signature}", "HMAC aa, HMAC bb", &["aa", "bb"]),
        ("HMAC {signature}", "aa", &[]),
        (" HMAC {signature} ", "HMAC aa", &["aa"]),
        (" {signature}\n", "aa bb", &["aa", "bb"]),
        ("sig=\"{signature}\"", "sig=\"aa\"", &["aa"]),
        ("sig=\"{signature}\"", "sig=\"aa", &[]),
    ] {
        let expected: Vec<_> = expected.iter().map(|text| Signature(text)).collect();
        assert_eq!(fields(format, value), expected, "{format} {value}");
    }
}

#[test]
fn a_timestamp_may_stand_beside_the_signatures() {
    for (format, value, expected) in [
        (
            "t={timestamp},v1={signature}",
            "t=1, v0=zz, v1=aa,v1=bb",
            &[Timestamp("1"), Signature("aa"), Signature("bb")][..],
        ),
        (
            "ts={timestamp};h1={signature}",
            "h1=aa;ts=1",
            &[Signature("aa"), Timestamp("1")],
        ),
        (
            "t={timestamp}, v1={signature}",
            "t=1, v1=a",
            &[Timestamp("1"), Signature("a")],
        ),
        (
            "{timestamp}.{signature}",
            "1.aa",
            &[Timestamp("1"), Signature("aa")],
        ),
        (
            "{timestamp}.{signature}",
            "2026-01-01T00:00:00.5Z.aa",
            &[Timestamp("2026-01-01T00:00:00.5Z"), Signature("aa")],
        ),
        (
            "{signature}|{timestamp}",
            "aa|1|2",
            &[Signature("aa"), Timestamp("1|2")],
        ),
        ("{timestamp}.{signature}", "1", &[]),
        (
            "{timestamp},{signature}",
            "1, aa,bb",
            &[Timestamp("1"), Signature("aa"), Signature("bb")],
        ),
        (
            "{timestamp};v1={signature}",
            "1;v0=zz;v1=aa",
            &[Timestamp("1"), Signature("aa")],
        ),
        (
            "{signature},{timestamp}",
            "aa,bb,1",
            &[Timestamp("1"), Signature("aa"), Signature("bb")],
        ),
        ("{timestamp},{signature}", "aa", &[]),
        (
            " {timestamp}.{signature} ",
            "1.aa",
            &[Timestamp("1"), Signature("aa")],
        ),
    ] {
        assert_eq!(fields(format, value), expected, "{format} {value}");
    }
}

#[test]
fn a_format_that_finds_no_signature_is_refused() {
    for format in [
        "",
        "x",
        "{timestamp}",
        "{signature}{timestamp}",
        "{signature}.{signature}",
        "{other}",
        "v={timestamp},v={signature}",
        "{signature",
        "{signature}{",
        "t={timestamp};a;v={signature}",
        "t={timestamp},v={signature}x",
    ] {
        SignatureFormat::parse(format).expect_err(format);
    }
}

proptest! {
    #[test]
    fn no_value_panics_and_a_sent_signature_is_found(
        value in "[ -~]{0,60}",
        signature in "[0-9a-f]{2,64}",
        timestamp in "[0-9]{1,13}",
    ) {
        for format in [
            "{signature}", "sha256={signature}", "v1,{signature}", "HMAC {signature}",
            "t={timestamp},v1={signature}", "{timestamp}.{signature}", "{signature} {timestamp}",
            "{timestamp},{signature}",
        ] {
            let format = SignatureFormat::parse(format).expect(format);
            let _ = format.fields(&value);
            let sent = format.fill(&signature, &timestamp);
            let fields = format.fields(&sent);
            prop_assert!(fields.contains(&Signature(&signature)), "{sent}");
            prop_assert_eq!(format.has_timestamp(), fields.contains(&Timestamp(&timestamp)));
        }
    }
}
