//! What the API server would say about an object when it is created: every fault at once, its field paths and its words.
//!
//! Expected flow: decode, `support::check`, `defaults::apply`, then [`validate`]. Rules of Kubernetes v1.36 (`pkg/apis/{core,apps,batch}/validation/validation.go`,
//! `staging/src/k8s.io/apimachinery/pkg/{api,util,apis/meta/v1}/validation`). One file per concept; each rule is a small function that takes what it checks, where it
//! stands, and where to put the faults. Left to others: immutable fields on update (the controllers replace), the schedule's syntax (`controllers::schedule`),
//! what this agent does not honour (`support`), and the sources of cloud volumes, which `support` refuses whole.
//!
//! Which of upstream's functions is covered by which rule and test, what is not applicable here and where we differ on purpose: the table in `coverage`.
//!
//! The types drop the difference between absent and empty for required fields, so an empty one is `Required value`.

mod annotations;
mod config;
mod container;
#[cfg(test)]
mod coverage;
mod cron_job;
mod daemon_set;
mod env;
mod field;
mod format;
mod job;
mod job_policy;
mod metadata;
mod network;
mod node;
mod pod;
mod pod_resources;
mod probes;
mod resources;
mod scheduling;
mod security;
mod spread;
mod stop_signal;
mod volumes;

use field::Faults;

use super::Object;
use super::fault::FieldFault;

/// All faults of a defaulted object, in the order of its fields as Kubernetes checks them. Kinds the agent makes itself are not checked.
pub fn validate(object: &Object) -> Vec<FieldFault> {
    let mut faults = Faults::default();
    match object {
        Object::DaemonSet(o) => daemon_set::daemon_set(o, &mut faults),
        Object::Job(o) => job::job(o, &mut faults),
        Object::CronJob(o) => cron_job::cron_job(o, &mut faults),
        Object::StaticPod(o) | Object::Pod(o) => pod::pod(o, &mut faults),
        Object::ConfigMap(o) => config::config_map(o, &mut faults),
        Object::Secret(o) => config::secret(o, &mut faults),
        Object::PersistentVolumeClaim(o) => config::claim(o, &mut faults),
        Object::Node(o) => node::node(o, &mut faults),
        Object::Event(_) | Object::ControllerRevision(_) => {}
    }
    faults.into_vec()
}

/// Whether a resource is one that a device plugin would advertise (IsExtendedResourceName).
pub fn is_extended_resource(name: &str) -> bool {
    resources::is_extended(name)
}

#[cfg(test)]
mod tests;
