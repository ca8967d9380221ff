//! Events of other systems: `POST /webhooks/{source}`.
//!
//! - `accept`: the route. `admit`: verifies, limits and reads a request. `check`: checks its body
//!   against its source's settings. `decode`: bodies that are compressed.
//! - `event_view`: a request as `keys` and `order_keys` are read from it.
//! - `ask`: handshakes of other methods. `learn`: handshakes that bring a secret. `answer`: the
//!   answer to accepted events and duplicates.
//! - `refusals`: requests from elsewhere, and requests that are not verified.
//! - `forwarded_headers`, `forwarded_query`: the parts of the request that are kept for the
//!   destinations.

mod accept;
mod admit;
mod answer;
mod ask;
mod check;
mod decode;
mod event_view;
mod forwarded_headers;
mod forwarded_query;
mod keys;
mod learn;
mod order_keys;
mod refusals;

pub(in crate::http) use accept::accept;
pub(in crate::http) use ask::ask;
