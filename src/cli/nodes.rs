//! `relay nodes`: lists the nodes that share the database.

use clap::Args;

use crate::cli::config_file::ConfigFile;
use crate::cli::error::CommandError;
use crate::cli::operate::{explained, reading};
use crate::cli::table::{self, Column};
use crate::ops::views;
use crate::store::NodeState;

#[derive(Args)]
pub(super) struct Nodes {
    #[command(flatten)]
    file: ConfigFile,
    /// Print JSON lines: one object for each node
    #[arg(long)]
    json: bool,
}

impl Nodes {
    pub fn run(&self) -> Result<(), CommandError> {
        let (operator, config) = reading(self.file.path())?;
        let found = operator.nodes(&config.node).map_err(explained)?;
        if self.json {
            for node in &found {
                say!("{}", views::node(node));
            }
            return Ok(());
        }
        if found.is_empty() {
            hint!("no node is running: relay serve starts one");
            return Ok(());
        }
        let now = operator.now();
        let row = |node: &NodeState| {
            [
                node.slot.to_string(),
                node.name.clone(),
                node.version.clone().unwrap_or_else(|| "-".to_owned()),
                format!("{:.1} s ago", now.since(node.seen_at).as_secs_f64()),
                node.buckets.to_string(),
                node.word().to_owned(),
            ]
        };
        let rows: Vec<_> = found.iter().map(row).collect();
        table::print(
            &[
                Column::Right("SLOT"),
                Column::Left("NAME"),
                Column::Left("VERSION"),
                Column::Right("SEEN"),
                Column::Right("BUCKETS"),
                Column::Left("STATE"),
            ],
            &rows,
        )
    }
}
