use proptest::prelude::*;

use super::*;

/// The short head and the beginning of the body, read in chunks of this size.
fn read(bytes: &[u8], chunk: usize) -> Result<Option<(String, String)>, HeadTooLarge> {
    let mut head = Head::default();
    let mut rest = bytes.chunks(chunk);
    while !head.is_over() {
        let Some(piece) = rest.next() else {
            return Ok(None);
        };
        head.feed(piece)?;
    }
    let (short, mut body) = head.finish()?;
    rest.for_each(|piece| body.extend_from_slice(piece));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Some((text(short), text(body))))
}

fn head(bytes: &str) -> (String, String) {
    let whole = read(bytes.as_bytes(), bytes.len()).expect("small");
    for piece in [1, 2, 3, 7] {
        assert_eq!(read(bytes.as_bytes(), piece), Ok(whole.clone()), "{piece}");
    }
    whole.expect("it ends")
}

fn pair(short: &str, body: &str) -> (String, String) {
    (short.to_owned(), body.to_owned())
}

#[test]
fn only_relevant_headers_are_passed_on() {
    assert_eq!(
        head("HTTP/1.1 200 Very Well\r\nX-A: b\r\ncontent-LENGTH: 3\r\nSet-Cookie: c\r\n\r\nabc"),
        pair("HTTP/1.1 200\r\ncontent-LENGTH: 3\r\n\r\n", "abc")
    );
    assert_eq!(
        head("HTTP/1.0 503\nRetry-After: 7\nx: y\n\n"),
        pair("HTTP/1.0 503\r\nRetry-After: 7\r\n\r\n", "")
    );
    let long = "/".repeat(10_000);
    let (short, _) = head(&format!("HTTP/1.1 301 M\r\nLocation: {long}\r\n\r\n"));
    assert_eq!(short.len(), MAX_LOCATION + "HTTP/1.1 301\r\n\r\n\r\n".len());
}

#[test]
fn a_header_in_several_lines_is_passed_on_in_one_or_not_at_all() {
    for (lines, passed_on) in [
        ("X-A: a\r\n b\r\n\tno colon\r\n", ""),
        ("X-A: a\r\n location: b\r\n", ""),
        (
            "Retry-After:\r\n \t7 \r\nX-A: b\r\n c\r\n",
            "Retry-After: 7\r\n",
        ),
        ("content-length: 1\n 2\nX-A: b\n", "content-length: 1 2\r\n"),
    ] {
        assert_eq!(
            head(&format!("HTTP/1.1 200 OK\r\n{lines}\r\n12")),
            pair(&format!("HTTP/1.1 200\r\n{passed_on}\r\n"), "12")
        );
    }
}

#[test]
fn interim_answers_and_empty_lines_are_skipped() {
    assert_eq!(
        head(
            "\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 E\r\nLink: a\r\n\r\n\
             HTTP/1.1 413 T\r\n\r\nx"
        ),
        pair("HTTP/1.1 413\r\n\r\n", "x")
    );
    assert_eq!(
        head("HTTP/1.1 101 S\r\n\r\n"),
        pair("HTTP/1.1 101\r\n\r\n", "")
    );
}

#[test]
fn a_malformed_head_is_passed_on_for_the_parser_to_refuse() {
    for bytes in [
        "SSH-2.0-OpenSSH\r\n",
        "<html>",
        "\r\n\r\nHTTP 200",
        "HTTP/2",
    ] {
        assert_eq!(head(bytes), pair("", bytes));
    }
    for line in ["no colon", " folded: 1", "b ad: 1", ": 1"] {
        assert_eq!(
            head(&format!("HTTP/1.1 200 OK\r\n{line}\r\n\r\n")),
            pair(&format!("HTTP/1.1 200\r\n{line}\r\n\r\n"), "")
        );
    }
    assert_eq!(
        head("HTTP/1.1 20 OK\r\n\r\n"),
        pair("HTTP/1.1 20 OK\r\n\r\n", "")
    );
}

#[test]
fn headers_up_to_64_kib_are_read_and_larger_ones_refused() {
    let of = |bytes: usize| {
        let filler = "a".repeat(bytes - "x: \r\n\r\n".len());
        format!("HTTP/1.1 204 No\r\nx: {filler}\r\n\r\n")
    };
    assert_eq!(head(&of(MAX_HEADERS)), pair("HTTP/1.1 204\r\n\r\n", ""));
    let many = "a:\r\n".repeat(MAX_HEADERS / 4 - 1);
    assert_eq!(
        head(&format!("HTTP/1.1 204 No\r\n{many}\r\n")),
        pair("HTTP/1.1 204\r\n\r\n", "")
    );
    let status = Some(204);
    let large = of(MAX_HEADERS + 1);
    for piece in [1, 16_384, large.len()] {
        let refused = read(large.as_bytes(), piece);
        assert_eq!(refused, Err(HeadTooLarge { status }));
    }
    // So are a header that never ends, and too many relevant headers.
    let endless = format!("HTTP/1.1 204 No\r\nx: {}", "a".repeat(2 * MAX_HEADERS));
    assert_eq!(read(endless.as_bytes(), 1000), Err(HeadTooLarge { status }));
    let many = format!("HTTP/1.1 204 No\r\n{}\r\n", "Location: /\r\n".repeat(1000));
    assert_eq!(read(many.as_bytes(), 1000), Err(HeadTooLarge { status }));
    let interim = "HTTP/1.1 103 E\r\n\r\n".repeat(10_000);
    assert_eq!(
        read(interim.as_bytes(), 1000),
        Err(HeadTooLarge { status: None })
    );
    let line = format!("HTTP/1.1 200 {}", "a".repeat(MAX_LINE));
    assert_eq!(
        read(line.as_bytes(), 1000),
        Err(HeadTooLarge { status: None })
    );
}

proptest! {
    #[test]
    fn the_chunk_size_makes_no_difference_and_nothing_panics(
        text in "(HTTP/1\\.[01] [0-9]{0,4}( OK)?)?(\r?\n|[a-z]{0,9}: ?[ -~]{0,9}|\r|\n){0,9}",
        piece in 1usize..9,
    ) {
        let whole = read(text.as_bytes(), text.len().max(1));
        let pieces = read(text.as_bytes(), piece);
        prop_assert_eq!(whole, pieces);
    }
}
