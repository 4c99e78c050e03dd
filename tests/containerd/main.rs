//! Tests against real runtimes: runc and a private containerd. They need root and fail, rather than skip, where they cannot run.

mod oci;
