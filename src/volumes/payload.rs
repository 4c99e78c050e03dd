//! What configuration volumes hold, as a value: decided by `config`, written by the driver.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// One file of a configuration volume.
#[derive(Clone, PartialEq, Eq)]
pub struct PayloadFile {
    /// What is in it.
    pub data: Vec<u8>,
    /// Its permissions.
    pub mode: u32,
}

impl std::fmt::Debug for PayloadFile {
    /// The size only: it may be a Secret's.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes, mode {:04o}", self.data.len(), self.mode)
    }
}

/// The files of a pod's configuration volumes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payloads {
    /// When they were put together: the name of the directory that holds them.
    pub at: Timestamp,
    /// Volume name → path in it → file.
    pub volumes: BTreeMap<String, BTreeMap<String, PayloadFile>>,
}

/// A volumeMount's subPath to be made ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubPath {
    /// The container.
    pub container: String,
    /// Which of its volumeMounts, from 0.
    pub index: usize,
    /// The volume.
    pub volume: String,
    /// The path in the volume, relative and without `..`.
    pub path: String,
}
