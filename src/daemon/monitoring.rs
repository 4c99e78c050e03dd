//! The tasks that serve monitoring: the address asked for, and what has to be counted as it happens.

use std::net::SocketAddr;

use anyhow::Context as _;
use minik8s::grpc::ApiState;
use minik8s::metrics::{self, starts};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Listens on `address`, if there is one. Errors: it cannot be had, with what to do.
pub(super) async fn listen(address: Option<SocketAddr>) -> anyhow::Result<Option<TcpListener>> {
    let Some(address) = address else { return Ok(None) };
    let listener = TcpListener::bind(address).await;
    listener
        .map(Some)
        .with_context(|| format!("cannot listen on --metrics-address {address}; choose an address of this host and a free port"))
}

/// Starts them. They end when aborted.
pub(super) fn spawn(listener: Option<TcpListener>, state: &ApiState) -> Vec<JoinHandle<()>> {
    let observing = tokio::spawn(starts::observe(state.store.clone(), state.clock.clone(), state.pulse.starts.clone()));
    let serving = listener.map(|listener| tokio::spawn(metrics::serve(listener, state.clone())));
    [observing].into_iter().chain(serving).collect()
}
