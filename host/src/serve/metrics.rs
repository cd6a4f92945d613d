//! `GET /metrics`: the state of the gateway in numbers, for Prometheus and everything that scrapes like it.
//!
//! In:   what is served now, and how libraries have ended.
//! Out:  text format 0.0.4, or OpenMetrics 1.0 to whom asks for it.
//! Never: keeps a number of its own: each is read where it lives, when it is asked for (those of calls in `seen`). So a
//!        server that is in gateway.toml no more is in no series, and nothing is counted twice.

mod audit;
mod calls;
mod doors;
mod family;
mod process;
mod reloads;
mod servers;
mod text;

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    response::Response,
};
use http::{HeaderMap, HeaderValue, header};
use prometheus_client::{encoding::text::encode, registry::Registry};

use super::{
    Gateway,
    asked::Asked,
    caller::{Visitor, turned_away},
    negotiate::prefers_open_metrics,
};
use crate::config::Scope;
use audit::Recorded;
use calls::Calls;
use doors::Doors;
use process::Process;
use reloads::Told;
use servers::Servers;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// `GET /metrics`, to who has the scope `metrics` or `admin`.
pub(super) async fn metrics(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let asked = Asked::of(&request);
    let (parts, _) = request.into_parts();
    match Visitor::of(&gateway, &parts).await {
        Ok(visitor) => match visitor.require(&[Scope::METRICS, Scope::ADMIN]) {
            Ok(()) => told(gateway, &parts.headers).await,
            Err(problem) => turned_away(&gateway, &asked, &parts, Some(&visitor), problem),
        },
        Err(problem) => turned_away(&gateway, &asked, &parts, None, problem),
    }
}

async fn told(gateway: Arc<Gateway>, headers: &HeaderMap) -> Response {
    let mut registry = Registry::default();
    let doors = Doors::of(&gateway).await;
    registry.register_collector(Box::new(Calls(gateway.clone())));
    registry.register_collector(Box::new(Servers(gateway.clone())));
    registry.register_collector(Box::new(doors));
    registry.register_collector(Box::new(Recorded(gateway.clone())));
    registry.register_collector(Box::new(Told(gateway)));
    registry.register_collector(Box::new(Process));
    let is_open_metrics = prefers_open_metrics(headers);
    // Of a thousand tools these are megabytes, and /proc is read for it: calls are not to wait for that.
    let telling = tokio::task::spawn_blocking(move || {
        let mut told = String::new();
        encode(&mut told, &registry).expect("writing into a `String` cannot fail");
        if is_open_metrics { (OPEN_METRICS, told) } else { (TEXT, text::of_open_metrics(&told)) }
    });
    let (media_type, body) = telling.await.expect("it does not panic, and is not cancelled");
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, media_type);
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    response
}
