//! Health for load balancers and Kubernetes, on the client port: `/healthz` says that the process serves, `/readyz` that the
//! pool may give it work.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;

use crate::shell::Standing;

/// The two routes.
pub(crate) fn routes(standing: Arc<Standing>) -> Router {
    let ready = move || {
        let standing = Arc::clone(&standing);
        async move { readiness(&standing) }
    };
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
}

fn readiness(standing: &Standing) -> (StatusCode, &'static str) {
    if standing.is_draining() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
    } else if standing.is_connected() {
        (StatusCode::OK, "ok\n")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "the scheduler has not accepted a heartbeat\n",
        )
    }
}
