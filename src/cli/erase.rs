//! `relay erase`: deletes what events say; their rows stay.

use std::io::{IsTerminal as _, Write as _};

use clap::Args;

use crate::cli::bulk::{self, Context, Selection};
use crate::cli::config_file::ConfigFile;
use crate::cli::error::CommandError;
use crate::cli::operate::explained;
use crate::clock::Timestamp;
use crate::ops::operations::OperationKind;

/// The word that confirms it on a terminal.
const CONFIRMATION: &str = "erase";

#[derive(Args)]
pub(super) struct Erase {
    #[command(flatten)]
    file: ConfigFile,
    /// Don't ask on a terminal
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    selection: Selection,
}

impl Erase {
    pub fn run(&self) -> Result<(), CommandError> {
        let selection = &self.selection;
        let request = selection.request(OperationKind::Erase);
        bulk::check(&request)?;
        let mut context = Context::new(self.file.path())?;
        let new = bulk::build(&context, &request)?;
        if !selection.dry_run && !self.yes {
            confirm()?;
        }
        let began = context.operator.now();
        bulk::run(&mut context, selection, new)?;
        if !selection.dry_run && !selection.detach {
            name_copies(&context, began)?;
        }
        Ok(())
    }
}

/// Names the copies that still hold what was erased: only their owner can tell what they are for.
fn name_copies(context: &Context, began: Timestamp) -> Result<(), CommandError> {
    let backups = context.config.backup.as_ref();
    let backups = backups.map(|backup| backup.directory.as_path());
    let copies = context.operator.copies_with_erased(began, backups);
    let copies = copies.map_err(explained)?;
    if !copies.is_empty() {
        hint!("these copies still hold some of it: delete them, or let them expire");
    }
    for copy in copies {
        hint!("  {}", copy.display());
    }
    Ok(())
}

/// Asks for a word. A script is not asked: it says what it means.
fn confirm() -> Result<(), CommandError> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Ok(());
    }
    write!(
        std::io::stderr(),
        "Payloads, headers, keys and answers are deleted for good; --dry-run shows of which \
         events. Type {CONFIRMATION} to go on: "
    )?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if answer.trim() == CONFIRMATION {
        return Ok(());
    }
    Err("nothing was done".into())
}
