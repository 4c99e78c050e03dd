//! A scenario's text: how the node behaves and what is done to it when, then the manifests. For tests, and for a user who wants to show a case.
//!
//! ```text
//! run-time 30s
//! exit-codes 1,0
//! at 10m clock +2h
//! at 20m manifests 2
//! ---            the first manifests, until a line of = or the end
//! ====
//! ...            manifests 2
//! ```

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Taint};

use super::{Change, Settings};
use crate::api::fault::Severity;
use crate::api::schedule::{duration, zone};
use crate::api::{Object, manifest};
use crate::controllers::sync::sourced;

/// Reads a scenario. Errors: the line, and what is wrong with it.
pub fn parse(text: &str) -> Result<(Settings, Vec<(SignedDuration, Change)>), String> {
    let (head, body) = text.split_once("\n---\n").ok_or("a scenario has a line --- before its manifests")?;
    let sets: Vec<&str> = body.split("\n====\n").collect();
    let sets = sets.into_iter().enumerate().map(|(n, set)| manifests(n + 1, set)).collect::<Result<Vec<_>, _>>()?;
    let mut settings = defaults();
    let mut changes = vec![(SignedDuration::ZERO, Change::Manifests(sets.first().cloned().unwrap_or_default()))];
    for (number, line) in head.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let read = match words.as_slice() {
            ["at", after, rest @ ..] => duration(after).and_then(|at| Ok((at, change(rest, &sets)?))).map(|c| changes.push(c)),
            [name, value] => set(&mut settings, name, value),
            _ => Err("write NAME VALUE or at DURATION CHANGE".to_owned()),
        };
        read.map_err(|error| format!("line {}: {line:?}: {error}", number + 1))?;
    }
    Ok((settings, changes))
}

/// A node of no particular kind, containers that run for 30 s and end with 0.
pub fn defaults() -> Settings {
    let mut node = Node::default();
    let labels = [("kubernetes.io/hostname", "node"), ("kubernetes.io/os", "linux"), ("kubernetes.io/arch", "amd64")];
    node.metadata.name = Some("node".to_owned());
    node.metadata.labels = Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    Settings {
        node,
        zone: TimeZone::UTC,
        from: Timestamp::from_second(1_767_225_600).unwrap_or_default(),
        until: SignedDuration::from_hours(2),
        run_time: SignedDuration::from_secs(30),
        start_time: SignedDuration::from_millis(1500),
        stop_time: SignedDuration::ZERO,
        no_images_for: SignedDuration::ZERO,
        exit_codes: Vec::new(),
        backoff_cap: Duration::from_secs(300),
    }
}

/// `1,1,0`.
pub fn exit_codes(text: &str) -> Result<Vec<i32>, String> {
    let code = |word: &str| {
        word.trim().parse().ok().filter(|code| (0..=255).contains(code)).ok_or(format!("{word:?} is no exit code: write 0 to 255"))
    };
    text.split(',').map(code).collect()
}

fn set(settings: &mut Settings, name: &str, value: &str) -> Result<(), String> {
    match name {
        "from" => settings.from = value.parse().map_err(|e| format!("{e}"))?,
        "until" => settings.until = duration(value)?,
        "run-time" => settings.run_time = duration(value)?,
        "start-time" => settings.start_time = duration(value)?,
        "stop-time" => settings.stop_time = duration(value)?,
        "no-images-for" => settings.no_images_for = duration(value)?,
        "exit-codes" => settings.exit_codes = exit_codes(value)?,
        "zone" => settings.zone = zone(value).map_err(|e| e.to_string())?,
        "allocatable" => {
            let (resource, amount) = value.split_once('=').ok_or("write RESOURCE=AMOUNT")?;
            let quantity = k8s_openapi::apimachinery::pkg::api::resource::Quantity(amount.to_owned());
            let status = settings.node.status.get_or_insert_default();
            status.allocatable.get_or_insert_default().insert(resource.to_owned(), quantity);
        }
        _ => return Err("write from, until, run-time, start-time, stop-time, no-images-for, exit-codes, zone or allocatable".to_owned()),
    }
    Ok(())
}

fn change(words: &[&str], sets: &[Vec<Object>]) -> Result<Change, String> {
    match words {
        ["manifests", number] => {
            let set = number.parse::<usize>().ok().and_then(|n| sets.get(n.checked_sub(1)?));
            set.cloned().map(Change::Manifests).ok_or(format!("there are {} sets of manifests", sets.len()))
        }
        ["clock", by] => duration(by).map(Change::Clock),
        ["taint", taint] => {
            let (head, effect) = taint.rsplit_once(':').ok_or("write key[=value]:Effect")?;
            let (key, value) = head.split_once('=').map_or((head, None), |(key, value)| (key, Some(value.to_owned())));
            Ok(Change::Taint(Taint { key: key.to_owned(), value, effect: effect.to_owned(), time_added: None }))
        }
        ["untaint", key] => Ok(Change::Untaint((*key).to_owned())),
        ["label", pair] => match pair.split_once('=') {
            Some((key, value)) => Ok(Change::Label(key.to_owned(), Some(value.to_owned()))),
            None => Ok(Change::Label(pair.trim_end_matches('-').to_owned(), None)),
        },
        ["reboot"] => Ok(Change::Reboot),
        ["cordon"] => Ok(Change::Cordon(true)),
        ["uncordon"] => Ok(Change::Cordon(false)),
        _ => Err("write manifests N, clock ±DURATION, reboot, taint, untaint, label, cordon or uncordon".to_owned()),
    }
}

fn manifests(number: usize, text: &str) -> Result<Vec<Object>, String> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let file = format!("{number}.yaml");
    let decoded = manifest::decode(&file, text.as_bytes());
    let refused: Vec<String> = decoded.faults.iter().filter(|f| f.severity == Severity::Error).map(ToString::to_string).collect();
    if !refused.is_empty() {
        return Err(format!("manifests {number}: {}", refused.join("; ")));
    }
    // One place for all sets: that an object moved to another file is no part of a scenario.
    Ok(decoded.documents.into_iter().filter_map(|d| Some(sourced(d.object?, "scenario.yaml", d.index))).collect())
}
