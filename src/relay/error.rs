use std::io::ErrorKind;
use std::net::SocketAddr;

use thiserror::Error;

use crate::config::ConfigError;
use crate::model::InvalidId;
use crate::store::{OpenError, StoreError};

/// The reason why a relay can't start. One line.
#[derive(Debug, Error)]
pub enum StartError {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An address can't be listened at.
    #[error("{key}: {address}: {source}; expected {}", expected_address(source))]
    Listen {
        /// The setting.
        key: &'static str,
        /// Its value.
        address: SocketAddr,
        /// The system's error.
        source: std::io::Error,
    },
    /// The database can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database can't be read.
    #[error("{database}: can't start: {source}")]
    Store {
        /// The file, or the server and its database, without a user and a password.
        database: String,
        /// Its error.
        source: StoreError,
    },
    /// The system refuses threads.
    #[error("can't start: {0}")]
    System(#[from] std::io::Error),
}

/// The address that would do in place of one that can't be listened at.
fn expected_address(refused: &std::io::Error) -> &'static str {
    match refused.kind() {
        // Only ports below 1024 want a right.
        ErrorKind::PermissionDenied => {
            "a port from 1024 on, or the right to take a lower one (CAP_NET_BIND_SERVICE)"
        }
        _ => "a free address of this machine",
    }
}

/// The reason why a configuration was not taken over. One line; the one before goes on.
#[derive(Debug, Error)]
pub enum ReloadError {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// These settings differ, and only a start can change them.
    #[error(
        "{0}: can't be changed while the relay runs: expected the values of the start, or a restart"
    )]
    Fixed(String),
    /// A file that a setting names can't be used.
    #[error(transparent)]
    Unusable(std::io::Error),
    /// There is no file to be read anew.
    #[error("the relay was started without a file")]
    NoFile,
}

/// The reason why a running relay failed, or did not stop in order.
#[derive(Debug, Error)]
pub enum RelayError {
    /// A part could not continue: a disk that fails, a bug. Everything acknowledged is on disk;
    /// start again.
    #[error("{0}")]
    Fatal(String),
    /// These parts did not end in time: most often a disk hangs. Everything acknowledged is on
    /// disk, and the next start recovers. The parts may run on until the process ends.
    #[error("parts did not end in time, and the stop gave them up: {0}; the next start recovers")]
    Stuck(String),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The id is no id of this relay.
    #[error(transparent)]
    Id(#[from] InvalidId),
}

impl ReloadError {
    /// The class of the error, which quotes nothing of the configuration.
    pub(super) fn class(&self) -> &'static str {
        match self {
            Self::Config(_) => "the configuration is wrong",
            Self::Fixed(_) => "a setting changed that only a start can change",
            Self::Unusable(_) => "a file that the configuration names can't be used",
            Self::NoFile => "there is no file",
        }
    }
}
