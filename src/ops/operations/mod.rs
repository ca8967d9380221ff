//! Operations on many relays and events, as operators ask for them: the command line, the admin API
//! and the console share these.
//!
//! - `request`: reads a request, and makes a [`NewBulk`](crate::store::NewBulk) of it. `kind`:
//!   the kinds of operations. `reading`: reads the members. `invalid`: why there is none.
//!   `destination`: the names of destinations.
//! - `run`: counts, creates and cancels operations on a server's store. `views`: shows them.

mod destination;
mod invalid;
mod kind;
mod reading;
mod request;
mod run;
mod views;

pub(crate) use destination::known;
pub(crate) use invalid::{Invalid, Spelling};
pub(crate) use kind::OperationKind;
pub(crate) use request::{OperationRequest, Scope};
pub(crate) use run::{Created, PlanError, cancel, create, plan, preview};
pub(crate) use views::{job, operation, preview as preview_view};
