//! The process: arguments, working directory, terminal, and what the other files of this room say about its user and rights.

use oci_spec::runtime::{Process, ProcessBuilder};

use super::expansion::expand;
use super::{Inputs, OciError, capabilities, env, labels, resources, security, user};

/// The container's process.
pub(super) fn process(inputs: &Inputs) -> Result<Process, OciError> {
    let own_env = env::own(inputs)?;
    let process = ProcessBuilder::default()
        .terminal(inputs.container.tty.unwrap_or(false))
        .user(user::user(inputs)?)
        .args(args(inputs, &own_env)?)
        .env(env::all(inputs, &own_env))
        .cwd(working_dir(inputs))
        .capabilities(capabilities::capabilities(inputs)?)
        .no_new_privileges(security::no_new_privileges(inputs.container))
        .oom_score_adj(resources::oom_score_adj(inputs))
        .build();
    let mut process = process.expect("every field of process has a default");
    process
        .set_rlimits(None)
        .set_apparmor_profile(labels::apparmor(inputs)?)
        .set_selinux_label(labels::selinux(inputs)?.map(|l| l.process));
    Ok(process)
}

/// command and args over Entrypoint and Cmd: `command` replaces both, `args` alone replaces Cmd only (internal/cri/opts WithProcessArgs).
fn args(inputs: &Inputs, own_env: &[(String, String)]) -> Result<Vec<String>, OciError> {
    let lookup = |name: &str| own_env.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.clone());
    let expanded = |list: &Option<Vec<String>>| list.iter().flatten().map(|a| expand(a, lookup)).collect::<Vec<_>>();
    let (mut command, mut args) = (expanded(&inputs.container.command), expanded(&inputs.container.args));
    if command.is_empty() {
        let image = inputs.image_config();
        if args.is_empty() {
            args = image.and_then(|c| c.cmd().clone()).unwrap_or_default();
        }
        command = image.and_then(|c| c.entrypoint().clone()).filter(|e| e != &[""]).unwrap_or_default();
    }
    command.append(&mut args);
    if command.is_empty() { Err(OciError::NoCommand) } else { Ok(command) }
}

fn working_dir(inputs: &Inputs) -> String {
    let own = inputs.container.working_dir.clone().filter(|d| !d.is_empty());
    let image = || inputs.image_config().and_then(|c| c.working_dir().clone()).filter(|d| !d.is_empty());
    let dir = own.or_else(image).unwrap_or_else(|| "/".to_owned());
    // runc wants an absolute path; an image's WORKDIR may lack the slash.
    if dir.starts_with('/') { dir } else { format!("/{dir}") }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Case;
    use super::super::{OciError, build};

    #[test]
    fn command_and_args_over_entrypoint_and_cmd() {
        let image = r#"{"Entrypoint": ["/ep", "-e"], "Cmd": ["c1", "c2"]}"#;
        for (yaml, image, expected) in [
            ("{}", image, vec!["/ep", "-e", "c1", "c2"]),
            ("{args: [a]}", image, vec!["/ep", "-e", "a"]),
            ("{command: [/c]}", image, vec!["/c"]),
            ("{command: [/c], args: [a, b]}", image, vec!["/c", "a", "b"]),
            ("{command: [], args: []}", image, vec!["/ep", "-e", "c1", "c2"]),
            ("{}", r#"{"Entrypoint": [""], "Cmd": ["sh"]}"#, vec!["sh"]),
            ("{args: [a]}", "{}", vec!["a"]),
            (
                "{env: [{name: NAME, value: v}], command: [\"$(NAME)\", \"$$(NAME)\"], args: [\"$(PATH)\"]}",
                image,
                vec!["v", "$(NAME)", "$(PATH)"],
            ),
        ] {
            let spec = Case::new(yaml).image(image).build();
            assert_eq!(spec.process().as_ref().unwrap().args().as_ref().unwrap(), &expected, "{yaml}");
        }
        assert_eq!(build(&Case::new("{}").image("{}").inputs()), Err(OciError::NoCommand));
    }

    #[test]
    fn working_directory_and_terminal() {
        for (yaml, image, expected) in [
            ("{workingDir: /w}", r#"{"Cmd": ["x"], "WorkingDir": "/i"}"#, "/w"),
            ("{}", r#"{"Cmd": ["x"], "WorkingDir": "srv"}"#, "/srv"),
            ("{}", r#"{"Cmd": ["x"]}"#, "/"),
        ] {
            let spec = Case::new(yaml).image(image).build();
            assert_eq!(spec.process().as_ref().unwrap().cwd().to_str(), Some(expected));
        }
        assert_eq!(Case::new("{tty: true}").build().process().as_ref().unwrap().terminal(), Some(true));
    }
}
