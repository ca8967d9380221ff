//! The database as commands see it: a connection of their own, beside running servers or without.

use super::handle::not_built;
use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::config::{self, Secret};
use crate::store::error::OpenError;

/// A command's own connection.
pub struct Operator {}

impl Operator {
    /// For commands that read.
    pub fn reading(url: &Secret, settings: &config::Database) -> Result<Self, OpenError> {
        Self::open(url, settings)
    }

    /// For commands that change something.
    pub fn writing(url: &Secret, settings: &config::Database) -> Result<Self, OpenError> {
        Self::open(url, settings)
    }

    /// For a command that brings events from elsewhere: creates the tables if there are none.
    pub fn importing(url: &Secret, settings: &config::Database) -> Result<Self, OpenError> {
        Self::open(url, settings)
    }

    fn open(url: &Secret, settings: &config::Database) -> Result<Self, OpenError> {
        Err(OpenError::Recover {
            path: settings.path.clone(),
            source: not_built(),
        })
    }

    /// The time by the clock that everything stored was written by.
    pub fn now(&self) -> Timestamp {
        SystemClock::new().wall()
    }

    /// Whether a server has the database open.
    pub fn has_server(&self) -> bool {
        false
    }
}
