//! The command line: kubectl's verbs over the agent's socket, and what works without an agent.
//!
//! Guarantees: tables, descriptions, messages and their streams are kubectl's; exit codes are 0 (done), 1 (failed, or an object not there) and
//! 2 (wrong usage); `exec` has its command's, and `diff` has diff's. Printing is pure (objects and the time in, text out). `agent` is only parsed here; `main` runs it.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub mod agent_args;
mod apply;
mod attach;
mod client;
mod cordon;
mod cp;
mod delete;
pub mod describe;
mod describe_command;
mod diff;
mod doctor;
mod drain;
mod dry_run;
mod duration;
mod error;
mod events;
mod exec;
mod explain;
mod field_selector;
mod flag_values;
mod get;
mod kinds;
mod label;
mod logs;
mod output;
mod plan;
mod pod_target;
mod port_forward;
mod rerun;
mod rollout;
mod schedule;
mod session;
pub mod settings_file;
pub mod simulate;
pub mod tables;
mod tabwriter;
mod taint;
mod targets;
mod terminal;
mod top;
mod trigger;
pub mod validate;
mod version;
mod wait;
mod yaml;

pub use error::CliError;

/// What `minik8s --help` ends with.
const AFTER_HELP: &str = "\
Exit codes: 0 done; 1 failed, or an object is not there; 2 wrong usage; exec: its command's;
diff: 1 where something differs, 2 where it failed.
Put manifests into /etc/minik8s (or use apply), then look with get, describe, logs and events.";

/// DaemonSets, Jobs and CronJobs run on this host from plain Kubernetes manifests, without a cluster.
#[derive(Debug, Parser)]
#[command(name = "minik8s", version, after_help = AFTER_HELP, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the agent.
    Agent(Box<agent_args::AgentArgs>),
    /// Show objects.
    Get(get::GetArgs),
    /// Show objects in detail.
    Describe(describe_command::DescribeArgs),
    /// Show what containers have written.
    Logs(logs::LogsArgs),
    /// Show what happened, oldest first.
    Events(events::EventsArgs),
    /// Show what pods and the node use.
    Top(top::TopArgs),
    /// Run a command in a container.
    Exec(exec::ExecArgs),
    /// Connect to a running container.
    Attach(attach::AttachArgs),
    /// Copy files to and from containers.
    Cp(cp::CpArgs),
    /// Reach a pod's TCP ports from here.
    PortForward(port_forward::PortForwardArgs),
    /// Write manifests into the manifests directory.
    Apply(apply::ApplyArgs),
    /// Show what apply would change.
    Diff(diff::DiffArgs),
    /// Delete objects.
    Delete(delete::DeleteArgs),
    /// Wait for objects to be as they should.
    Wait(wait::WaitArgs),
    /// Run a CronJob's Job now.
    Trigger(trigger::TriggerArgs),
    /// Run a finished Job again.
    Rerun(rerun::RerunArgs),
    /// Show, follow, restart and undo rollouts of DaemonSets.
    Rollout(rollout::RolloutArgs),
    /// Mark the node as unschedulable.
    Cordon(cordon::CordonArgs),
    /// Mark the node as schedulable.
    Uncordon(cordon::CordonArgs),
    /// Cordon the node and stop its pods.
    Drain(drain::DrainArgs),
    /// Set taints of the node.
    Taint(taint::TaintArgs),
    /// Set labels of the node.
    Label(label::LabelArgs),
    /// Set annotations of the node.
    Annotate(label::LabelArgs),
    /// Check this host, and say what to do.
    Doctor(Box<doctor::DoctorArgs>),
    /// Check manifests, without an agent.
    Validate(validate::ValidateArgs),
    /// Show which fields of manifests are honoured, without an agent.
    Explain(explain::ExplainArgs),
    /// Explain a schedule and show its next runs, without an agent.
    Schedule(schedule::ScheduleArgs),
    /// Play manifests in virtual time and show the timeline, without an agent.
    Simulate(simulate::SimulateArgs),
    /// Show whether workloads will run on this node, and why not.
    Plan(plan::PlanArgs),
    /// Show versions.
    Version(version::VersionArgs),
}

/// Runs a command, all but `agent`, to its end: prints what it has to say and returns the exit code.
pub fn run(command: Command) -> ExitCode {
    if let Command::Validate(args) = &command {
        return ExitCode::from(validate::run(args));
    }
    if let Some(result) = offline(&command) {
        return ended(result);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(ask(command)),
        Err(cause) => Err(CliError::local(format!("this process cannot do anything: {cause}"))),
    };
    ended(result)
}

/// Commands that need no agent, nor anything to wait with.
fn offline(command: &Command) -> Option<Result<u8, CliError>> {
    match command {
        Command::Explain(args) => Some(explain::run(args)),
        Command::Schedule(args) => Some(schedule::run(args)),
        Command::Simulate(args) => Some(simulate::run(args)),
        _ => None,
    }
}

fn ended(result: Result<u8, CliError>) -> ExitCode {
    match result {
        Ok(code) => ExitCode::from(code),
        Err(CliError::Quiet) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

async fn ask(command: Command) -> Result<u8, CliError> {
    match command {
        Command::Get(args) => get::run(&args).await,
        Command::Describe(args) => describe_command::run(&args).await,
        Command::Logs(args) => logs::run(&args).await,
        Command::Events(args) => events::run(&args).await,
        Command::Top(args) => top::run(&args).await,
        Command::Exec(args) => exec::run(&args).await,
        Command::Attach(args) => attach::run(&args).await,
        Command::Cp(args) => cp::run(&args).await,
        Command::PortForward(args) => port_forward::run(&args).await,
        Command::Apply(args) => apply::apply(&args).await,
        Command::Diff(args) => diff::run(&args).await,
        Command::Delete(args) => delete::run(&args).await,
        Command::Wait(args) => wait::run(&args).await,
        Command::Trigger(args) => trigger::run(&args).await,
        Command::Rerun(args) => rerun::run(&args).await,
        Command::Rollout(args) => rollout::run(&args).await,
        Command::Plan(args) => plan::run(&args).await,
        Command::Cordon(args) => cordon::run(&args, true).await,
        Command::Uncordon(args) => cordon::run(&args, false).await,
        Command::Drain(args) => drain::run(&args).await,
        Command::Taint(args) => taint::run(&args).await,
        Command::Label(args) => label::run(&args, label::What::Label).await,
        Command::Annotate(args) => label::run(&args, label::What::Annotation).await,
        Command::Doctor(args) => doctor::run(*args).await,
        Command::Version(args) => version::run(&args).await,
        Command::Validate(_) | Command::Agent(_) | Command::Explain(_) | Command::Schedule(_) | Command::Simulate(_) => {
            Err(CliError::local("this command needs no agent to ask"))
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
