//! `relay cancel`: ends a bulk operation.

use clap::Args;
use serde_json::json;

use crate::cli::config_file::ConfigFile;
use crate::cli::error::CommandError;
use crate::cli::operate::{explained, writing};
use crate::store::BulkId;

#[derive(Args)]
pub(super) struct Cancel {
    #[command(flatten)]
    file: ConfigFile,
    /// The number of the job, as relay stats shows it
    job: BulkId,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl Cancel {
    pub fn run(&self) -> Result<(), CommandError> {
        let job = self.job;
        let (mut operator, _) = writing(self.file.path())?;
        if !operator.cancel_bulk(job).map_err(explained)? {
            return Err(format!("job {job} isn't under way").into());
        }
        if self.json {
            say!("{}", json!({ "ok": true, "job": job }));
        } else {
            say!("cancelled; what it has done stays done");
        }
        Ok(())
    }
}
