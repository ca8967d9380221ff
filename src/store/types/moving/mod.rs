//! A move of a whole store from one engine to another.
//!
//! - `rows`: rows as they are moved, and their digest. `tables`: the tables that are moved, and
//!   those that are not. `sides`: the two sides. `marks`: the marks of a move in its stores.
//!   `report`: the progress of a move, and its result.

#![allow(dead_code, reason = "a build with one engine has nowhere to move to")]

mod marks;
mod report;
mod rows;
mod sides;
mod tables;

pub(crate) use marks::{MovedAway, UnfinishedMove};
pub(crate) use report::{MoveProgress, MoveReport, MovedCount};
pub(crate) use rows::{MovedRow, MovedRows, MovedValue, RowsDigest};
pub(crate) use sides::{MoveSource, MoveTarget, OnRows};
pub(crate) use tables::{ColumnKind, MOVED, MovedColumn, MovedTable};
