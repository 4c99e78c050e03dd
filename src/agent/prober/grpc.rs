//! grpc: does grpc.health.v1.Health say SERVING (pkg/probe/grpc/grpc.go). Without TLS, as the kubelet.

use std::time::Duration;

use tonic::Code;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::Outcome;

/// An answer is a few bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// Asks for the health of `service`.
pub(super) async fn probe(address: &str, service: &str, timeout: Duration) -> Outcome {
    let seconds = timeout.as_secs();
    let no_connection =
        || Outcome::Failed(format!("timeout: failed to connect service {address:?} within {seconds}s: context deadline exceeded"));
    let endpoint = match Endpoint::from_shared(format!("http://{address}")).and_then(|e| e.user_agent("kube-probe/1.36")) {
        Ok(endpoint) => endpoint.connect_timeout(timeout),
        Err(error) => return Outcome::Failed(format!("error: failed to connect service at {address:?}: {error}")),
    };
    let ask = async {
        let Ok(channel) = endpoint.connect().await else { return no_connection() };
        let mut client = HealthClient::new(channel).max_decoding_message_size(MAX_ANSWER);
        match client.check(HealthCheckRequest { service: service.to_owned() }).await {
            Ok(reply) => verdict(reply.into_inner().status()),
            Err(status) if status.code() == Code::Unimplemented => Outcome::Failed(format!(
                "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {}",
                status.message()
            )),
            Err(status) => {
                let (code, words) = (status.code(), status.message());
                Outcome::Failed(format!("error: health rpc probe failed: rpc error: code = {code:?} desc = {words}"))
            }
        }
    };
    match tokio::time::timeout(timeout, ask).await {
        Ok(outcome) => outcome,
        Err(_) => Outcome::Failed(format!("timeout: health rpc did not complete within {seconds}s")),
    }
}

fn verdict(status: ServingStatus) -> Outcome {
    match status {
        ServingStatus::Serving => Outcome::Passed(None),
        other => Outcome::Failed(format!("service unhealthy (responded with {:?})", other.as_str_name())),
    }
}
