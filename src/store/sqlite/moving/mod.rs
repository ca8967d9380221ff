//! A move of everything in the file to another engine, or from there.
//!
//! - `marks`: the file's marks of a move, and who refuses it then. `abandon`: gives a move up.
//! - `source`: [`MovedFile`], a file that is moved. `target`: [`NewFile`], one that is moved to.
//!   `rows`: the rows of any table. `keys`: those of idempotency keys.

#![allow(dead_code, reason = "a build with one engine has nowhere to move to")]

mod abandon;
mod keys;
mod marks;
mod rows;
mod source;
mod target;

pub use abandon::abandon_move;
pub use marks::{Use, refuse_if_marked};
pub use source::MovedFile;
pub use target::NewFile;
