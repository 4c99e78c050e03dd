//! The three paths, on the API's socket and, where it is asked for, on an address of their own.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::exposition::CONTENT_TYPE;
use super::{health, metrics, vitals};
use crate::grpc::ApiState;

/// Clients served at once; further ones wait in the listen queue.
const CLIENTS: usize = 16;
/// How long a client may take to say what it wants.
const HEAD: Duration = Duration::from_secs(5);
/// How long one may take in all.
const WHOLE: Duration = Duration::from_secs(30);
/// The most of a request's head that is read, in bytes.
const HEAD_BYTES: usize = 16 << 10;

/// The paths.
pub fn router(state: ApiState) -> Router {
    Router::new()
        .route("/metrics", get(|State(state): State<ApiState>| async move { ([(header::CONTENT_TYPE, CONTENT_TYPE)], metrics(&state)) }))
        .route("/healthz", get(|State(state): State<ApiState>| async move { healthy(health::healthz(&vitals(&state))) }))
        .route("/readyz", get(|State(state): State<ApiState>| async move { healthy(health::readyz(&vitals(&state))) }))
        .with_state(state)
}

fn healthy((well, text): (bool, String)) -> impl IntoResponse {
    let code = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text)
}

/// Serves the paths on `listener`, HTTP/1.1, one request a connection, until dropped.
pub async fn serve(listener: TcpListener, state: ApiState) {
    let (router, places) = (router(state), Arc::new(Semaphore::new(CLIENTS)));
    loop {
        // Closed never.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let one = answer(stream, router.clone());
                tokio::spawn(async move {
                    let _place = place;
                    // Too late, or gone: it will ask again.
                    let _ = tokio::time::timeout(WHOLE, one).await;
                });
            }
            Err(cause) => {
                tracing::warn!(%cause, "a client of the metrics could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn answer(stream: TcpStream, router: Router) -> impl Future<Output = Result<(), hyper::Error>> {
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
}
