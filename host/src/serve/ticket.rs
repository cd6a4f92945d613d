//! Leave to make one call: there is room, whoever it comes from has not used up what it may, and it will be recorded.
//!
//! In:   who calls what, read from a request's validated body.
//! Out:  a [`Ticket`], which the call holds until it is over and which records how it ended.
//! Fails: 429 if a rate is used up; 503 if as many calls are open as may be, or if the call cannot be recorded but must be.
//! Never: decides who may do what; that has been decided.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use http::HeaderMap;

use super::{
    Problem, RequestId,
    audit::{AuditLog, Event, Line, Slot},
    caller::Caller,
    limit::{About, Gate, GatePass, Passed, RateHeaders, Rates},
    served::Settings,
};
use crate::{
    config::{Digest, ServerName},
    mount::ProblemCode,
};

/// What calls have to pass.
#[derive(Debug)]
pub(super) struct Tickets {
    calls_max: usize,
    rates: Rates,
    open: Gate,
    by_server: Mutex<HashMap<ServerName, Gate>>,
    audit: AuditLog,
}

/// A call, as far as it has to be known for leave to make it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) server: &'a ServerName,
    pub(super) method: &'static str,
    /// A tool, a prompt, a URI: what the method is about.
    pub(super) subject: &'a str,
    /// As the client sent them.
    pub(super) arguments: &'a [u8],
    pub(super) door: &'static str,
    pub(super) request_id: &'a RequestId,
}

/// Leave to make one call.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) caller: Caller,
    rates: Passed,
    about: Recorded,
    /// `None`: it has been recorded, or is not to be.
    slot: Option<Slot>,
    /// Its places among the open calls. `None`: it has given them back.
    open: Option<[GatePass; 2]>,
}

/// What is recorded of a call, however it ends.
#[derive(Debug)]
struct Recorded {
    server: ServerName,
    method: &'static str,
    subject: String,
    arguments: Option<Digest>,
    door: &'static str,
    request_id: RequestId,
}

impl Tickets {
    /// `before`: what calls had to pass until now; what it has counted goes on to count.
    pub(super) fn new(settings: &Settings, before: Option<&Self>) -> Self {
        let rates = match before {
            Some(before) => before.rates.renewed(&settings.limits.rates),
            None => Rates::new(&settings.limits.rates),
        };
        Self {
            calls_max: settings.limits.calls_max,
            rates,
            open: before.map(|before| before.open.clone()).unwrap_or_default(),
            by_server: Mutex::new(before.map(|before| before.gates().clone()).unwrap_or_default()),
            audit: settings.audit.clone(),
        }
    }

    fn gates(&self) -> MutexGuard<'_, HashMap<ServerName, Gate>> {
        self.by_server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leave for `caller` to make a call. What is refused is recorded too.
    pub(super) fn issue(&self, caller: &Caller, wanted: Wanted<'_>) -> Result<Ticket, Problem> {
        let about = Recorded {
            server: wanted.server.clone(),
            method: wanted.method,
            subject: wanted.subject.to_owned(),
            arguments: self.audit.is_on().then(|| Digest::of(wanted.arguments)),
            door: wanted.door,
            request_id: wanted.request_id.clone(),
        };
        let passed = self.pass(caller, &wanted);
        let (rates, open) = passed.inspect_err(|problem| {
            self.record(&about.line(caller, Event::Refused, problem.code().as_str()));
        })?;
        let slot = match self.audit.reserve() {
            Ok(slot) => Some(slot),
            Err(_) if self.audit.is_required() => {
                // The refusal cannot be recorded either; once the file is written again it tells of it.
                self.audit.count_lost();
                let detail = "the call was not made, because it cannot be recorded at the moment";
                return Err(Problem::new(ProblemCode::AuditUnavailable, detail).retry_after(5));
            }
            Err(_) => {
                self.audit.count_lost();
                None
            }
        };
        Ok(Ticket { caller: caller.clone(), rates, about, slot, open: Some(open) })
    }

    /// Records what was refused before it was known to be a call.
    pub(super) fn record(&self, line: &Line<'_>) {
        match self.audit.reserve() {
            Ok(slot) => slot.write(line),
            Err(_) => self.audit.count_lost(),
        }
    }

    fn pass(&self, caller: &Caller, wanted: &Wanted<'_>) -> Result<(Passed, [GatePass; 2]), Problem> {
        let server = wanted.server.as_str();
        // Room first: a call for which there is none is not to use up what its caller may.
        let all = self.open.enter(self.calls_max);
        let all = all.ok_or_else(|| overloaded("as many calls are open as the gateway takes"))?;
        let gate = self.gates().entry(wanted.server.clone()).or_default().clone();
        let own = gate.enter(caller.access.guard().calls_max).ok_or_else(|| {
            overloaded(&format!("as many calls of `{server}` are open as it takes")).with("server", server)
        })?;
        // What a caller may not use is not there for it: it uses up nothing of those who may, and hears of no limit of theirs.
        let tool = if caller.may_call(wanted.subject) { wanted.subject } else { "" };
        let about = About {
            principal: caller.principal.id(),
            is_named: caller.principal.is_named(),
            address: caller.address,
            server,
            tool: (wanted.method == "tools/call").then_some(tool),
        };
        let rates = self.rates.check(&about).map_err(|exceeded| {
            let mut headers = HeaderMap::new();
            exceeded.write_to(&mut headers);
            let retry_in = u64::try_from(exceeded.retry_after().as_millis()).unwrap_or(u64::MAX);
            Problem::new(ProblemCode::RateLimited, exceeded.to_string())
                .with("limit", exceeded.name())
                .with("retry_in_ms", retry_in)
                .with_headers(headers)
        })?;
        Ok((rates, [all, own]))
    }
}

fn overloaded(detail: &str) -> Problem {
    Problem::new(ProblemCode::Overloaded, detail).retry_after(1)
}

impl Recorded {
    fn line<'a>(&'a self, caller: &'a Caller, event: Event, outcome: &'a str) -> Line<'a> {
        let subject = Some(self.subject.as_str()).filter(|subject| !subject.is_empty());
        let is_tool = self.method == "tools/call";
        Line {
            time: SystemTime::now(),
            request_id: self.request_id.as_str(),
            event,
            principal: caller.principal.id(),
            address: caller.address,
            door: self.door,
            server: Some(self.server.as_str()),
            method: Some(self.method),
            tool: subject.filter(|_| is_tool),
            subject: subject.filter(|_| !is_tool),
            arguments_sha256: self.arguments,
            outcome,
            elapsed: Duration::ZERO,
        }
    }
}

impl Ticket {
    /// Whether it is leave for this: what a request's body says in one place and in another need not be the same.
    pub(super) fn is_for(&self, method: &str, subject: &str) -> bool {
        const OF_SUBJECTS: [&str; 5] =
            ["tools/call", "prompts/get", "resources/read", "resources/directory/read", "skills/get"];
        self.about.method == method && (!OF_SUBJECTS.contains(&method) || self.about.subject == subject)
    }

    /// What the answer says of rates.
    pub(super) fn rates(&self) -> RateHeaders {
        self.rates.headers()
    }

    /// Gives back the places among the open calls. The call goes on and is recorded, but is bounded by something else.
    pub(super) fn release_places(&mut self) {
        drop(self.open.take());
    }

    /// Records how the call ended.
    pub(super) fn record(&mut self, outcome: &str, elapsed: Duration) {
        if let Some(slot) = self.slot.take() {
            slot.write(&Line { elapsed, ..self.about.line(&self.caller, Event::Call, outcome) });
        }
    }
}

/// What has got leave and is no call after all has been refused behind the door: its parameters or its headers were wrong.
impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            slot.write(&self.about.line(&self.caller, Event::Refused, "invalid_request"));
        }
    }
}

/// A request's ticket on its way through the MCP library, which clones what requests carry.
#[derive(Debug, Clone)]
pub(super) struct InRequest(Arc<Mutex<Option<Ticket>>>);

impl InRequest {
    pub(super) fn new(ticket: Ticket) -> Self {
        Self(Arc::new(Mutex::new(Some(ticket))))
    }

    /// The ticket, once.
    pub(super) fn take(&self) -> Option<Ticket> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Auth, Guards, Limits},
        serve::{access::Access, auth::Principal},
    };

    #[test]
    fn a_place_is_free_once_it_is_given_back_or_its_ticket_is_gone() {
        let limits = Limits { calls_max: 1, ..Limits::default() };
        let tickets = Tickets::new(&Settings { limits, ..Settings::default() }, None);
        let server = ServerName::parse("calc").expect("the test's own name");
        let access = Access::of(&server, &Guards::new(), &Auth::default());
        let caller = Caller {
            principal: Arc::new(Principal::of_key("ada", &[])),
            access: Arc::new(access),
            address: None,
        };
        let request_id = &RequestId::of(&HeaderMap::new());
        let wanted = Wanted {
            server: &server,
            method: "tools/call",
            subject: "add",
            arguments: b"{}",
            door: "mcp",
            request_id,
        };
        let issue = || tickets.issue(&caller, wanted);
        let mut first = issue().expect("there is room");
        assert_eq!(issue().expect_err("it is taken").code(), ProblemCode::Overloaded);
        first.release_places();
        let second = issue().expect("the first goes on without a place");
        assert_eq!(issue().expect_err("it is taken").code(), ProblemCode::Overloaded);
        drop(second);
        assert!(issue().is_ok());
        assert!(first.slot.is_some(), "it is yet to be recorded");
    }
}
