//! The progress of a move, and its result.

/// A step of a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MoveProgress {
    /// The target is marked, and empty.
    Begun,
    /// The rows of a table that are written so far.
    Copied { table: &'static str, rows: u64 },
    /// The rows of a table that were read back so far.
    Compared { table: &'static str, rows: u64 },
    /// The target is complete and durable.
    Completed,
    /// The source is marked: it isn't served any more.
    Left,
}

/// A table that was moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MovedCount {
    pub table: &'static str,
    pub rows: u64,
    /// Of the rows, the same on both sides.
    pub digest: String,
}

/// The result of a move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MoveReport {
    /// The source and the target, without passwords.
    pub from: String,
    pub to: String,
    /// None if a move before this one had copied everything, and only the end was left to do.
    pub tables: Option<Vec<MovedCount>>,
    /// How far the clock that wrote everything is ahead of the target's, in milliseconds: waits and
    /// windows are longer by as much.
    pub ahead_millis: i64,
}
