//! `/healthz` (the process answers) and `/readyz` (it takes statements and has an executor), for probes and load balancers.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;

use crate::pool::Pool;

/// The health routes of the client port; they ask for no token.
pub(crate) fn routes(pool: Arc<Pool>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(pool)
}

async fn ready(State(pool): State<Arc<Pool>>) -> (StatusCode, &'static str) {
    if pool.runner.is_draining() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
    } else if pool.executors.capacity().executors == 0 {
        (StatusCode::SERVICE_UNAVAILABLE, "no executor\n")
    } else {
        (StatusCode::OK, "ready\n")
    }
}
