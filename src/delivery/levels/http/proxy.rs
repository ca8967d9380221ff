//! The proxy on the way to a destination: when there is one, and how it fails.

use std::io::ErrorKind;
use std::sync::Arc;

use thiserror::Error;
use ureq::http::{StatusCode, Uri};

use crate::config::ProxyPolicy;
use crate::delivery::levels::http::errors::{Forbidden, NameNotFound, is_end};
use crate::delivery::levels::http::wire::HeadTooLarge;
use crate::model::FailureKind;

/// The way from here to the hosts of an agent's URLs: directly, or through a proxy.
#[derive(Clone, Debug, Default)]
pub(super) struct Route(Option<Arc<ProxyPolicy>>);

impl Route {
    pub fn new(proxy: Option<Arc<ProxyPolicy>>) -> Self {
        Self(proxy)
    }

    /// The proxy that a URL's host is reached through.
    pub fn proxy(&self, uri: &Uri) -> Option<&ProxyPolicy> {
        let proxy = self.0.as_deref()?;
        proxy.is_for(uri.host()?).then_some(proxy)
    }
}

/// The proxy failed, or it refused: the destination was not asked.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("the proxy {proxy} {problem}")]
pub(super) struct ProxyFailed {
    /// `host:port`.
    proxy: String,
    problem: ProxyProblem,
}

/// The failure of a proxy. Completes a sentence that begins with the proxy.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum ProxyProblem {
    #[error("can't be found: {0}")]
    UnknownName(String),
    #[error("can't be found in time: its name is still being looked up")]
    LookUpLate,
    #[error("leads to relay's own listeners (server.listen, admin.listen)")]
    OwnListener,
    #[error("refuses connections")]
    Refused,
    #[error("can't be reached: {0}")]
    Unreachable(String),
    #[error("did not accept a connection in time")]
    ConnectLate,
    #[error("did not answer CONNECT {target} in time: it is slow, or it waits for the destination")]
    AnswerLate { target: String },
    #[error("closed the connection before it answered CONNECT")]
    Closed,
    #[error("answered CONNECT with something else than HTTP: is an HTTP proxy at its address?")]
    NotHttp,
    #[error("answered CONNECT with more headers than are read")]
    HeadTooLarge,
    #[error(
        "asks for credentials (407 Proxy Authentication Required): expected \
         proxy_authorization_env beside proxy"
    )]
    CredentialsMissing,
    #[error("refuses the credentials of proxy_authorization (407 Proxy Authentication Required)")]
    CredentialsRefused,
    #[error("answered CONNECT {target} with {status}{}", meaning(*.status))]
    Status { target: String, status: StatusCode },
    #[error("sent bytes of its own after it had opened the tunnel to {target}")]
    Unasked { target: String },
    #[error(
        "opened a tunnel to {target} that ended before TLS began: it, or the destination, closed it"
    )]
    TunnelEnded { target: String },
}

/// The meaning of a proxy's status.
fn meaning(status: StatusCode) -> &'static str {
    match status.as_u16() {
        403 => ": its rules have to allow this destination",
        405 | 501 => ": it makes no tunnels, which relay needs for http URLs, too",
        502..=504 => ": it did not reach the destination",
        _ => "",
    }
}

impl ProxyProblem {
    /// The problem with this proxy as ureq's error.
    pub fn of(self, proxy: &ProxyPolicy) -> ureq::Error {
        ureq::Error::Other(Box::new(ProxyFailed {
            proxy: proxy.url.to_string(),
            problem: self,
        }))
    }

    /// An error of the connection to the proxy. A shortage of this machine stays one.
    pub fn while_connecting(error: ureq::Error, proxy: &ProxyPolicy) -> ureq::Error {
        match error {
            ureq::Error::HostNotFound => {
                Self::UnknownName("it has no address".to_owned()).of(proxy)
            }
            ureq::Error::Timeout(ureq::Timeout::Resolve) => Self::LookUpLate.of(proxy),
            ureq::Error::Timeout(_) => Self::ConnectLate.of(proxy),
            ureq::Error::Other(inner) if inner.is::<Forbidden>() => Self::OwnListener.of(proxy),
            ureq::Error::Io(error) => match error.kind() {
                ErrorKind::ConnectionRefused => Self::Refused.of(proxy),
                kind if is_end(kind) => Self::Closed.of(proxy),
                // There is no address of that family here.
                ErrorKind::AddrNotAvailable => ureq::Error::Io(error),
                _ => Self::Unreachable(error.to_string()).of(proxy),
            },
            ureq::Error::Other(inner) => match inner.downcast::<NameNotFound>() {
                Ok(not_found) => Self::UnknownName(not_found.0).of(proxy),
                Err(inner) => ureq::Error::Other(inner),
            },
            other => other,
        }
    }

    /// An error between CONNECT and the end of its answer.
    pub fn while_asking(error: ureq::Error, proxy: &ProxyPolicy, target: &str) -> ureq::Error {
        let problem = match error {
            ureq::Error::Timeout(_) => Self::AnswerLate {
                target: target.to_owned(),
            },
            ureq::Error::Io(error) => match error.kind() {
                kind if is_end(kind) => Self::Closed,
                _ => Self::Unreachable(error.to_string()),
            },
            ureq::Error::Other(inner) if inner.is::<HeadTooLarge>() => Self::HeadTooLarge,
            other => return other,
        };
        problem.of(proxy)
    }

    /// An error of the TLS handshake within the tunnel. The proxy can be told from the destination
    /// only if the connection ended.
    pub fn while_beginning_tls(
        error: ureq::Error,
        proxy: &ProxyPolicy,
        target: &str,
    ) -> ureq::Error {
        match &error {
            ureq::Error::Io(inner) if is_end(inner.kind()) => {
                let target = target.to_owned();
                Self::TunnelEnded { target }.of(proxy)
            }
            _ => error,
        }
    }
}

impl ProxyFailed {
    /// The kind of the failure. A silent proxy keeps a worker as a silent destination does, and
    /// counts as slow like one.
    pub fn kind(&self) -> FailureKind {
        match self.problem {
            ProxyProblem::LookUpLate
            | ProxyProblem::ConnectLate
            | ProxyProblem::AnswerLate { .. } => FailureKind::Timeout,
            _ => FailureKind::Proxy,
        }
    }
}
