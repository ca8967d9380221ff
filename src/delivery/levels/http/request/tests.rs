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

#[test]
fn stored_headers_of_one_hop_are_not_sent() {
    let stored = b"host: evil\r\nTransfer_Encoding: chunked\r\ncontent-length: 5\r\nx-a: 1\r\n\
                   relay-original-webhook-id: 2\r\n";
    let headers = provider_headers(stored).expect("well formed");
    let left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
    assert_eq!(left, ["x-a", "relay-original-webhook-id"]);
}

proptest! {
    #[test]
    fn no_header_block_panics(block in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = provider_headers(&block);
    }
}

#[test]
fn an_operators_header_takes_the_place_of_all_that_a_receiver_may_take_for_it() {
    let mut headers = provider_headers(b"x_tenant-id: a\r\nx-tenant_id: b\r\nx-tenant: c\r\n")
        .expect("well formed");
    remove_lookalikes(&mut headers, &HeaderName::from_static("x-tenant-id"));
    let left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
    assert_eq!(left, ["x-tenant"]);
}
