use proptest::prelude::*;

use super::*;

fn written(bytes: &[u8]) -> String {
    serde_json::to_string(&ByteText(bytes.to_vec())).expect("JSON")
}

fn read(text: &str) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::from_str::<ByteText>(text).map(|found| found.0)
}

#[test]
fn a_text_is_written_as_one_and_other_bytes_as_base64() {
    assert_eq!(written("{\"ä\": 1}\n".as_bytes()), r#""{\"ä\": 1}\n""#);
    assert_eq!(written(&[0xff, 0]), r#"{"base64":"/wA="}"#);
    // As escapes a control character takes six bytes.
    assert_eq!(written(b"a\x01"), r#"{"base64":"YQE="}"#);
}

#[test]
fn a_wrong_value_is_refused_with_the_expectation() {
    for (text, expected) in [
        ("1", "expected a text or {\"base64\": …}"),
        (r#"{"base64": "?"}"#, "expected base64"),
        (r#"{"base64": "YQ==", "more": 1}"#, "expected a text or"),
    ] {
        let refused = read(text).expect_err("it is wrong").to_string();
        assert!(refused.contains(expected), "{refused}");
    }
}

proptest! {
    #[test]
    fn bytes_come_back_as_they_were(bytes: Vec<u8>) {
        prop_assert_eq!(read(&written(&bytes)).expect("readable"), bytes);
    }
}
