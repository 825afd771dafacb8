//! `aimass completions`: scripts with which a shell completes this command line.

use std::io::Write as _;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, Outcome};

/// Print a script with which a shell completes commands, options and their values.
#[derive(Args)]
#[command(after_help = "Examples:
  aimass completions bash > ~/.local/share/bash-completion/completions/aimass
  aimass completions zsh > ~/.zfunc/_aimass            with ~/.zfunc in fpath, before compinit
  aimass completions fish > ~/.config/fish/completions/aimass.fish")]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> Outcome {
        let mut script = vec![];
        clap_complete::generate(self.shell, &mut Cli::command(), "aimass", &mut script);
        std::io::stdout().write_all(&script)?;
        Ok(())
    }
}
