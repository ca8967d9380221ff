//! Both contracts over HTTP, on hyper: parses and checks requests, and passes operations to the
//! store. It knows nothing about how deliveries are made.
//!
//! - `server/`: accepts connections, bounds and serves them.
//! - `router`: maps a path and a method to a route. `routes/`: the routes of the public contract.
//! - `admission/`: API keys, rate limits, signatures.
//! - `admin/`: the operator's listener.
//! - `app`, `request_context`, `body`, `response`, `api_error`: shared by all routes. `live_app`:
//!   the app of the configuration that runs. `event_stream`: a body that goes on. `framing`:
//!   requests that two servers could read differently.
//! - `authority`: the host of a request, and its port. `own_authorities`: the names of this relay
//!   in a request's target.
//! - `reload_file`: the way to a reload. `raw_object`: JSON objects as they were sent. `offload`:
//!   work on large bodies.

mod admin;
mod admission;
mod api_error;
mod app;
mod authority;
mod body;
mod event_stream;
mod framing;
mod live_app;
mod offload;
mod own_authorities;
mod raw_object;
mod reload_file;
mod request_context;
mod response;
mod router;
mod routes;
mod server;

pub(crate) use admission::LearnedSecrets;
pub(crate) use app::{App, AppContext};
pub(crate) use live_app::LiveApp;
pub(crate) use reload_file::LastReload;
pub(crate) use server::event_loops::{self, EventLoops};
pub(crate) use server::{Identity, Listener, ListenerTls, serve};
