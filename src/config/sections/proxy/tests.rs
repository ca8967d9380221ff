use super::*;

#[test]
fn credentials_are_a_user_and_a_password_or_a_scheme_with_its_own() {
    let value = |text: &str| header_value(&Secret::new(text)).map(|it| it.reveal().to_owned());
    for (text, header) in [
        ("relay:hunter2", "Basic cmVsYXk6aHVudGVyMg=="),
        ("relay:with blank", "Basic cmVsYXk6d2l0aCBibGFuaw=="),
        ("relay:", "Basic cmVsYXk6"),
        ("Basic cmVsYXk6aHVudGVyMg==", "Basic cmVsYXk6aHVudGVyMg=="),
        ("Bearer abc", "Bearer abc"),
    ] {
        assert_eq!(value(text).as_deref(), Some(header), "{text}");
    }
    for text in ["relay", "", "Bearer a\nX: b", "relay:a\nb"] {
        assert_eq!(value(text), None, "{text:?}");
    }
}
