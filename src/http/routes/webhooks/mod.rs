//! Events of other systems: `POST /webhooks/{source}`.
//!
//! - `accept`: the route. `check`: checks a body against its source's settings.
//! - `forwarded_headers`: the headers that are kept for the destinations.

mod accept;
mod check;
mod forwarded_headers;

pub(in crate::http) use accept::accept;
