//! `relay schema`: prints the JSON Schema of relay.toml.

use crate::cli::error::CommandError;
use crate::config::schema;

pub(super) fn print() -> Result<(), CommandError> {
    say!("{:#}", schema::schema());
    Ok(())
}
