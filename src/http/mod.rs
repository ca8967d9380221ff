//! The ingress: both contracts, on hyper. It parses, checks, and sends operations to the store; it
//! knows nothing about how deliveries are made.
//!
//! - `server/`: accepts connections, bounds and serves them.
//! - `router`: which path and method leads where. `routes/`: the routes of the public contract.
//! - `admission/`: API keys, rate limits, signatures.
//! - `admin/`: the operator's listener.
//! - `app`, `request_context`, `body`, `response`, `api_error`: shared by all routes.
//! - `raw_object`: JSON objects as they were sent. `offload`: work on large bodies.

mod admin;
mod admission;
mod api_error;
mod app;
mod body;
mod offload;
mod raw_object;
mod request_context;
mod response;
mod router;
mod routes;
mod server;

pub(crate) use app::App;
pub(crate) use server::accept::{ListenerLimits, serve};
pub(crate) use server::event_loops::{self, EventLoops};
