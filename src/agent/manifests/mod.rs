//! The manifests directory as a value: every time something in it changes, a new [`ManifestSet`].
//!
//! A thread of its own scans the directory, watches it by inotify and looks again slowly for what inotify cannot see (NFS).
//!
//! # Guarantees
//! * Only files whose stamp changed, or is too young to tell, are read again, and only those whose bytes changed are decoded; a set is published
//!   only if something differs.
//! * A file that is faulty, empty, unreadable or unsafe is in [`ManifestSet::keep`]: what it last defined stays.
//! * A directory that vanished (unmounted, another device, unreadable) is kept likewise, whole ([`root::judge`]).
//! * A file system that hangs holds that thread and nobody else, and is told ([`tell_silence`]).
//!
//! What the set means for the Store is decided in `controllers::sync`.

mod events;
mod reading;
mod root;
mod scan;
mod set;
mod silence;
mod watch;
mod writers;

pub use set::ManifestSet;
pub(super) use set::name_of;
pub use silence::tell_silence;
pub use watch::{Watcher, spawn};
pub use writers::writers;
