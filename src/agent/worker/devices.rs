//! The devices that a container was given, brought into its spec: gathers what `oci::HandedOut` decides from.

use std::iter::once;

use k8s_openapi::api::core::v1::Pod;
use oci_spec::runtime::Spec;

use super::start::Failure;
use crate::admission::devices::{had, named_twice};
use crate::agent::Drivers;
use crate::agent::reconcile::bound_pods;
use crate::api::devices::{self, Device};
use crate::oci::{HandedOut, OnHost, wants_cdi};

/// Adds the devices that the pod's binding gave to this container. Looked up anew at each start: a device may have come back, a file been mended.
///
/// # Errors
/// CreateContainerError: what is not there, in containerd's words where it has them, or which other pod has it.
pub(super) fn hand_out(drivers: &Drivers, pod: &Pod, container: &str, spec: &mut Spec) -> Result<(), Failure> {
    let assigned = devices::of_pod(pod).map_err(Failure::Create)?;
    let units = assigned.get(container).into_iter().flat_map(|by_resource| by_resource.values().flatten());
    let wanted: Vec<Device> = units.flat_map(|unit| unit.devices.iter().cloned()).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let others = bound_pods(&*drivers.store);
    let numbers = drivers.devices.numbers(had(others.iter().filter_map(|o| o.as_pod()).chain(once(pod))));
    if let Some(why) = named_twice(pod, &others, &numbers) {
        return Err(Failure::Create(why));
    }
    let files = if wants_cdi(&wanted) { drivers.devices.cdi() } else { Vec::new() };
    let handed = HandedOut::new(&wanted, &files).map_err(|e| Failure::Create(e.to_string()))?;
    let look = |path: &str| (path.to_owned(), drivers.devices.node(path).map_err(|e| e.to_string()));
    let on_host: OnHost = handed.paths().into_iter().map(look).collect();
    handed.apply(spec, &on_host).map_err(Failure::Create)
}
