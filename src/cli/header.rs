//! Headers on the command line.

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

/// Reads a header such as `X-Event: push`.
pub(super) fn parse(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let wrong = || format!("{text:?}: expected a header such as 'X-Event: push'");
    let (name, value) = text.split_once(':').ok_or_else(wrong)?;
    let name = HeaderName::try_from(name.trim()).map_err(|_| wrong())?;
    let value = HeaderValue::try_from(value.trim()).map_err(|_| wrong())?;
    Ok((name, value))
}

/// Headers as they are stored with an event: `name: value\r\n` each.
pub(super) fn block(headers: &HeaderMap) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in headers {
        block.extend_from_slice(name.as_str().as_bytes());
        block.extend_from_slice(b": ");
        block.extend_from_slice(value.as_bytes());
        block.extend_from_slice(b"\r\n");
    }
    block
}
