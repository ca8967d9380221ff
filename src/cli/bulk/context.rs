//! The database and the configuration that a command works with.

use std::path::Path;

use crate::cli::error::CommandError;
use crate::cli::operate::writing;
use crate::config::Resolved;
use crate::store::Operator;

/// A command's connection to the database, and the configuration.
pub(in crate::cli) struct Context {
    pub operator: Operator,
    pub config: Resolved,
}

impl Context {
    pub fn new(file: Option<&Path>) -> Result<Self, CommandError> {
        let (operator, config) = writing(file)?;
        Ok(Self { operator, config })
    }
}
