//! Makes acts: all those of one step in one transaction, whose statements are sent together.
//!
//! - `step`: the acts of a step, and how it is made. `frame`: the parts that the statements of all
//!   acts share. `locks`: the statements before and behind.
//! - `again`: replays and retries. `discard`: gives up for good. `elsewhere`: creates and moves
//!   deliveries. `erase`: deletes all that an event says.
//!
//! A claim locks the destinations of its turn `FOR KEY SHARE`, and an act that takes away or moves
//! what waits locks them `FOR UPDATE`, in a statement of its own: so the statement behind it sees
//! each claim that was made before, and no claim is made of what it takes. A claim of a delivery
//! that is gone would have its attempt recorded nowhere.

mod again;
mod discard;
mod elsewhere;
mod erase;
mod frame;
pub mod locks;
mod step;

pub(super) use elsewhere::enter;
pub use frame::JobStep;
pub use step::{Made, make};

#[cfg(test)]
mod tests;
