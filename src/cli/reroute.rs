//! `relay reroute`: moves the waiting deliveries of one destination to another.

use clap::Args;

use crate::cli::bulk::{self, Context, Selection};
use crate::cli::config_file::ConfigFile;
use crate::cli::error::CommandError;
use crate::ops::operations::{OperationKind, OperationRequest};

#[derive(Args)]
pub(super) struct Reroute {
    #[command(flatten)]
    file: ConfigFile,
    /// The destination for which they wait; it need not be configured any more
    #[arg(long, value_name = "OLD")]
    from: String,
    /// The destination that gets them, which has to be configured
    #[arg(long, value_name = "NEW")]
    to: String,
    #[command(flatten)]
    selection: Selection,
}

impl Reroute {
    pub fn run(&self) -> Result<(), CommandError> {
        let request = OperationRequest {
            from: Some(self.from.clone()),
            to: Some(self.to.clone()),
            ..self.selection.request(OperationKind::Reroute)
        };
        bulk::check(&request)?;
        let mut context = Context::new(self.file.path())?;
        let new = bulk::build(&context, &request)?;
        bulk::run(&mut context, &self.selection, new)
    }
}
