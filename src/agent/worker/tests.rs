//! The worker on stand-in drivers: what reaches the runtime, what becomes durable, and what a crash between any two calls leaves.

mod adoption;
mod clock;
mod configuration;
mod crash;
mod ending;
mod giving_up;
mod hooks;
mod images;
mod life;
mod network;
mod panics;
mod probing;
mod restart_all;
mod size;
mod told;
mod world;
