//! The headers of an event as they are stored: `name: value\r\n` each, the names in lower case.

/// The values of a header, in order.
pub fn header_values<'a>(block: &'a [u8], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let lines = block.split(|byte| *byte == b'\n');
    lines.filter_map(move |line| {
        let line = line.strip_suffix(b"\r")?;
        let (found, value) = line.split_at_checked(name.len())?;
        found
            .eq_ignore_ascii_case(name.as_bytes())
            .then(|| value.strip_prefix(b": "))?
    })
}
