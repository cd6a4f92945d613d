//! Who a request is from, for what is at a server and for the gateway's own pages.
//!
//! In:   a request's parts, before anything of it is acted upon.
//! Out:  a [`Caller`] of a server, who may use it; a [`Visitor`] of a page, who may see some of it.
//! Fails: 401 for who is not known, 403 for who lacks the scope.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::response::Response;
use http::request::Parts;

use super::{
    Gateway, Peer, Principal, Problem, RequestId,
    access::Access,
    admin::Entrance,
    asked::Asked,
    audit::{Event, Line},
    auth::{self, Authority, Resource},
    forwarded,
    served::Served,
};
use crate::{
    config::{Scope, ServerEntry},
    load::CallerFacts,
    trace::Incoming,
};

/// Who uses a server. In the extensions of requests that go on to one.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) principal: Arc<Principal>,
    pub(super) access: Arc<Access>,
    /// Where the request comes from; none by the control socket.
    pub(super) address: Option<IpAddr>,
}

/// By which rules callers of a server are let in: those of the moment at which the server was found.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    authority: Arc<Authority>,
    access: Arc<Access>,
    address: Option<IpAddr>,
}

impl Rules {
    pub(super) fn of(served: &Served, parts: &Parts, entry: &ServerEntry) -> Self {
        let (authority, access) = (served.authority.clone(), served.access(&entry.name));
        Self { authority, access, address: address(served, parts) }
    }
}

impl Caller {
    /// Who sends the request of `parts` to the server of `entry`. Takes the credentials out of it. `endpoint`: the rest of the
    /// path, by which the client knows the server.
    pub(super) async fn of(
        gateway: &Gateway,
        parts: &mut Parts,
        entry: &ServerEntry,
        Rules { authority, access, address }: Rules,
        endpoint: &str,
    ) -> Result<Self, Problem> {
        let principal = if access.is_asking() {
            let endpoint = if endpoint == "/mcp" { endpoint } else { "" };
            let resource = Resource::server(&entry.prefix, endpoint, access.guard(), access.needs());
            let known = authority.require(&parts.headers, peer(parts), resource).await;
            let decisions = &gateway.seen().decisions;
            let record = |problem: &Problem, principal: &str| {
                refused(gateway, parts, entry, address, (principal, problem.code().as_str()));
            };
            let principal = known.inspect_err(|problem| {
                decisions.refused(auth::shown(&parts.headers), problem.code());
                record(problem, "anonymous");
            })?;
            if !access.opens_to(&principal) {
                let problem = authority.forbidden(resource);
                decisions.refused(principal.known_by(), problem.code());
                record(&problem, principal.id());
                return Err(problem);
            }
            decisions.allowed(principal.known_by());
            principal
        } else {
            authority.anyone().clone()
        };
        auth::strip(&mut parts.headers);
        Ok(Self { principal, access, address })
    }

    /// What plugins get to know of it.
    pub(super) fn facts(&self) -> Option<Arc<CallerFacts>> {
        self.principal.facts()
    }

    /// Whether `tool` is one that this caller may use.
    pub(super) fn may_call(&self, tool: &str) -> bool {
        self.access.lets_call(&self.principal, tool)
    }
}

/// Who looks at a page of the gateway.
#[derive(Debug, Clone)]
pub(super) struct Visitor {
    /// What was served when it was let in: it sees that, by the same rules.
    pub(super) served: Arc<Served>,
    pub(super) principal: Arc<Principal>,
}

impl Visitor {
    /// Who sends the request of `parts`; somebody who does not say who it is may see what everybody may.
    pub(super) async fn of(gateway: &Gateway, parts: &Parts) -> Result<Self, Problem> {
        let served = Arc::clone(&gateway.served());
        let authority = &served.authority;
        let principal = match parts.extensions.get() {
            // Only the gateway's own user gets there.
            Some(Entrance::Socket) => Arc::new(Principal::operator()),
            _ => {
                let known = authority.identify(&parts.headers, peer(parts), Resource::gateway("")).await?;
                known.unwrap_or_else(|| authority.nobody().clone())
            }
        };
        Ok(Self { principal, served })
    }

    /// Like [`Self::of`], but a wrong credential is none: for answers that are about something else.
    pub(super) async fn or_nobody(gateway: &Gateway, parts: &Parts) -> Self {
        let known = Self::of(gateway, parts).await;
        known.unwrap_or_else(|_| {
            let served = Arc::clone(&gateway.served());
            let principal = served.authority.nobody().clone();
            Self { served, principal }
        })
    }

    /// Whether it has one of `scopes`.
    pub(super) fn require(&self, scopes: &[&str]) -> Result<(), Problem> {
        if scopes.iter().any(|scope| self.principal.has(scope)) {
            if self.served.authority.is_on() {
                self.served.tickets.seen().decisions.allowed(self.principal.known_by());
            }
            return Ok(());
        }
        let resource = Resource::gateway(scopes.first().copied().unwrap_or_default());
        Err(match self.principal.is_named() {
            true => self.served.authority.forbidden(resource),
            false => self.served.authority.unauthorized(resource, None),
        })
    }

    /// Whether it may see how the gateway is doing, and not only what it offers. Where nobody is asked everybody may.
    pub(super) fn is_operator(&self) -> bool {
        !self.served.authority.is_on() || self.principal.has(Scope::ADMIN)
    }

    /// Refuses who may see nothing at all, as long as it has not said who it is.
    pub(super) fn refuse_if_blind(&self) -> Result<(), Problem> {
        let sees = self.is_operator()
            || self.principal.is_named()
            || self.served.table.servers.iter().any(|mounted| self.sees(mounted.entry()));
        if sees { Ok(()) } else { Err(self.served.authority.unauthorized(Resource::gateway(""), None)) }
    }

    /// Whether it gets to know that there is this server.
    pub(super) fn sees(&self, entry: &ServerEntry) -> bool {
        self.is_operator() || self.served.access(&entry.name).opens_to(&self.principal)
    }
}

/// Records that somebody did not get in.
fn refused(
    gateway: &Gateway,
    parts: &Parts,
    entry: &ServerEntry,
    address: Option<IpAddr>,
    (principal, outcome): (&str, &str),
) {
    let line = line(parts, address, principal);
    let server = Some(entry.name.as_str());
    gateway.served().tickets.record(&Line { event: Event::Refused, server, outcome, ..line });
}

/// The answer to somebody who does not get to see a page; it is recorded.
pub(super) fn turned_away(
    gateway: &Gateway,
    asked: &Asked,
    parts: &Parts,
    visitor: Option<&Visitor>,
    problem: Problem,
) -> Response {
    refuse_operation(gateway, parts, visitor, &problem);
    problem.answer(gateway, asked)
}

/// Counts and records that something was asked of the gateway itself, and refused.
pub(super) fn refuse_operation(
    gateway: &Gateway,
    parts: &Parts,
    visitor: Option<&Visitor>,
    problem: &Problem,
) {
    let shown = visitor.map_or_else(|| auth::shown(&parts.headers), |visitor| visitor.principal.known_by());
    gateway.seen().decisions.refused(shown, problem.code());
    record_operation(gateway, parts, visitor, (Event::Refused, problem.code().as_str()));
}

/// Records what was asked of the gateway itself, and what came of it.
pub(super) fn record_operation(
    gateway: &Gateway,
    parts: &Parts,
    visitor: Option<&Visitor>,
    (event, outcome): (Event, &str),
) {
    let served = gateway.served();
    let principal = visitor.map_or("anonymous", |visitor| visitor.principal.id());
    let line = line(parts, address(&served, parts), principal);
    served.tickets.record(&Line { event, subject: Some(parts.uri.path()), outcome, ..line });
}

fn line<'a>(parts: &'a Parts, address: Option<IpAddr>, principal: &'a str) -> Line<'a> {
    let id = parts.extensions.get::<RequestId>();
    Line {
        time: SystemTime::now(),
        request_id: id.map(RequestId::as_str).unwrap_or_default(),
        trace_id: Incoming::of_http(&parts.headers).id(),
        event: Event::Call,
        principal,
        address,
        door: "http",
        server: None,
        method: None,
        tool: None,
        subject: None,
        arguments_sha256: None,
        outcome: "",
        elapsed: Duration::ZERO,
    }
}

fn peer(parts: &Parts) -> Option<&Peer> {
    parts.extensions.get()
}

fn address(served: &Served, parts: &Parts) -> Option<IpAddr> {
    let peer = peer(parts)?.address.ip().to_canonical();
    Some(forwarded::client_address(peer, &parts.headers, &served.settings.http.trusted_proxies))
}
