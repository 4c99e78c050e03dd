//! `minik8s explain [TYPE ...]`: what the agent does about each field of a manifest, from its own table. Needs no agent.

use super::error::CliError;
use super::output::put;
use super::tabwriter::{TABLE, align};
use crate::api::support::coverage::{SHOWN, markdown, rows};

/// Show each field of a type as honoured, refused or noted, and the share of real manifests that set it.
#[derive(Clone, Debug, clap::Args)]
pub struct ExplainArgs {
    /// Kubernetes' names of types: PodSpec, Container, Volume, JobSpec, ...
    #[arg(value_name = "TYPE", default_values_t = SHOWN.map(str::to_owned))]
    types: Vec<String>,
    /// How to print them.
    #[arg(short, long, value_enum)]
    output: Option<Markdown>,
}

/// `-o markdown`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Markdown {
    /// A Markdown table.
    Markdown,
}

/// Runs the command. Returns the exit code.
pub fn run(args: &ExplainArgs) -> Result<u8, CliError> {
    let rows = rows(&args.types).map_err(CliError::local)?;
    if args.output.is_some() {
        put(markdown(&rows))?;
        return Ok(0);
    }
    let lines: String = rows.iter().map(|[owner, field, word, share, why]| format!("{owner}.{field}\t{word}\t{share}\t{why}\n")).collect();
    put(align(&format!("FIELD\tSTATUS\tSHARE\tREMARK\n{lines}"), TABLE))?;
    Ok(0)
}
