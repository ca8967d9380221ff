//! Operations on many relays and events: their progress, and new ones.
//!
//! - `list`: the operations. `new`: counts one, and creates it; `fields`: those of its
//!   form. `words`: operations in words.
//!
//! A new one is counted first. The form that creates it has the time of the count as its end, so
//! that exactly those are meant that were counted, and a nonce, so that sending it twice makes one.

mod fields;
mod list;
mod new;
mod words;

pub(super) use list::{cancel, list};
pub(super) use new::{create, new};
