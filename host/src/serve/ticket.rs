//! Leave to make one call: there is room, whoever it comes from has not used up what it may, and it will be recorded.
//!
//! In:   who calls what, read from a request's validated body.
//! Out:  a [`Ticket`], which the call holds until it is over and which records how it ended.
//! Fails: 429 if a rate is used up; 503 if as many calls are open as may be, or if the call cannot be recorded but must be.
//! Never: decides who may do what; that has been decided.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use http::HeaderMap;

use super::{
    Problem, RequestId,
    audit::{AuditLog, Event, Line, Slot},
    call::CallOutcome,
    caller::Caller,
    limit::{About, Gate, GatePass, Passed, RateHeaders, Rates},
    seen::{Late, Open, SUBJECT_MAX, Seen},
    served::Settings,
};
use crate::{
    config::{Digest, ServerName},
    mount::ProblemCode,
    trace::{CallTrace, Incoming, TraceId},
};

/// The limits beside rates, as metrics name them.
const ROOMS: [&str; 3] = ["calls_max", "server_calls_max", "sessions_max"];

/// What calls have to pass.
#[derive(Debug)]
pub(super) struct Tickets {
    calls_max: usize,
    rates: Rates,
    open: Gate,
    by_server: Mutex<HashMap<ServerName, Gate>>,
    /// What there was room for, and what there was none for: calls in the gateway, calls at their server, sessions.
    decided: Arc<[[AtomicU64; 2]; ROOMS.len()]>,
    audit: AuditLog,
    seen: Arc<Seen>,
    counts_calls: bool,
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
    pub(super) incoming: &'a Incoming,
}

/// Leave to make one call.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) caller: Caller,
    /// Begun with the ticket: what a call waits for is part of it.
    pub(super) trace: CallTrace,
    rates: Passed,
    /// `None`: the call is over, and recorded.
    about: Option<Recorded>,
    /// `None`: it is not in the audit log.
    slot: Option<Slot>,
    /// Its places among the open calls. `None`: it has given them back.
    places: Option<[GatePass; 2]>,
    seen: Arc<Seen>,
    /// `None`: calls are not counted.
    counted: Option<Open>,
}

/// A call of which it is not decided yet whether there is leave for it.
struct Begun {
    about: Recorded,
    trace: CallTrace,
    counted: Option<Open>,
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
    trace: Option<TraceId>,
}

impl Tickets {
    /// `seen`: where calls are noted.
    pub(super) fn new(settings: &Settings, seen: Arc<Seen>) -> Self {
        Self {
            calls_max: settings.limits.calls_max,
            rates: Rates::new(&settings.limits.rates),
            open: Gate::default(),
            by_server: Mutex::default(),
            decided: Arc::default(),
            audit: settings.audit.clone(),
            seen,
            counts_calls: settings.counts_calls,
        }
    }

    /// What calls have to pass by other settings. What has been counted goes on to count.
    pub(super) fn renewed(&self, settings: &Settings) -> Self {
        Self {
            rates: self.rates.renewed(&settings.limits.rates),
            open: self.open.clone(),
            by_server: Mutex::new(self.gates().clone()),
            decided: self.decided.clone(),
            ..Self::new(settings, self.seen.clone())
        }
    }

    fn gates(&self) -> MutexGuard<'_, HashMap<ServerName, Gate>> {
        self.by_server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leave for `caller` to make a call. What is refused is noted too.
    pub(super) fn issue(&self, caller: &Caller, wanted: Wanted<'_>) -> Result<Ticket, Problem> {
        let begun = self.begin(caller, &wanted);
        let (rates, places) = match self.pass(caller, &wanted) {
            Ok(passed) => passed,
            Err((outcome, problem)) => {
                self.record(&begun.about.line(caller, Event::Refused, outcome.word()));
                self.refused(caller, begun, outcome);
                return Err(problem);
            }
        };
        let slot = match self.audit.reserve() {
            Ok(slot) => Some(slot),
            Err(_) if self.audit.is_required() => {
                // The refusal cannot be recorded either; once the file is written again it tells of it.
                self.audit.count_lost();
                self.refused(caller, begun, CallOutcome::AuditUnavailable);
                let detail = "the call was not made, because it cannot be recorded at the moment";
                return Err(Problem::new(ProblemCode::AuditUnavailable, detail).retry_after(5));
            }
            Err(_) => {
                self.audit.count_lost();
                None
            }
        };
        let (caller, seen) = (caller.clone(), self.seen.clone());
        let Begun { about, trace, counted } = begun;
        Ok(Ticket { caller, trace, rates, about: Some(about), slot, places: Some(places), seen, counted })
    }

    /// Notes a call that was refused before there could be leave for it: what was to be its arguments is not.
    pub(super) fn refuse(&self, caller: &Caller, wanted: Wanted<'_>, outcome: CallOutcome) {
        let begun = self.begin(caller, &wanted);
        self.record(&begun.about.line(caller, Event::Refused, outcome.word()));
        self.refused(caller, begun, outcome);
    }

    fn begin(&self, caller: &Caller, wanted: &Wanted<'_>) -> Begun {
        let trace = traced(caller, wanted);
        let about = Recorded {
            server: wanted.server.clone(),
            method: wanted.method,
            subject: wanted.subject.to_owned(),
            arguments: self.audit.is_on().then(|| Digest::of(wanted.arguments)),
            door: wanted.door,
            request_id: wanted.request_id.clone(),
            trace: trace.id(),
        };
        Begun { counted: self.counted(&about), about, trace }
    }

    fn refused(&self, caller: &Caller, begun: Begun, outcome: CallOutcome) {
        let Begun { about, mut trace, counted } = begun;
        trace.end(outcome.word());
        about.say_refused(caller, outcome);
        self.seen.ended(counted, outcome, None, about.late(caller, outcome, Duration::ZERO));
    }

    /// The limits beside rates, each with how often there was room and how often not.
    pub(super) fn rooms(&self) -> impl Iterator<Item = (&'static str, [u64; 2])> {
        let counts = self.decided.iter().map(|counts| counts.each_ref().map(|count| count.load(Relaxed)));
        ROOMS.into_iter().zip(counts)
    }

    /// Every rate by name, with how often it has let a call through and how often not.
    pub(super) fn rates(&self) -> impl Iterator<Item = (&str, [u64; 2])> {
        self.rates.decided()
    }

    /// Where calls are noted.
    pub(super) fn seen(&self) -> &Seen {
        &self.seen
    }

    fn decide(&self, at: usize, has_room: bool) {
        self.decided[at][usize::from(!has_room)].fetch_add(1, Relaxed);
    }

    /// Counts a session for which there is room, or is not.
    pub(super) fn decide_session(&self, has_room: bool) {
        self.decide(2, has_room);
    }

    /// Counts a call that begins. Not if calls are not counted, or the server has just been taken away.
    fn counted(&self, about: &Recorded) -> Option<Open> {
        let tally = self.counts_calls.then(|| self.seen.tally.of(&about.server))??;
        Some(tally.begin(about.method, &about.subject))
    }

    /// Records what was refused before it was known to be a call.
    pub(super) fn record(&self, line: &Line<'_>) {
        match self.audit.reserve() {
            Ok(slot) => slot.write(line),
            Err(_) => self.audit.count_lost(),
        }
    }

    fn pass(
        &self,
        caller: &Caller,
        wanted: &Wanted<'_>,
    ) -> Result<(Passed, [GatePass; 2]), (CallOutcome, Problem)> {
        let server = wanted.server.as_str();
        // Room first: a call for which there is none is not to use up what its caller may.
        let all = self.open.enter(self.calls_max);
        self.decide(0, all.is_some());
        let overloaded = |detail: &str| {
            (CallOutcome::Overloaded, Problem::new(ProblemCode::Overloaded, detail).retry_after(1))
        };
        let all = all.ok_or_else(|| overloaded("as many calls are open as the gateway takes"))?;
        let gate = self.gates().entry(wanted.server.clone()).or_default().clone();
        let own = gate.enter(caller.access.guard().calls_max);
        self.decide(1, own.is_some());
        let own = own.ok_or_else(|| {
            let (outcome, problem) = overloaded(&format!("as many calls of `{server}` are open as it takes"));
            (outcome, problem.with("server", server))
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
            let problem = Problem::new(ProblemCode::RateLimited, exceeded.to_string())
                .with("limit", exceeded.name())
                .with("retry_in_ms", retry_in)
                .with_headers(headers);
            (CallOutcome::RateLimited, problem)
        })?;
        Ok((rates, [all, own]))
    }
}

/// The call's span, which tells of a refusal too.
fn traced(caller: &Caller, wanted: &Wanted<'_>) -> CallTrace {
    let mut trace = CallTrace::begin(wanted.incoming, wanted.method);
    trace.about(|about| {
        about.server = wanted.server.to_string();
        about.door = wanted.door;
        about.request_id = wanted.request_id.as_str().to_owned();
        about.subject = wanted.subject.to_owned();
        about.address = caller.address;
    });
    trace
}

impl Recorded {
    fn line<'a>(&'a self, caller: &'a Caller, event: Event, outcome: &'a str) -> Line<'a> {
        let subject = Some(self.subject.as_str()).filter(|subject| !subject.is_empty());
        let is_tool = self.method == "tools/call";
        Line {
            time: SystemTime::now(),
            request_id: self.request_id.as_str(),
            trace_id: self.trace,
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

    /// The line of a call that was refused, as `call finished` is of one that was made.
    fn say_refused(&self, caller: &Caller, outcome: CallOutcome) {
        let line = self.line(caller, Event::Refused, outcome.word());
        let cut = |text: &'_ str| text[..text.floor_char_boundary(SUBJECT_MAX)].to_owned();
        tracing::info!(
            server = line.server,
            tool = line.tool.map(cut),
            method = line.method.filter(|_| line.tool.is_none()),
            subject = line.subject.map(cut),
            door = line.door,
            outcome = line.outcome,
            principal = caller.principal.is_named().then_some(line.principal),
            request_id = line.request_id,
            trace_id = line.trace_id.map(tracing::field::display),
            "call refused"
        );
    }

    /// The same for whoever looks at the calls of late.
    fn late(self, caller: &Caller, outcome: CallOutcome, elapsed: Duration) -> Late {
        let Self { server, method, subject, door, request_id, trace: trace_id, .. } = self;
        let (time, principal) = (SystemTime::now(), caller.principal.clone());
        Late { time, server, method, subject, door, outcome, elapsed, request_id, principal, trace_id }
    }
}

impl Ticket {
    /// Whether it is leave for this: what a request's body says in one place and in another need not be the same.
    pub(super) fn is_for(&self, method: &str, subject: &str) -> bool {
        const OF_SUBJECTS: [&str; 5] =
            ["tools/call", "prompts/get", "resources/read", "resources/directory/read", "skills/get"];
        self.about.as_ref().is_some_and(|about| {
            about.method == method && (!OF_SUBJECTS.contains(&method) || about.subject == subject)
        })
    }

    /// What the answer says of rates.
    pub(super) fn rates(&self) -> RateHeaders {
        self.rates.headers()
    }

    /// Gives back the places among the open calls. The call goes on and is recorded, but is bounded by something else.
    pub(super) fn release_places(&mut self) {
        drop(self.places.take());
    }

    /// Records how the call ended, after which time. `took`: how much of that was the plugin's; `None`: it went on as a task.
    pub(super) fn record(&mut self, outcome: CallOutcome, elapsed: Duration, took: Option<Duration>) {
        let Some(about) = self.about.take() else { return };
        if let Some(slot) = self.slot.take() {
            slot.write(&Line { elapsed, ..about.line(&self.caller, Event::Call, outcome.word()) });
        }
        self.seen.ended(self.counted.take(), outcome, took, about.late(&self.caller, outcome, elapsed));
    }
}

/// What has got leave and is no call after all has been refused behind the door: its parameters or its headers were wrong.
impl Drop for Ticket {
    fn drop(&mut self) {
        let Some(about) = self.about.take() else { return };
        let outcome = CallOutcome::InvalidRequest;
        self.trace.end(outcome.word());
        if let Some(slot) = self.slot.take() {
            slot.write(&about.line(&self.caller, Event::Refused, outcome.word()));
        }
        about.say_refused(&self.caller, outcome);
        let late = about.late(&self.caller, outcome, Duration::ZERO);
        self.seen.ended(self.counted.take(), outcome, None, late);
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
        let settings = Settings { limits, ..Settings::default() };
        let tickets = Tickets::new(&settings, Arc::default());
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
            incoming: &Incoming::default(),
        };
        let issue = || tickets.issue(&caller, wanted);
        let mut first = issue().expect("there is room");
        assert_eq!(issue().expect_err("it is taken").code(), ProblemCode::Overloaded);
        first.release_places();
        let second = issue().expect("the first goes on without a place");
        assert_eq!(issue().expect_err("it is taken").code(), ProblemCode::Overloaded);
        drop(second);
        assert!(issue().is_ok());
        assert!(first.about.is_some(), "it is yet to be recorded");
    }
}
