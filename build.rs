//! Generates the agent's API from `proto`: messages, clients, servers and the descriptor set for reflection.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-env-changed=PROTOC");
    watch_the_linker();
    match generate() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            println!("cargo::error={message}");
            ExitCode::FAILURE
        }
    }
}

/// What the linker of released programs goes by (packaging/layout/cargo): when it changes, they are built again.
fn watch_the_linker() {
    if std::env::var_os("RUSTC_LINKER").is_some_and(|linker| PathBuf::from(linker).ends_with("packaging/layout/cc")) {
        for file in ["cc", "names", "functions"] {
            println!("cargo::rerun-if-changed=packaging/layout/{file}");
        }
    }
}

fn generate() -> Result<(), String> {
    let protoc = std::env::var_os("PROTOC").map_or_else(|| PathBuf::from("protoc"), PathBuf::from);
    if let Err(cause) = Command::new(&protoc).arg("--version").output() {
        return Err(format!(
            "the Protobuf compiler {} cannot be run ({cause}): install it (Debian: apt-get install protobuf-compiler) or set PROTOC to where it is",
            protoc.display()
        ));
    }
    let out = std::env::var_os("OUT_DIR").map(PathBuf::from).ok_or("cargo sets OUT_DIR, run this through cargo")?;
    tonic_prost_build::configure()
        .file_descriptor_set_path(out.join("minik8s.bin"))
        .compile_protos(&["proto/minik8s.proto", "proto/streams.proto"], &["proto"])
        .map_err(|cause| format!("proto: {cause}"))
}
