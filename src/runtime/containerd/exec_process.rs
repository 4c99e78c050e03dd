//! The OCI process of an executed command: the container's own, with another command and perhaps a terminal. Pure.
//!
//! After containerd's `pkg/cri/server/container_execsync.go`.

use serde_json::{Map, Value, json};

use crate::runtime::exec::ExecConfig;

/// The process as JSON, from the container's OCI spec as JSON. Errors: there is no process in it.
pub(super) fn process_spec(container_spec: &[u8], config: &ExecConfig) -> Result<Vec<u8>, String> {
    let spec: Value = serde_json::from_slice(container_spec).map_err(|e| format!("the container's OCI spec cannot be read: {e}"))?;
    let Some(Value::Object(mut process)) = spec.get("process").cloned() else {
        return Err("the container's OCI spec has no process".to_owned());
    };
    process.insert("args".into(), json!(config.command));
    process.insert("terminal".into(), json!(config.tty.is_some()));
    process.remove("consoleSize");
    if let Some(size) = config.tty {
        set_variable(&mut process, "TERM=xterm");
        if let Some((width, height)) = size {
            process.insert("consoleSize".into(), json!({"width": width, "height": height}));
        }
    }
    serde_json::to_vec(&process).map_err(|e| e.to_string())
}

fn set_variable(process: &mut Map<String, Value>, assignment: &str) {
    let name = assignment.split_inclusive('=').next().unwrap_or_default();
    let env = process.entry("env").or_insert_with(|| json!([]));
    if let Value::Array(env) = env {
        env.retain(|v| v.as_str().is_none_or(|v| !v.starts_with(name)));
        env.push(json!(assignment));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(tty: Option<Option<(u16, u16)>>) -> Value {
        let spec = json!({"process": {
            "args": ["sleep", "1"], "cwd": "/data", "env": ["A=b", "TERM=linux"], "user": {"uid": 7, "gid": 8, "additionalGids": [9]},
            "capabilities": {"bounding": ["CAP_CHOWN"]}, "noNewPrivileges": true, "apparmorProfile": "p", "terminal": true,
            "consoleSize": {"width": 1, "height": 1},
        }, "root": {"path": "rootfs"}});
        let config = ExecConfig { container_id: "c".into(), command: vec!["ls".into(), "-l".into()], stdin: true, tty };
        serde_json::from_slice(&process_spec(spec.to_string().as_bytes(), &config).unwrap()).unwrap()
    }

    #[test]
    fn it_is_the_containers_process_with_another_command() {
        let expected = json!({
            "args": ["ls", "-l"], "cwd": "/data", "env": ["A=b", "TERM=linux"], "user": {"uid": 7, "gid": 8, "additionalGids": [9]},
            "capabilities": {"bounding": ["CAP_CHOWN"]}, "noNewPrivileges": true, "apparmorProfile": "p", "terminal": false,
        });
        assert_eq!(of(None), expected);
    }

    #[test]
    fn a_terminal_has_a_type_and_a_size() {
        let process = of(Some(Some((80, 24))));
        assert_eq!((&process["terminal"], &process["env"]), (&json!(true), &json!(["A=b", "TERM=xterm"])));
        assert_eq!(process["consoleSize"], json!({"width": 80, "height": 24}));
        assert!(of(Some(None)).get("consoleSize").is_none());
    }

    #[test]
    fn a_record_without_a_process_is_an_error() {
        let config = ExecConfig { container_id: "c".into(), command: vec!["ls".into()], stdin: false, tty: None };
        assert!(process_spec(b"{}", &config).unwrap_err().contains("no process"));
        assert!(process_spec(b"", &config).is_err());
    }
}
