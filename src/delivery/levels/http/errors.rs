//! The transport's own errors, which travel through ureq as `ureq::Error::Other`.

use std::io::{Error as IoError, ErrorKind};
use std::net::{IpAddr, SocketAddr};

use rustix::io::Errno;
use thiserror::Error;

/// None of a name's addresses may be dialled.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum Forbidden {
    #[error(
        "forbidden_address: {0} is not a public address; \
         delivery.allow_networks can open its network"
    )]
    Inside(IpAddr),
    #[error("forbidden_address: {0} is one of relay's own listeners (server.listen, admin.listen)")]
    OwnListener(SocketAddr),
}

/// A shortage of this machine: the attempt was not made, and says nothing about the destination.
#[derive(Debug, Error)]
#[error("this machine is short of {what}: {source}")]
pub(super) struct NotMade {
    pub what: &'static str,
    #[source]
    pub source: IoError,
}

/// The other side ended the connection during the TLS handshake, without a reason.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("the connection ended during the TLS handshake: is TLS spoken at its port?")]
pub(super) struct TlsNotBegun;

/// A name was looked up, and has no address: the system's words say why.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("the host's name was not found: {0}")]
pub(super) struct NameNotFound(pub String);

impl NotMade {
    /// Separates a shortage from other errors of making a socket or a thread.
    pub fn of(error: IoError) -> Result<Self, IoError> {
        let what = match Errno::from_io_error(&error) {
            Some(Errno::MFILE | Errno::NFILE) => "file descriptors",
            Some(Errno::NOMEM | Errno::NOBUFS) => "memory",
            // Of a thread; of a connection, where the system says so of ports.
            Some(Errno::AGAIN) => "threads or ports",
            _ => return Err(error),
        };
        Ok(Self {
            what,
            source: error,
        })
    }

    /// The same of dialling an address. Linux has one error for a lack of ports and for the lack of
    /// an address of that family. Only the first passes: then there is a route.
    pub fn of_dial(error: IoError, has_route: impl FnOnce() -> bool) -> Result<Self, IoError> {
        if error.kind() == ErrorKind::AddrNotAvailable && has_route() {
            return Ok(Self {
                what: "ports",
                source: error,
            });
        }
        Self::of(error)
    }

    /// The same as ureq's error.
    pub fn wrap(error: IoError) -> ureq::Error {
        match Self::of(error) {
            Ok(shortage) => ureq::Error::Other(Box::new(shortage)),
            Err(error) => ureq::Error::Io(error),
        }
    }
}

/// Whether the other side ended the connection.
pub(super) fn is_end(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::NotConnected
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof
    )
}

#[cfg(test)]
mod tests;
