//! tcpSocket: does something accept a connection (pkg/probe/tcp/tcp.go).

use std::time::Duration;

use tokio::net::TcpStream;

use super::{Outcome, dial_error};

/// Connects and hangs up.
pub(super) async fn probe(address: &str, timeout: Duration) -> Outcome {
    match tokio::time::timeout(timeout, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Outcome::Passed(None),
        Ok(Err(error)) => Outcome::Failed(dial_error(address, &error)),
        Err(_) => Outcome::Failed(format!("dial tcp {address}: i/o timeout")),
    }
}
