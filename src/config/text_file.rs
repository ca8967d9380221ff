//! Reads files of text.

use std::io;
use std::path::Path;

/// Reads a file of text. The system's own words for bytes that are none speak of a stream.
pub(super) fn read(path: &Path) -> io::Result<String> {
    std::fs::read_to_string(path).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => io::Error::new(error.kind(), "expected text in UTF-8"),
        _ => error,
    })
}
