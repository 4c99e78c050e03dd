//! The tables of `top`, sums and order, as `staging/src/k8s.io/kubectl/pkg/metricsutil/metrics_printer.go` prints them. Pure.

use std::cmp::Reverse;

use crate::cli::tabwriter::{self, TABLE};
use crate::grpc::pb::{PodUsage, Usage};

/// What comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum SortBy {
    /// The most CPU.
    Cpu,
    /// The most memory.
    Memory,
}

/// What of a table is shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct View {
    /// A first column with the namespace.
    pub namespace: bool,
    /// A row for each container.
    pub containers: bool,
    /// No header.
    pub headerless: bool,
    /// The sum at the end.
    pub sum: bool,
    /// The order; by name if there is none.
    pub sort_by: Option<SortBy>,
}

/// What 100 % are, in thousandths of a CPU and of a byte; unknown is not shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Available {
    /// CPU.
    pub cpu_millis: Option<i128>,
    /// Memory.
    pub memory_millis: Option<i128>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Amount {
    cpu: u64,
    memory: u64,
}

impl Amount {
    fn of(usage: &Usage) -> Amount {
        Amount { cpu: usage.cpu_nanocores, memory: usage.memory_bytes }
    }

    fn sum(all: impl Iterator<Item = Amount>) -> Amount {
        all.fold(Amount::default(), |sum, one| Amount {
            cpu: sum.cpu.saturating_add(one.cpu),
            memory: sum.memory.saturating_add(one.memory),
        })
    }

    fn of_pod(pod: &PodUsage) -> Amount {
        Amount::sum(pod.containers.iter().map(Amount::of))
    }

    /// Rounded up, as Quantity.MilliValue.
    fn millicores(self) -> u64 {
        self.cpu.div_ceil(1_000_000)
    }

    fn order(self, by: SortBy) -> Reverse<u64> {
        Reverse(if by == SortBy::Cpu { self.cpu } else { self.memory })
    }
}

/// The table of pods.
pub fn pods(mut pods: Vec<PodUsage>, view: View) -> String {
    // Equal ones in the order of their names.
    pods.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    if let Some(by) = view.sort_by {
        pods.sort_by_key(|pod| Amount::of_pod(pod).order(by));
    }
    let lead = |pod: &PodUsage| if view.namespace { format!("{}\t", pod.namespace) } else { String::new() };
    let mut text = String::new();
    if !view.headerless {
        let namespace = if view.namespace { "NAMESPACE\t" } else { "" };
        let pod = if view.containers { "POD\t" } else { "" };
        text.push_str(&format!("{namespace}{pod}NAME\tCPU(cores)\tMEMORY(bytes)\t\n"));
    }
    for pod in &mut pods {
        if !view.containers {
            text.push_str(&format!("{}{}", lead(pod), line(&pod.name, Amount::of_pod(pod))));
            continue;
        }
        pod.containers.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(by) = view.sort_by {
            pod.containers.sort_by_key(|container| Amount::of(container).order(by));
        }
        for container in &pod.containers {
            text.push_str(&format!("{}{}\t{}", lead(pod), pod.name, line(&container.name, Amount::of(container))));
        }
    }
    if view.sum {
        // kubectl counts these columns in the header only.
        let columns = if view.headerless { 0 } else { usize::from(view.namespace) + usize::from(view.containers) };
        let total = Amount::sum(pods.iter().map(Amount::of_pod));
        text.push_str(&format!("{}________\t________\t\n{}{}", "\t".repeat(columns + 1), "\t".repeat(columns), line("", total)));
    }
    tabwriter::align(&text, TABLE)
}

fn line(name: &str, amount: Amount) -> String {
    format!("{name}\t{}m\t{}Mi\t\n", amount.millicores(), amount.memory >> 20)
}

/// The table of the node.
pub fn node(usage: &Usage, available: Available, headerless: bool) -> String {
    let amount = Amount::of(usage);
    let header = if headerless { "" } else { "NAME\tCPU(cores)\tCPU(%)\tMEMORY(bytes)\tMEMORY(%)\t\n" };
    let cpu = percent(amount.millicores().into(), available.cpu_millis);
    let memory = percent(i128::from(amount.memory) * 1000, available.memory_millis);
    let row = format!("{}\t{}m\t{cpu}{}Mi\t{memory}\n", usage.name, amount.millicores(), amount.memory >> 20);
    tabwriter::align(&format!("{header}{row}"), TABLE)
}

fn percent(used: i128, of: Option<i128>) -> String {
    match of {
        None => String::new(),
        Some(of) if of <= 0 => "0%\t".to_owned(),
        Some(of) => format!("{}%\t", used * 100 / of),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(name: &str, cpu_nanocores: u64, mebibytes: u64) -> Usage {
        Usage { name: name.into(), cpu_nanocores, memory_bytes: mebibytes << 20 }
    }

    fn two() -> Vec<PodUsage> {
        let pod = |namespace: &str, name: &str, containers| PodUsage { namespace: namespace.into(), name: name.into(), containers };
        vec![
            pod("b", "idle", vec![usage("c", 1, 100)]),
            pod("a", "web-7xk2p", vec![usage("side", 500_000, 1), usage("main", 250_000_000, 10)]),
        ]
    }

    #[test]
    fn pods_are_sums_rounded_up() {
        let expected = "NAME        CPU(cores)   MEMORY(bytes)   \nweb-7xk2p   251m         11Mi            \nidle        1m           100Mi           \n";
        assert_eq!(pods(two(), View::default()), expected);
    }

    #[test]
    fn containers_and_namespaces_have_columns() {
        let view = View { containers: true, namespace: true, sort_by: Some(SortBy::Cpu), ..View::default() };
        let expected = "\
NAMESPACE   POD         NAME   CPU(cores)   MEMORY(bytes)   \n\
a           web-7xk2p   main   250m         10Mi            \n\
a           web-7xk2p   side   1m           1Mi             \n\
b           idle        c      1m           100Mi           \n";
        assert_eq!(pods(two(), view), expected);
    }

    #[test]
    fn memory_orders_and_sums_stand_below() {
        let view = View { sort_by: Some(SortBy::Memory), sum: true, ..View::default() };
        let expected = [
            "NAME        CPU(cores)   MEMORY(bytes)   \n",
            "idle        1m           100Mi           \n",
            "web-7xk2p   251m         11Mi            \n",
            "            ________     ________        \n",
            "            251m         111Mi           \n",
        ];
        assert_eq!(pods(two(), view), expected.concat());
        assert!(pods(two(), View { headerless: true, ..View::default() }).starts_with("web-7xk2p"));
    }

    #[test]
    fn a_node_has_percentages() {
        let available = Available { cpu_millis: Some(2000), memory_millis: Some((4096_i128 << 20) * 1000) };
        let expected =
            "NAME   CPU(cores)   CPU(%)   MEMORY(bytes)   MEMORY(%)   \nn1     500m         25%      1024Mi          25%         \n";
        assert_eq!(node(&usage("n1", 500_000_000, 1024), available, false), expected);
    }
}
