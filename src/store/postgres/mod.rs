//! The PostgreSQL engine: a server that several processes of relay may share, each a node of it.
//!
//! - `handle`: [`Postgres`], the engine's handle. `start`: connects and starts the writer.
//!   `shared`: the state that the threads and the handles share. `reader`: a part's own connection
//!   for reading. `operator`: the database as commands see it.
//!   `pool`: connections that requests share. `own_node`: this process among the nodes.
//!   `asked_reloads`: reloads that commands ask for.
//!   `tests_clock`: the clock of a test's commands.
//! - `accept`: records intents. `writer/`: the thread that writes many with one statement.
//!   `keys`: idempotency keys, and the rows of events. `destinations`: their ids, by name.
//! - `turn/`: the dispatcher's transactions. `in_flight`: what it has claimed, in memory. `due`,
//!   `messages`: what it sends. `recover`: takes claims back whose node has ended. `origins`:
//!   forgets ad hoc origins.
//! - `nodes/`: several nodes on one database. `told`: what they notify each other of.
//! - `queries/`: the reads. `acts/`: the acts of operators. `upkeep/`: maintenance. `backups`: what
//!   the server does by itself. `moving/`: everything moves to another engine, or comes from there.
//!
//! - `connection`: one session and blocking calls on it. `retry`: calls that are made again after a
//!   failure, on a new connection if need be. `failure`: why a call failed, by SQLSTATE.
//! - `open`: the server's settings and the tables. `url`: the server. `tls`: how it is spoken to in
//!   private. `text`: text that comes from outside. `columns`: how values of the domain are stored.
//!   `values`: values of rows. `counts`: deliveries by state, in numbers. `tests/`: on a real
//!   server.
//!
//! `schema.sql` is the whole schema.
//!
//! Sessions have neither hash nor merge joins, and statistics may be those of an empty table. So a
//! join compares row with row, unless its text leaves no way but an index:
//! `CROSS JOIN LATERAL (… OFFSET 0)` looks up each row on the left, `= ANY(ARRAY[x])` makes a
//! condition one of the index, and `(x IN (SELECT …)) IS TRUE` hashes a list once. The tests of
//! plans count what is compared.

#![allow(
    clippy::needless_pass_by_value,
    clippy::unnecessary_wraps,
    clippy::unused_self,
    reason = "both engines take the same calls, and this one needs less of some"
)]

mod accept;
mod acts;
mod asked_reloads;
mod backups;
mod columns;
mod connection;
mod counts;
mod destinations;
mod due;
mod failure;
mod handle;
mod in_flight;
mod keys;
mod messages;
mod moving;
mod nodes;
mod open;
mod operator;
mod origins;
mod own_node;
mod pool;
mod queries;
mod reader;
mod recover;
mod retry;
mod shared;
mod start;
#[cfg(test)]
pub mod tests;
#[cfg(test)]
mod tests_clock;
mod text;
mod tls;
mod told;
mod turn;
mod upkeep;
mod url;
mod values;
mod writer;

pub use handle::Postgres;
pub use moving::{MovedServer, abandon_move};
pub use operator::Operator;
pub use reader::Reader;
pub use url::check;
