//! A payload that a command is given.

use std::io::Read as _;
use std::path::Path;

use crate::cli::error::CommandError;

/// The bytes of a file; `-` is standard input.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, CommandError> {
    let mut body = Vec::new();
    if path.as_os_str() == "-" {
        std::io::stdin().read_to_end(&mut body)?;
        return Ok(body);
    }
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()).into())
}
