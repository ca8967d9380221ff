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
    #[error("{key}: {address}: {source}; expected a free address of this machine")]
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
    #[error("can't start: {0}")]
    Store(#[from] StoreError),
    /// The system refuses threads.
    #[error("can't start: {0}")]
    System(#[from] std::io::Error),
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
    #[error("the stop gave up on what did not end in time: {0}; the next start recovers")]
    Stuck(String),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The id is no id of this relay.
    #[error(transparent)]
    Id(#[from] InvalidId),
}
