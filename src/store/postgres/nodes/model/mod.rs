//! Checks the rules of membership exhaustively: three nodes, two buckets, and every order of their
//! statements, with pauses, kills, stops, lost answers and an absent database.
//!
//! The nodes are the very [`Membership`] that runs. The database is `database`, with the guards
//! that the statements have; `world` is a state of all; `actions` are what may happen; `faults`
//! takes a rule away, and `tests` shows that each rule is needed.
//!
//! A tick is a heartbeat: time goes on once each running node has made its beat, or failed to.

mod actions;
mod database;
mod faults;
mod tests;
mod world;
