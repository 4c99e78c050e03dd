//! `--dry-run`, with kubectl's values and words.

/// How kubectl is told not to do it. What is asked is checked by the agent either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Strategy {
    None,
    Client,
    Server,
}

/// The flag, for a command that edits or evicts.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct DryRun {
    /// Only say what would be done.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "client", value_enum)]
    dry_run: Option<Strategy>,
}

impl DryRun {
    /// Whether nothing is to be done.
    pub(super) fn is_on(self) -> bool {
        !matches!(self.dry_run, None | Some(Strategy::None))
    }

    /// What follows the message of what was not done.
    pub(super) fn said(self) -> &'static str {
        match self.dry_run {
            Some(Strategy::Client) => " (dry run)",
            Some(Strategy::Server) => " (server dry run)",
            None | Some(Strategy::None) => "",
        }
    }
}
