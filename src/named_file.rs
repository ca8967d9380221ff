//! Reads files that settings name.

use std::fmt::Debug;
use std::fs::File;
use std::io::{Error, ErrorKind, Read as _, Result};
use std::path::Path;

/// The bytes of the largest file: some hundred times those of all public authorities' keys.
const MAX_BYTES: u64 = 1 << 20;

/// Reads a file that a setting names. Refuses anything else than a file before it is opened:
/// opening a pipe waits for somebody who writes to it, and a device may have no end.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(Error::other("expected a regular file"));
    }
    read_at_most(path, MAX_BYTES)
}

/// Reads what is at a path, of at most so many bytes.
pub(crate) fn read_at_most(path: &Path, max: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        let expected = format!("expected a file of at most {} MiB", max >> 20);
        return Err(Error::new(ErrorKind::FileTooLarge, expected));
    }
    Ok(bytes)
}

/// The path of a file, for errors: in quotes, without line ends and the like.
pub(crate) fn quoted(path: &(impl Debug + ?Sized)) -> String {
    format!("{path:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_a_device_a_directory_and_a_large_file_are_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        let made = std::process::Command::new("mkfifo")
            .arg(path("pipe"))
            .status();
        assert!(made.expect("a pipe").success());
        std::fs::create_dir(path("directory")).expect("a directory");
        let max = usize::try_from(MAX_BYTES).expect("a mebibyte");
        std::fs::write(path("large"), vec![b'a'; max + 1]).expect("writing");
        std::fs::write(path("fitting"), vec![b'a'; max]).expect("writing");
        std::os::unix::fs::symlink(path("fitting"), path("link")).expect("a link");
        let none = "expected a regular file";
        for (path, expected) in [
            (path("pipe"), none),
            (path("directory"), none),
            ("/dev/zero".into(), none),
            (path("large"), "expected a file of at most 1 MiB"),
        ] {
            let refused = read(&path).expect_err("it is refused").to_string();
            assert_eq!(refused, expected, "{}", path.display());
        }
        assert_eq!(read(&path("link")).expect("a file").len(), max);
    }
}
