//! `relay schema`: prints the JSON Schema of relay.toml.

use clap::Args;

use crate::cli::error::CommandError;
use crate::config::schema;

#[derive(Args)]
pub(super) struct SchemaOf {}

impl SchemaOf {
    pub fn run(&self) -> Result<(), CommandError> {
        say!("{:#}", schema::schema());
        Ok(())
    }
}
