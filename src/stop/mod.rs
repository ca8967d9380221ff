//! The one way to stop. Each agent of the relay is handed a [`Stop`]: a token that asks it to end,
//! and with the request a deadline. It shows that it runs by holding a [`Running`].
//!
//! - `request`: the request to an agent. `token`: wakes tasks and threads. `deadline`: real time,
//!   whatever the clock.
//! - `ending`: waits for an agent's end. `JoinHandle::join` would wait without a bound.
//! - `order`: stops agents in the order of a table.
//! - `block_on`: blocks a thread on a future without a runtime.

mod block_on;
mod deadline;
mod ending;
mod order;
mod request;
#[cfg(test)]
mod tests;
mod token;

pub(crate) use block_on::block_on;
pub(crate) use deadline::Deadline;
pub(crate) use ending::{Ending, Running};
pub(crate) use order::{Agent, Asked, Step, Wait, stop_in_order};
pub(crate) use request::Stop;
pub(crate) use token::Token;
