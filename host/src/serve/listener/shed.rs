//! What is answered where there is no place: probes as always, so that a gateway with a full house is not taken for a dead
//! one; everything else is told to come back.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::Response,
};
use http::{HeaderValue, header};

use crate::{
    mount::ProblemCode,
    serve::{
        Gateway, Problem,
        asked::{Asked, X_REQUEST_ID},
    },
};

/// Answered by the router wherever it has them.
const PROBES: [&str; 3] = ["/healthz", "/livez", "/readyz"];

/// `router` for connections without a place.
pub(super) fn shedding(gateway: &Arc<Gateway>, router: &Router) -> Router {
    router.clone().layer(middleware::from_fn_with_state(gateway.clone(), shed))
}

async fn shed(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    let mut response = if PROBES.contains(&request.uri().path()) {
        next.run(request).await
    } else {
        refused(&gateway, &Asked::of(&request))
    };
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

fn refused(gateway: &Gateway, asked: &Asked) -> Response {
    let detail = "every connection of the gateway has a request under way";
    let problem = Problem::new(ProblemCode::Overloaded, detail).retry_after(1);
    let mut response = problem.answer(gateway, asked);
    gateway.seen().statuses.count(response.status());
    response.headers_mut().insert(X_REQUEST_ID, asked.request_id.header());
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
