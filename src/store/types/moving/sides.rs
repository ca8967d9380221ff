//! The two sides of a move: each engine can be either.

use super::marks::{MovedAway, UnfinishedMove};
use super::rows::MovedRow;
use super::tables::MovedTable;
use crate::clock::Timestamp;
use crate::store::move_error::MoveError;

/// Takes rows, some at a time.
pub(crate) type OnRows<'a> = &'a mut dyn FnMut(Vec<MovedRow>) -> Result<(), MoveError>;

/// A store that is moved. Nobody else changes it meanwhile, and all reads see the same.
pub(crate) trait MoveSource {
    /// Its name, without a password.
    fn name(&self) -> String;

    /// The mark of a move that was made, or nearly so.
    fn moved_away(&mut self) -> Result<Option<MovedAway>, MoveError>;

    /// Tells its copies from others: 32 hexadecimal digits.
    fn installation(&mut self) -> Result<String, MoveError>;

    /// The time by the clock that everything was written by.
    fn now(&mut self) -> Result<Timestamp, MoveError>;

    fn read(&mut self, table: &MovedTable, each: OnRows<'_>) -> Result<(), MoveError>;

    /// Marks it, durably. Only this changes it.
    fn leave(&mut self, mark: &MovedAway) -> Result<(), MoveError>;
}

/// A store that another one is moved to. Nobody else opens it meanwhile.
pub(crate) trait MoveTarget {
    /// Its name, without a password.
    fn name(&self) -> String;

    /// The mark of a move that did not end.
    fn unfinished(&mut self) -> Result<Option<UnfinishedMove>, MoveError>;

    /// Marks it, durably, and empties it of what an unfinished move left there. Refused if it holds
    /// anything else.
    fn begin(&mut self, mark: &UnfinishedMove) -> Result<(), MoveError>;

    fn write(&mut self, table: &MovedTable, rows: Vec<MovedRow>) -> Result<(), MoveError>;

    /// All rows are written; takes over what is no table.
    fn copied(&mut self, installation: &str) -> Result<(), MoveError>;

    fn read(&mut self, table: &MovedTable, each: OnRows<'_>) -> Result<(), MoveError>;

    /// The time by the clock that it will be written by; `source` is that of the source.
    fn now(&mut self, source: Timestamp) -> Result<Timestamp, MoveError>;

    /// Makes everything durable, with this mark.
    fn complete(&mut self, mark: &UnfinishedMove) -> Result<(), MoveError>;

    /// Removes the mark, durably: it may be served.
    fn release(&mut self) -> Result<(), MoveError>;
}
