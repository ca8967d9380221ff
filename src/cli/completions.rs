//! `relay completions`: a shell's completions, made from the commands themselves.

use std::io::Write as _;

use clap::{Args, Command, ValueEnum};
use clap_complete::{Shell as Generator, generate};

use crate::cli::error::CommandError;

#[derive(Args)]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

#[derive(Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Completions {
    /// `relay` is the whole command line.
    pub fn run(&self, mut relay: Command) -> Result<(), CommandError> {
        let generator = match self.shell {
            Shell::Bash => Generator::Bash,
            Shell::Zsh => Generator::Zsh,
            Shell::Fish => Generator::Fish,
        };
        let mut text = Vec::new();
        generate(generator, &mut relay, "relay", &mut text);
        Ok(std::io::stdout().write_all(&text)?)
    }
}
