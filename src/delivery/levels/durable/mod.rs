//! Level 3: what production wants besides level 2's transport: signatures, and limits for each
//! destination.

mod per_destination;
mod signature;

pub(super) use per_destination::PerDestination;
pub(super) use signature::sign;
