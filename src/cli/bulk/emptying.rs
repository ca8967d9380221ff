//! The end of an erasure: the write-ahead log has to be emptied, or it holds the bytes for longer.

use std::time::Duration;

use crate::cli::error::CommandError;
use crate::cli::operate::explained;
use crate::store::Operator;

/// The interval between attempts, and between looks at a server that makes them.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Attempts before it is said what is in the way: reads that come and go end within a second.
const SAID_AFTER: u32 = 5;

/// Says once what keeps the log from being emptied.
#[derive(Default)]
pub(super) struct Emptying {
    looks: u32,
}

impl Emptying {
    /// The log could not be emptied yet.
    pub fn wait(&mut self, operator: &Operator) {
        self.looks = self.looks.saturating_add(1);
        if self.looks == SAID_AFTER {
            let readers = operator.wal_readers();
            let who = if readers.is_empty() {
                "somebody reads the database (lsof on the -shm file names who may be it)".to_owned()
            } else {
                format!("process {} reads the database", readers.join(", "))
            };
            hint!(
                "everything is erased; waiting until the write-ahead log can be emptied, which \
                 still holds the bytes: {who}"
            );
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Empties the log, however long a reader stays.
pub(super) fn empty_wal(operator: &Operator) -> Result<(), CommandError> {
    let mut emptying = Emptying::default();
    while !operator.empty_wal().map_err(explained)? {
        emptying.wait(operator);
    }
    Ok(())
}
