//! A move of everything on the server to another engine, or from there.
//!
//! - `marks`: the database's marks of a move, and who refuses it then. `abandon`: gives a move
//!   up.
//! - `side`: [`MovedServer`], a database that is moved, or moved to. `source`, `target`: its two
//!   roles. `read`, `write`: rows of any table, by `insert`. `deliveries`: those of the tables that
//!   hold them.
//!
//! A move is the one work of relay's with a transaction that stays open: it keeps all others out,
//! and takes everything back if it is interrupted.

mod abandon;
mod deliveries;
mod insert;
mod marks;
mod read;
mod side;
mod source;
mod target;
mod write;

pub use abandon::abandon_move;
pub use marks::{Use, refuse_if_marked};
pub use side::MovedServer;
