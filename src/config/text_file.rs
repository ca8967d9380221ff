//! Reads files of text.

use std::io;
use std::path::Path;

use crate::named_file;

/// The bytes of the largest configuration: that of some ten thousand destinations.
const MAX_CONFIGURATION: u64 = 16 << 20;

/// Reads a configuration. It may come through a pipe: `--config <(…)`.
pub(super) fn read_configuration(path: &Path) -> io::Result<String> {
    text_of(named_file::read_at_most(path, MAX_CONFIGURATION)?)
}

/// Reads a file that the configuration names.
pub(super) fn read(path: &Path) -> io::Result<String> {
    text_of(named_file::read(path)?)
}

fn text_of(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "expected text in UTF-8"))
}
