//! The database is this process's alone.

use super::handle::Sqlite;

#[expect(clippy::unused_self, reason = "an engine that is shared asks its node")]
impl Sqlite {
    /// Whether other processes may change the database as this one does.
    pub fn is_shared(&self) -> bool {
        false
    }

    /// Whether this process makes the work that is made once for the whole database.
    pub fn leads(&self) -> bool {
        true
    }

    /// Whether this process delivers to a destination.
    pub fn serves(&self, _destination: &str) -> bool {
        true
    }

    /// Nobody else takes over.
    pub fn handovers(&self, _destination: &str) -> u32 {
        0
    }

    /// Nobody else delivers.
    pub fn hand_over(&self) {}
}
