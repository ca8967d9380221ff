//! Access to the operator's listener.
//!
//! - `caller`: an authenticated caller, and the rights of its role.
//! - `host`: the hosts that requests may name. A web page whose name is made to resolve to loopback
//!   (DNS rebinding) sends its own name, and is refused.
//! - `tokens`: the tokens and their roles. `sessions`: people who signed in with one. `cookie`: the
//!   cookie of a session. `guesses`: bounds failed sign-ins.
//! - `origin`: whether a request that changes something comes from a page of another origin.

pub(in crate::http::admin) mod caller;
#[allow(dead_code, reason = "a build without the console signs nobody in")]
mod cookie;
#[allow(dead_code, reason = "a build without the console signs nobody in")]
mod guesses;
mod host;
mod origin;
#[allow(dead_code, reason = "a build without the console signs nobody in")]
mod sessions;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::http::request::Parts;

use crate::clock::Clock;
use crate::config::Admin;
use crate::http::api_error::ApiError;
pub(in crate::http) use caller::Caller;
use caller::Proof;
use cookie::SessionCookie;
use guesses::Guesses;
use host::AllowedHosts;
use sessions::Sessions;
pub(in crate::http::admin) use sessions::TokenDigest;
pub(in crate::http) use tokens::Tokens;
use tokens::digest;

/// The rules of the operator's listener.
pub(in crate::http) struct AdminAccess {
    hosts: AllowedHosts,
    tokens: Arc<Tokens>,
    is_metrics_public: bool,
    signed_in: Arc<SignedIn>,
}

/// The part that goes on after a reload.
struct SignedIn {
    cookie: SessionCookie,
    sessions: Sessions,
    guesses: Guesses,
    clock: Arc<dyn Clock>,
}

#[allow(dead_code, reason = "a build without the console signs nobody in")]
impl AdminAccess {
    /// The rules of a listener at this port.
    pub fn new(settings: &Admin, port: u16, clock: Arc<dyn Clock>) -> Self {
        let signed_in = Arc::new(SignedIn {
            cookie: SessionCookie::new(port),
            sessions: Sessions::default(),
            guesses: Guesses::default(),
            clock,
        });
        Self::with(settings, signed_in)
    }

    /// The rules after a reload. A session whose token is gone is over.
    pub fn reloaded(&self, settings: &Admin) -> Self {
        Self::with(settings, Arc::clone(&self.signed_in))
    }

    fn with(settings: &Admin, signed_in: Arc<SignedIn>) -> Self {
        Self {
            hosts: AllowedHosts::new(&settings.allowed_hosts),
            tokens: Arc::new(Tokens::new(settings)),
            is_metrics_public: settings.metrics_public,
            signed_in,
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

    /// Whether the request names this listener's host.
    pub fn check_host(&self, head: &Parts) -> Result<(), ApiError> {
        self.hosts.check(head)
    }

    /// The caller of the API or of the console, if the request is let in.
    pub fn authenticate(&self, head: &Parts) -> Result<Caller, ApiError> {
        self.hosts.check(head)?;
        if !has_bearer(head)
            && let Some(caller) = self.of_session(head)
        {
            return Ok(caller);
        }
        self.tokens.authenticate(&head.headers)
    }

    /// The caller whose session the request's cookie names, as long as its token is configured.
    fn of_session(&self, head: &Parts) -> Option<Caller> {
        let SignedIn {
            cookie,
            sessions,
            clock,
            ..
        } = &*self.signed_in;
        let id = cookie.read(&head.headers)?;
        let token = sessions.token(id, clock.now())?;
        let caller = self.tokens.of_digest(&token, Proof::Session);
        if caller.is_none() {
            sessions.end(id);
        }
        caller
    }

    /// The tokens, for those who stay longer than a request.
    pub fn tokens(&self) -> Arc<Tokens> {
        Arc::clone(&self.tokens)
    }

    /// Whether people have to sign in: a token is configured.
    pub fn wants_sign_in(&self) -> bool {
        !self.tokens.is_empty()
    }

    /// Begins a session of the holder of a token. Returns who that is, and the header that sets the
    /// cookie. The session is a new one, so that nobody can know its id beforehand, and the one
    /// before ends. `is_secure`: whether the request came over TLS.
    pub fn sign_in(
        &self,
        head: &Parts,
        is_secure: bool,
        token: &str,
    ) -> Result<(Caller, HeaderValue), ApiError> {
        self.hosts.check(head)?;
        origin::check_own(head, is_secure)?;
        let SignedIn {
            cookie,
            sessions,
            guesses,
            clock,
        } = &*self.signed_in;
        let (now, token) = (clock.now(), digest(token.as_bytes()));
        let found = guesses.check(now, || self.tokens.of_digest(&token, Proof::Session));
        // Rounded up: a try at the time that is told succeeds.
        let seconds = |wait: Duration| wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let found = found.map_err(|wait| ApiError::rate_limited(seconds(wait)))?;
        let Some(caller) = found else {
            log::warn!("a sign-in failed: the token is none of the configured ones");
            return Err(ApiError::no_token());
        };
        if let Some(before) = cookie.read(&head.headers) {
            sessions.end(before);
        }
        let id = sessions.begin(token, now);
        log::info!(who = caller.name.as_str(); "signed in");
        Ok((caller, cookie.set(id, is_secure || origin::is_secure(head))))
    }

    /// Ends the session that the request's cookie names. Returns the header that removes it.
    pub fn sign_out(&self, head: &Parts) -> HeaderValue {
        let SignedIn {
            cookie, sessions, ..
        } = &*self.signed_in;
        if let Some(id) = cookie.read(&head.headers) {
            sessions.end(id);
        }
        cookie.remove()
    }
}

/// Whether a request brings a token in `Authorization`, right or wrong. Credentials of another
/// scheme are those of a proxy in front, and no word about the session.
pub(in crate::http::admin) fn has_bearer(head: &Parts) -> bool {
    let scheme = b"bearer";
    let mut values = head.headers.get_all(AUTHORIZATION).iter();
    values.any(|value| {
        let given = value.as_bytes().get(..scheme.len());
        given.is_some_and(|given| given.eq_ignore_ascii_case(scheme))
    })
}

#[cfg(test)]
mod tests;
