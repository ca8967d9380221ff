//! The processes that keep the WAL from being emptied, as Linux tells them.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::paths::path_beside;

/// The bytes of the `-shm` file that a reader locks while it has a snapshot: `WAL_READ_LOCK(0)` to
/// `(4)` of SQLite's file format.
const READ_LOCKS: std::ops::RangeInclusive<u64> = 123..=127;
/// Processes that are named.
const MAX_NAMED: usize = 4;

/// The processes that read a database at the moment, as `1234 (sqlite3)`. Empty if there are none,
/// or the system doesn't tell.
pub fn of(database: &Path) -> Vec<String> {
    let Ok(shared) = path_beside(database, "-shm").metadata() else {
        return Vec::new();
    };
    let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    let mut processes = readers_in(&locks, shared.ino());
    processes.truncate(MAX_NAMED);
    let named = processes.into_iter().map(|process| {
        let name = std::fs::read_to_string(format!("/proc/{process}/comm"));
        name.map_or_else(
            |_| process.to_string(),
            |name| format!("{process} ({})", name.trim_end()),
        )
    });
    named.collect()
}

/// The processes with a read lock of the WAL on the file of this inode, each once. A line is `1:
/// POSIX  ADVISORY  READ 1234 08:01:567 123 123`.
fn readers_in(locks: &str, inode: u64) -> Vec<u32> {
    let mut processes = Vec::new();
    for line in locks.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, "POSIX", _, "READ", process, file, first, last] = fields[..] else {
            continue;
        };
        let is_file = file.rsplit(':').next().and_then(|it| it.parse().ok()) == Some(inode);
        let range = first.parse().ok().zip(last.parse().ok());
        let is_read = range.is_some_and(|(first, last): (u64, u64)| {
            first <= *READ_LOCKS.end() && last >= *READ_LOCKS.start()
        });
        if let (true, Ok(process)) = (is_file && is_read, process.parse())
            && !processes.contains(&process)
        {
            processes.push(process);
        }
    }
    processes
}

#[cfg(test)]
mod tests;
