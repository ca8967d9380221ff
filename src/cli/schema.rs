//! `relay schema`: prints the JSON Schema of relay.toml.

use crate::cli::error::CommandError;
use crate::config::schema::SCHEMA;

pub(super) fn print() -> Result<(), CommandError> {
    say!("{}", SCHEMA.trim_end());
    Ok(())
}
