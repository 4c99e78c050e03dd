//! What may stand in a manifest: workloads as small values, and their Kubernetes objects.

use std::sync::Arc;

use minik8s::api::{Kind, Object, defaults, well_known};
use serde_json::{Value, json};

use super::dice::{self, Dice};

/// What a container does. It travels in its command, as a real program's flags do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// How many of a thousand runs fail.
    pub fails: u64,
    /// How long a run takes, in seconds; 0 = for ever.
    pub longest: u64,
    /// It does not heed SIGTERM.
    pub stubborn: bool,
    /// Changes with an edit of the template.
    pub version: u64,
    pub init: bool,
    pub sidecar: bool,
    pub grace: u64,
}

/// How a Job counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    NonIndexed,
    Indexed,
    WorkQueue,
}

/// A Job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    pub program: Program,
    pub never: bool,
    pub mode: Mode,
    pub completions: u64,
    pub parallelism: u64,
    pub backoff_limit: u64,
    pub deadline: Option<u64>,
    pub ttl: Option<u64>,
    pub suspend: bool,
    pub replace_failed_only: bool,
    pub per_index: Option<u64>,
    pub policy: bool,
    pub success_policy: bool,
    pub zone: bool,
}

/// A workload of any kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Workload {
    Job(Task),
    CronJob { task: Task, minutes: u64, policy: &'static str, suspend: bool, deadline: Option<u64>, history: u64 },
    DaemonSet { program: Program, surge: bool, on_delete: bool, tolerant: bool, zone: bool },
    Pod { program: Program, policy: &'static str },
}

impl Program {
    fn draw(dice: &mut Dice, ends: bool) -> Program {
        Program {
            fails: dice.pick(&[0, 0, 150, 400, 1000]),
            longest: if ends { dice.pick(&[1, 5, 30, 90]) } else { dice.pick(&[0, 0, 0, 300]) },
            stubborn: dice.chance(150),
            version: 0,
            init: dice.chance(120),
            sidecar: dice.chance(100),
            grace: dice.pick(&[0, 1, 5, 30]),
        }
    }

    fn spec(&self, policy: &str, zone: bool, tolerant: bool) -> Value {
        let command = |longest: u64, fails: u64| {
            json!(["program", longest.to_string(), fails.to_string(), u8::from(self.stubborn).to_string(), self.version.to_string()])
        };
        let container = |name: &str, command: Value| json!({"name": name, "image": "registry.test/program:1", "command": command});
        let mut inits = Vec::new();
        if self.init {
            inits.push(container("init", command(3, self.fails / 4)));
        }
        if self.sidecar {
            let mut sidecar = container("sidecar", command(0, 0));
            sidecar["restartPolicy"] = json!("Always");
            inits.push(sidecar);
        }
        let mut spec = json!({
            "restartPolicy": policy,
            "terminationGracePeriodSeconds": self.grace,
            "dnsPolicy": "Default",
            "containers": [container("main", command(self.longest, self.fails))],
        });
        if !inits.is_empty() {
            spec["initContainers"] = json!(inits);
        }
        if zone {
            spec["nodeSelector"] = json!({"zone": "a"});
        }
        if self.init || self.sidecar {
            spec["hostUsers"] = json!(false);
        }
        if tolerant {
            spec["tolerations"] = json!([{"operator": "Exists"}]);
        }
        spec
    }
}

impl Task {
    fn draw(dice: &mut Dice) -> Task {
        let mode = dice.pick(&[Mode::NonIndexed, Mode::NonIndexed, Mode::Indexed, Mode::Indexed, Mode::WorkQueue]);
        let never = dice.chance(600);
        Task {
            program: Program::draw(dice, true),
            never,
            mode,
            completions: dice.between(1, 4),
            parallelism: dice.between(1, 3),
            backoff_limit: dice.pick(&[0, 1, 3, 4]),
            deadline: dice.maybe(100, |d| d.pick(&[5, 60, 600])),
            ttl: dice.maybe(200, |d| d.pick(&[0, 10, 120])),
            suspend: dice.chance(80),
            replace_failed_only: dice.chance(300),
            per_index: if mode == Mode::Indexed && never { dice.maybe(400, |d| d.below(3)) } else { None },
            policy: never && dice.chance(150),
            success_policy: mode == Mode::Indexed && dice.chance(100),
            zone: dice.chance(60),
        }
    }

    fn spec(&self) -> Value {
        let policy = if self.never { "Never" } else { "OnFailure" };
        let mut spec = json!({
            "parallelism": self.parallelism,
            "suspend": self.suspend,
            "template": {"metadata": {"labels": {"app": "job"}}, "spec": self.program.spec(policy, self.zone, false)},
        });
        if self.mode != Mode::WorkQueue {
            spec["completions"] = json!(self.completions);
        }
        if self.mode == Mode::Indexed {
            spec["completionMode"] = json!("Indexed");
        }
        match self.per_index {
            Some(limit) => spec["backoffLimitPerIndex"] = json!(limit),
            None => spec["backoffLimit"] = json!(self.backoff_limit),
        }
        if let Some(seconds) = self.deadline {
            spec["activeDeadlineSeconds"] = json!(seconds);
        }
        if let Some(seconds) = self.ttl {
            spec["ttlSecondsAfterFinished"] = json!(seconds);
        }
        if self.policy {
            let codes = |action: &str, code: u64| json!({"action": action, "onExitCodes": {"operator": "In", "values": [code]}});
            spec["podFailurePolicy"] = json!({"rules": [codes("Ignore", 42), codes("FailJob", 3)]});
        }
        if self.replace_failed_only || self.policy {
            spec["podReplacementPolicy"] = json!("Failed");
        }
        if self.success_policy {
            spec["successPolicy"] = json!({"rules": [{"succeededCount": 1}]});
        }
        spec
    }
}

impl Workload {
    /// Any workload.
    pub fn draw(dice: &mut Dice) -> Workload {
        match dice.below(10) {
            0..5 => Workload::Job(Task::draw(dice)),
            5..7 => Workload::CronJob {
                task: Task::draw(dice),
                minutes: dice.between(1, 4),
                policy: dice.pick(&["Allow", "Forbid", "Forbid", "Replace"]),
                suspend: dice.chance(50),
                deadline: dice.maybe(300, |d| d.pick(&[20, 200])),
                history: dice.below(3),
            },
            7..9 => Workload::DaemonSet {
                program: Program::draw(dice, false),
                surge: dice.chance(400),
                on_delete: dice.chance(150),
                tolerant: dice.chance(200),
                zone: dice.chance(100),
            },
            _ => Workload::Pod { program: Program::draw(dice, true), policy: dice.pick(&["Always", "OnFailure", "Never"]) },
        }
    }

    /// The same workload, edited.
    pub fn edited(&self, dice: &mut Dice) -> Workload {
        let mut next = self.clone();
        match &mut next {
            Workload::Job(task) => edit(task, dice),
            Workload::CronJob { task, policy, suspend, minutes, .. } => match dice.below(4) {
                0 => *policy = dice.pick(&["Allow", "Forbid", "Replace"]),
                1 => *suspend = !*suspend,
                2 => *minutes = dice.between(1, 4),
                _ => edit(task, dice),
            },
            Workload::DaemonSet { program, surge, .. } => match dice.chance(700) {
                true => program.version += 1,
                false => *surge = !*surge,
            },
            Workload::Pod { program, .. } => program.version += 1,
        }
        next
    }

    /// The same workload as it may come to rest: nothing new is due.
    pub fn quiet(&self) -> Workload {
        let mut next = self.clone();
        if let Workload::CronJob { suspend, .. } = &mut next {
            *suspend = true;
        }
        next
    }

    /// What makes it another object, whatever else is changed in place.
    pub fn identity(&self) -> String {
        match self {
            Workload::Job(t) => format!("{:?}{}{}{:?}{:?}{:?}{}", t.program, t.never, t.completions, t.mode, t.per_index, t.policy, t.zone),
            _ => String::new(),
        }
    }

    /// The object as the manifests room gives it: defaults filled in, source and hash noted.
    pub fn object(&self, name: &str) -> Arc<Object> {
        let meta = json!({"name": name, "namespace": "default"});
        let (kind, mut value) = match self {
            Workload::Job(task) => (Kind::Job, json!({"spec": task.spec()})),
            Workload::CronJob { task, minutes, policy, suspend, deadline, history } => {
                let mut spec = json!({
                    "schedule": format!("*/{minutes} * * * *"), "timeZone": "Etc/UTC", "concurrencyPolicy": policy, "suspend": suspend,
                    "successfulJobsHistoryLimit": history, "failedJobsHistoryLimit": 1, "jobTemplate": {"spec": task.spec()},
                });
                if let Some(seconds) = deadline {
                    spec["startingDeadlineSeconds"] = json!(seconds);
                }
                (Kind::CronJob, json!({"spec": spec}))
            }
            Workload::DaemonSet { program, surge, on_delete, tolerant, zone } => {
                let labels = json!({"app": name});
                let strategy = match (on_delete, surge) {
                    (true, _) => json!({"type": "OnDelete"}),
                    (_, true) => json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}),
                    (_, false) => json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}),
                };
                let template = json!({"metadata": {"labels": labels}, "spec": program.spec("Always", *zone, *tolerant)});
                (Kind::DaemonSet, json!({"spec": {"selector": {"matchLabels": labels}, "template": template, "updateStrategy": strategy}}))
            }
            Workload::Pod { program, policy } => (Kind::StaticPod, json!({"spec": program.spec(policy, false, false)})),
        };
        value["metadata"] = meta;
        noted(kind, &value, &format!("{name}.yaml"))
    }
}

fn edit(task: &mut Task, dice: &mut Dice) {
    match dice.below(7) {
        0 | 1 => task.parallelism = dice.between(0, 4),
        2 => task.suspend = !task.suspend,
        3 => task.ttl = Some(dice.between(0, 60)),
        4 => task.deadline = Some(dice.pick(&[10, 300])),
        5 => task.backoff_limit += 1,
        _ => task.program.version += 1,
    }
}

/// The Node's manifest: labels and taints come and go.
pub fn node(zone: &str, taint: Option<&str>, cordoned: bool) -> Arc<Object> {
    let taints: Vec<Value> = taint.map(|effect| json!({"key": "k", "value": "v", "effect": effect})).into_iter().collect();
    let value = json!({"metadata": {"name": "node", "labels": {"zone": zone}}, "spec": {"taints": taints, "unschedulable": cordoned}});
    noted(Kind::Node, &value, "node.yaml")
}

fn noted(kind: Kind, value: &Value, path: &str) -> Arc<Object> {
    let text = value.to_string();
    let mut object = Object::from_json(kind, text.as_bytes()).unwrap();
    defaults::apply(&mut object);
    let annotations = object.meta_mut().annotations.get_or_insert_default();
    annotations.insert(well_known::SOURCE.to_owned(), format!("{path}#0"));
    annotations.insert(well_known::MANIFEST_HASH.to_owned(), format!("{:016x}", dice::of_text(0, &text)));
    Arc::new(object)
}
