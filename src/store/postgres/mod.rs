//! The `PostgreSQL` engine: a server that several processes of relay may share, each a node of it.
//!
//! - `handle`: [`Postgres`], the engine's handle. `start`: connects and starts the writer.
//!   `shared`: the state that the threads and the handles share. `reader`: a part's own connection
//!   for reading. `operator`: the database as commands see it.
//! - `accept`: records intents, many in one statement.
//! - `turn/`: the dispatcher's transaction. `due`, `messages`: what it sends. `origins`: forgets ad
//!   hoc origins.
//! - `queries/`: the reads. `acts/`: the acts of operators. `upkeep/`: maintenance. `backups`: what
//!   the server does by itself.
//!
//! `schema.sql` is the whole schema.

#![allow(
    dead_code,
    unused_variables,
    clippy::needless_pass_by_value,
    clippy::unnecessary_wraps,
    clippy::unused_async,
    clippy::unused_self,
    reason = "the engine is being built: its operations answer that they are not there yet"
)]

mod accept;
mod acts;
mod backups;
mod due;
mod handle;
mod messages;
mod operator;
mod origins;
mod queries;
mod reader;
mod shared;
mod start;
mod turn;
mod upkeep;

pub use handle::Postgres;
pub use operator::Operator;
pub use reader::Reader;
