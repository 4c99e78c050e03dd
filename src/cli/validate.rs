//! `minik8s validate`: STAND-IN until the `decode` branch is merged; its file takes the place of this one.

use std::path::PathBuf;

/// Check manifests as the agent would, offline.
#[derive(Clone, Debug, clap::Args)]
pub struct ValidateArgs {
    /// Manifests, or directories of them.
    #[arg(required = true, value_name = "FILE|DIR")]
    pub paths: Vec<PathBuf>,
}

/// Checks nothing yet. Returns the exit code.
pub fn run(_: &ValidateArgs) -> u8 {
    eprintln!("error: this build has no validate command");
    2
}
