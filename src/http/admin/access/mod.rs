//! Access to the operator's listener.
//!
//! - `caller`: an authenticated caller, and the rights of its role.
//! - `host`: the hosts that requests may name. A web page whose name is made to resolve to loopback
//!   (DNS rebinding) sends its own name, and is refused.
//! - `tokens`: the tokens and their roles.
//! - `origin`: whether a request that changes something comes from a page of another origin.

mod caller;
mod host;
mod origin;
mod tokens;

use hyper::http::request::Parts;

use crate::config::Admin;
use crate::http::api_error::ApiError;
pub(in crate::http) use caller::Caller;
use host::AllowedHosts;
use tokens::Tokens;

/// The rules of the operator's listener.
pub(in crate::http) struct AdminAccess {
    hosts: AllowedHosts,
    tokens: Tokens,
    is_metrics_public: bool,
}

impl AdminAccess {
    pub fn new(settings: &Admin) -> Self {
        Self {
            hosts: AllowedHosts::new(&settings.allowed_hosts),
            tokens: Tokens::new(settings),
            is_metrics_public: settings.metrics_public,
        }
    }

    /// Whether the request may read the metrics. A scraper names whatever host its configuration
    /// has, so that any is allowed.
    pub fn check_metrics(&self, head: &Parts) -> Result<(), ApiError> {
        if self.is_metrics_public {
            return Ok(());
        }
        self.tokens.authenticate(&head.headers).map(|_| ())
    }

    /// The caller of the API, if the request is let in.
    pub fn authenticate(&self, head: &Parts) -> Result<Caller, ApiError> {
        self.hosts.check(head)?;
        self.tokens.authenticate(&head.headers)
    }
}
