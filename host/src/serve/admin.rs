//! `POST /admin/reload`: what an operator asks of a running gateway.
//!
//! In:   a request over the network of somebody who has the scope `admin`, or one on the control socket, which only the
//!       gateway's own user can reach.
//! Out:  what came of it.
//! Never: takes a request over the network from somebody who is not known.

use std::sync::Arc;

use axum::{
    Extension, Router,
    extract::{Request, State},
    response::Response,
    routing::any,
};
use http::Method;

use super::{
    Gateway, Outcome, Phase, Trigger,
    asked::Asked,
    audit::Event,
    body,
    caller::{Visitor, record_operation, refuse_operation},
    problem::Problem,
    router::{CALL, not_allowed, options},
};
use crate::{config::Scope, mount::ProblemCode};

/// How a request has come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entrance {
    /// A listener.
    Network,
    /// The control socket.
    Socket,
}

/// What is below `/admin`.
pub(super) fn routes() -> Router<Arc<Gateway>> {
    Router::new().route("/admin/reload", any(reload))
}

async fn reload(
    State(gateway): State<Arc<Gateway>>,
    Extension(entrance): Extension<Entrance>,
    request: Request,
) -> Response {
    let asked = Asked::of(&request);
    if asked.method == Method::OPTIONS {
        return options(CALL);
    }
    let (parts, _) = request.into_parts();
    let (known, answer) = match Visitor::of(&gateway, &parts).await {
        Err(problem) => (None, Err(problem)),
        Ok(visitor) => {
            let answer = match admit(&visitor, &asked.method) {
                Ok(()) => answer(&gateway, entrance).await,
                Err(problem) => Err(problem),
            };
            (Some(visitor), answer)
        }
    };
    let record = |outcome| record_operation(&gateway, &parts, known.as_ref(), (Event::Call, outcome));
    match &answer {
        Ok(_) => record("ok"),
        Err(problem) if problem.code() == ProblemCode::ReloadRefused => record(problem.code().as_str()),
        Err(problem) => refuse_operation(&gateway, &parts, known.as_ref(), problem),
    }
    answer.unwrap_or_else(|problem| problem.answer(&gateway, &asked))
}

/// Who is not known is not told what there is either.
fn admit(visitor: &Visitor, method: &Method) -> Result<(), Problem> {
    visitor.require(&[Scope::ADMIN])?;
    if *method == Method::POST { Ok(()) } else { Err(not_allowed(method, CALL)) }
}

async fn answer(gateway: &Gateway, entrance: Entrance) -> Result<Response, Problem> {
    let closed = gateway.reloads().closed();
    let reload = gateway.reloads().ask(Trigger::Request).ok_or_else(|| gateway.phase().problem())?;
    let reload = tokio::select! {
        reload = reload => reload.map_err(|_| match gateway.phase() {
            Phase::Serving => Problem::new(ProblemCode::Internal, "the reload failed; the log has more"),
            phase => phase.problem(),
        })?,
        // A plugin may take its time to start, which the gateway does not wait for when it stops.
        () = closed => return Err(gateway.phase().problem()),
    };
    let mut told = reload.json_for_operators();
    // It quotes lines of gateway.toml, which may hold secrets: for who can read that file anyway.
    if let (Entrance::Socket, Some(report)) = (entrance, &reload.report) {
        told["report"] = report.as_str().into();
    }
    if reload.outcome == Outcome::Refused {
        let detail = "not all that is on the disk can be served; what it would have replaced goes on";
        return Err(Problem::new(ProblemCode::ReloadRefused, detail).with("reload", told));
    }
    Ok(body::json(told.to_string()))
}
