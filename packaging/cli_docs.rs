//! Everything about the command line that is written down, made from clap's own description of it and never by hand.
//!
//! `cargo run --example cli-docs -- package DIR` writes what a package ships: man pages, completions and the file of defaults.
//! `cargo run --example cli-docs -- reference` brings `docs/cli.md` and the table of commands in README.md up to date; `tests/cli_docs.rs` fails
//! while they are not.

use std::io::{Error, Result};
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_complete::aot::{Shell, generate};
use minik8s::cli::Cli;

/// The reference, and the document with the table.
pub const REFERENCE: &str = "docs/cli.md";
/// Between these lines of README.md stands the table of commands.
pub const TABLE: [&str; 2] = ["<!-- commands: made by `make docs` -->", "<!-- /commands -->"];

#[allow(dead_code, reason = "the test includes this file as a module and has its own main")]
fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["package", dir] => package(Path::new(dir)),
        ["reference"] => update(Path::new(env!("CARGO_MANIFEST_DIR"))),
        _ => Err(Error::other("usage: cli-docs package DIR | reference")),
    }
}

fn command() -> Command {
    let mut command = Cli::command();
    command.build();
    command
}

/// Writes man/*.1, the three shells' completions and `default` below `dir`.
pub fn package(dir: &Path) -> Result<()> {
    let man = dir.join("man");
    std::fs::create_dir_all(&man)?;
    clap_mangen::generate_to(Cli::command(), &man)?;
    for (shell, name) in [(Shell::Bash, "minik8s.bash"), (Shell::Zsh, "_minik8s"), (Shell::Fish, "minik8s.fish")] {
        let mut text = Vec::new();
        generate(shell, &mut Cli::command(), "minik8s", &mut text);
        std::fs::write(dir.join(name), text)?;
    }
    std::fs::write(dir.join("default"), defaults())
}

/// /etc/default/minik8s: every flag of the agent as its variable, commented out, with what it is by default.
pub fn defaults() -> String {
    let mut out = String::from(
        "# Settings of the minik8s service, read by minik8s.service at each start: systemctl restart minik8s (containers run on).\n\
         # Each is a flag of `minik8s agent`, see minik8s-agent(1); what is commented out is the default. An unusable value is named in the journal\n\
         # (journalctl -u minik8s), and the service starts by itself once it is right.\n",
    );
    let command = command();
    let agent = command.find_subcommand("agent").into_iter().flat_map(Command::get_arguments);
    for arg in agent.filter(|arg| arg.get_env().is_some()) {
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let name = arg.get_env().unwrap_or_default().to_string_lossy();
        let default: Vec<_> = arg.get_default_values().iter().map(|v| v.to_string_lossy()).collect();
        out += &format!("\n# {help}\n#{name}={}\n", default.join(","));
    }
    out
}

/// The whole command line as Markdown.
pub fn reference() -> String {
    let body =
        clap_markdown::help_markdown_custom::<Cli>(&clap_markdown::MarkdownOptions::new().show_footer(false).show_table_of_contents(false));
    let body = body.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    format!("<!-- Made by `make docs` from the program itself; do not edit. -->\n\n{}\n", body.trim())
}

/// One line a command.
pub fn table() -> String {
    let command = command();
    let about = |c: &Command| c.get_about().map(ToString::to_string).unwrap_or_default().trim_end_matches('.').to_owned();
    let rows = command.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help");
    let rows: Vec<String> = rows.map(|c| format!("| `{}` | {} |", c.get_name(), about(c))).collect();
    format!("| command | what it does |\n|---|---|\n{}\n", rows.join("\n"))
}

/// README.md with the table as it is to be. Errors: the lines that mark its place are not there.
pub fn with_table(readme: &str) -> Result<String> {
    let [begin, end] = TABLE;
    let (before, rest) = readme.split_once(begin).ok_or_else(|| Error::other(format!("README.md lacks the line {begin}")))?;
    let (_, after) = rest.split_once(end).ok_or_else(|| Error::other(format!("README.md lacks the line {end}")))?;
    Ok(format!("{before}{begin}\n{}{end}{after}", table()))
}

fn update(root: &Path) -> Result<()> {
    std::fs::write(root.join(REFERENCE), reference())?;
    let readme = root.join("README.md");
    std::fs::write(&readme, with_table(&std::fs::read_to_string(&readme)?)?)
}
