//! `POST /admin/reload`: what an operator asks of a running gateway.
//!
//! In:   a request over the network with the token of `[admin]`, or one on the control socket, which only the gateway's own
//!       user can reach.
//! Out:  what came of it.
//! Never: takes a request over the network if there is no token.

use std::sync::Arc;

use axum::{
    Extension, Router,
    extract::{Request, State},
    response::Response,
    routing::any,
};
use http::{HeaderMap, HeaderValue, Method, header};

use super::{
    Gateway, Outcome, Phase, Trigger,
    asked::Asked,
    body,
    problem::Problem,
    router::{CALL, not_allowed, options},
};
use crate::{config::Digest, mount::ProblemCode};

/// How a request has come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entrance {
    /// A listener.
    Network,
    /// The control socket.
    Socket,
}

/// What is below `/admin`.
pub(super) fn routes(entrance: Entrance) -> Router<Arc<Gateway>> {
    Router::new().route("/admin/reload", any(reload)).layer(Extension(entrance))
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
    let answer = match check(&gateway, entrance, &asked.method, request.headers()) {
        Ok(()) => answer(&gateway, entrance).await,
        Err(problem) => Err(problem),
    };
    answer.unwrap_or_else(|problem| problem.answer(&gateway, &asked))
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
        () = closed => return Err(Phase::Draining.problem()),
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

fn check(gateway: &Gateway, entrance: Entrance, method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    let is_known = match (entrance, &gateway.settings().admin.token) {
        (Entrance::Socket, _) => true,
        // Digests, so that the time it takes tells nothing of the token.
        (_, Some(token)) => {
            bearer(headers).is_some_and(|given| Digest::of(given) == Digest::of(token.reveal().as_bytes()))
        }
        (_, None) => false,
    };
    if !is_known {
        let detail = "`/admin` takes the token of `[admin]` in gateway.toml as `Authorization: Bearer`; without one there, \
                      only `gateway reload` on the gateway's own machine";
        return Err(Problem::new(ProblemCode::Unauthorized, detail)
            .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
    }
    if *method == Method::POST { Ok(()) } else { Err(not_allowed(method, CALL)) }
}

/// RFC 6750 section 2.1.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_what_comes_after_bearer() {
        let check = |value: &'static str, expected: Option<&str>| {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static(value))]);
            assert_eq!(bearer(&headers), expected.map(str::as_bytes), "{value}");
        };
        check("Bearer abc", Some("abc"));
        check("bearer abc", Some("abc"));
        check("Bearer", None);
        check("Basic abc", None);
        check("", None);
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}
