use super::*;
use proptest::prelude::*;

#[test]
fn stored_headers_are_read_byte_for_byte() {
    let headers = provider_headers(b"x-a: 1\r\nx-a: \xff\r\nx-empty: \r\n").expect("well formed");
    let all: Vec<_> = headers
        .get_all("x-a")
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    assert_eq!(all, [&b"1"[..], b"\xff"]);
    assert_eq!(headers["x-empty"], "");
}

proptest! {
    #[test]
    fn no_header_block_panics(block in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = provider_headers(&block);
    }
}
