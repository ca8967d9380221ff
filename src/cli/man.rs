//! `relay man`: the manual, made from the commands themselves.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_mangen::Man;

use crate::cli::error::CommandError;

#[derive(Args)]
pub(super) struct ManPages {
    /// A directory to write one page a command to; without it, a page is printed
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "command")]
    dir: Option<PathBuf>,
    /// The command whose page is printed; without it, that of relay
    command: Option<String>,
}

impl ManPages {
    /// `relay` is the whole command line.
    pub fn run(&self, relay: Command) -> Result<(), CommandError> {
        // The page of `help` would say how to ask for help.
        let mut relay = relay.disable_help_subcommand(true);
        relay.build();
        if let Some(directory) = &self.dir {
            return write_pages(&relay, directory);
        }
        let command = match &self.command {
            None => Some(&relay),
            Some(name) => relay.find_subcommand(name),
        };
        let named = self.command.as_deref().unwrap_or_default();
        let unknown = || format!("there is no command {named:?}: relay --help lists them");
        let mut text = Vec::new();
        page_of(command.ok_or_else(unknown)?).render(&mut text)?;
        Ok(std::io::stdout().write_all(&text)?)
    }
}

/// The page of a command. Its commands are named by their pages: relay-serve(1).
fn page_of(command: &Command) -> Man {
    Man::new(command.clone())
        .source(concat!("relay ", env!("CARGO_PKG_VERSION")))
        .manual("relay")
}

/// Writes the pages of a command and of its subcommands.
fn write_pages(command: &Command, directory: &Path) -> Result<(), CommandError> {
    let page = page_of(command);
    let written = page.generate_to(directory);
    written.map_err(|error| {
        let path = directory.join(page.get_filename());
        format!(
            "{}: {error}: expected a directory that is there, and that can be written to",
            path.display()
        )
    })?;
    for subcommand in command.get_subcommands() {
        write_pages(subcommand, directory)?;
    }
    Ok(())
}
