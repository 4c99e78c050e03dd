//! minik8s: the command line. `minik8s agent` is the daemon, the rest talks to it or works offline.

fn main() {}
