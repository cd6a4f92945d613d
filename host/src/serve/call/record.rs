//! What is noted of a call, however it ends: one line in the log, and what its end says of the server's health.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{CallError, CallOutcome, ToolReply, logged};
use crate::{
    load::{Answer, CallFacts, Change, Fault, Pass, Taken, Verdict},
    mount::Mount,
    serve::ticket::Ticket,
    trace::CallTrace,
};

/// What is noted of a call, once, however it ends.
#[derive(Debug, Default)]
pub(super) struct Record {
    mount: Option<Arc<Mount>>,
    /// Empty: `tools/call`.
    pub(super) method: &'static str,
    tool: String,
    door: &'static str,
    request_id: String,
    began: Option<Instant>,
    /// Leave to make the call. `None`: the call has been recorded.
    ticket: Option<Box<Ticket>>,
    /// `None`: it was refused.
    pass: Option<Pass>,
    /// For how long it waited for its client: that time is not the plugin's.
    pub(super) waited: Duration,
    /// Whether it went on as a task, which takes as long as it likes.
    is_task: bool,
    /// Whether the plugin ever saw it.
    pub(super) taken: Taken,
    pub(super) trace: CallTrace,
}

impl Record {
    pub(super) fn new(
        mount: &Arc<Mount>,
        subject: &str,
        door: &'static str,
        facts: &CallFacts,
        mut ticket: Ticket,
    ) -> Self {
        let mut trace = std::mem::take(&mut ticket.trace);
        trace.about(|about| {
            about.generation = Some(mount.instance.generation());
            about.is_offered = mount.offers(about.method, subject);
            about.protocol_version = facts.protocol_version.clone();
        });
        Self {
            ticket: Some(Box::new(ticket)),
            mount: Some(mount.clone()),
            method: "",
            tool: logged(subject),
            door,
            request_id: facts.request_id.clone(),
            began: Some(Instant::now()),
            pass: None,
            waited: Duration::ZERO,
            is_task: false,
            taken: Taken::Yes,
            trace,
        }
    }

    /// Asks the server's breaker. A refused call costs no more than this.
    pub(super) fn admit(&mut self) -> Result<(), CallError> {
        let (Some(mount), Some(began)) = (&self.mount, self.began) else { return Ok(()) };
        match mount.instance.health().admit(began) {
            Ok(pass) => self.pass = Some(pass),
            Err(why) => return Err(CallError::Quarantined { server: self.server().to_owned(), why }),
        }
        Ok(())
    }

    /// The call goes on as a task: those have a limit of their own, and may take a day.
    pub(super) fn became_task(&mut self) {
        self.is_task = true;
        if let Some(ticket) = &mut self.ticket {
            ticket.release_places();
        }
    }

    pub(super) fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    fn server(&self) -> &str {
        self.mount.as_ref().map_or("", |m| m.instance.entry().name.as_str())
    }

    pub(super) fn judge(&self, answer: Answer) -> Result<ToolReply, CallError> {
        let (server, tool) = (self.server().to_owned(), self.tool.clone());
        let request_id = &self.request_id;
        match answer {
            Answer::Result(json) => self.parse(json).map_err(|error| {
                tracing::warn!(server, tool, %error, request_id, "bad tool result");
                CallError::BadResult { server, tool }
            }),
            Answer::Error { code, message, data } => Err(CallError::Protocol { code, message, data }),
            Answer::Panicked(text) => {
                tracing::error!(server, tool, panic = text, request_id, "tool panicked");
                Err(CallError::Panicked { server, tool })
            }
            Answer::TooLarge(bytes) => {
                tracing::warn!(server, tool, bytes, request_id, "tool result too large");
                Err(CallError::BadResult { server, tool })
            }
            // Nobody stops the server, and yet the call has no answer.
            Answer::Gone if self.is_open() => Err(CallError::Lost { server, tool }),
            Answer::Gone => Err(CallError::Unavailable { server }),
        }
    }

    fn is_open(&self) -> bool {
        self.mount.as_ref().is_some_and(|mount| mount.instance.is_open())
    }

    fn parse(&self, json: Vec<u8>) -> Result<ToolReply, serde_json::Error> {
        if self.method.is_empty() { ToolReply::parse(json) } else { ToolReply::of_method(json) }
    }

    pub(super) fn timed_out(&self) -> CallError {
        let limit = self.mount.as_ref().map_or(Duration::ZERO, |m| m.instance.entry().call_timeout);
        CallError::TimedOut { server: self.server().to_owned(), tool: self.tool.clone(), limit }
    }

    pub(super) fn end(&mut self, result: Result<&ToolReply, &CallError>) {
        let outcome = match result {
            Ok(reply) if reply.is_error => CallOutcome::ToolError,
            Ok(_) => CallOutcome::Ok,
            Err(error) => error.outcome(),
        };
        self.over(outcome, self.verdict(result));
    }

    /// What the end says of the plugin.
    fn verdict(&self, result: Result<&ToolReply, &CallError>) -> Verdict {
        match result {
            Ok(_) | Err(CallError::Protocol { .. }) => Verdict::Answered,
            Err(CallError::Panicked { .. }) => Verdict::Fault(Fault::Panicked),
            Err(CallError::BadResult { .. }) => Verdict::Fault(Fault::BadResult),
            Err(CallError::TimedOut { .. }) => Verdict::Fault(Fault::TimedOut),
            Err(CallError::Lost { .. }) => Verdict::Fault(Fault::Lost),
            Err(_) => Verdict::Nothing,
        }
    }

    pub(super) fn over(&mut self, outcome: CallOutcome, verdict: Verdict) {
        let Some(began) = self.began.take() else { return };
        self.give_back(verdict);
        let elapsed = began.elapsed();
        let elapsed_ms = elapsed.as_micros() as f64 / 1000.0;
        let mut ticket = self.ticket.take();
        if let Some(ticket) = &mut ticket {
            let took = (!self.is_task).then(|| elapsed.saturating_sub(self.waited));
            ticket.record(outcome, elapsed, took);
        }
        let outcome = outcome.word();
        let trace_id = self.trace.id().map(tracing::field::display);
        self.trace.end(outcome);
        // Said only of callers who were asked.
        let principal = ticket.as_ref().map(|ticket| &ticket.caller.principal);
        let principal = principal.filter(|principal| principal.is_named()).map(|principal| principal.id());
        let (server, subject, door, request_id) = (self.server(), &self.tool, self.door, &self.request_id);
        // Said only of a call that never got to the plugin, which is busy with something else.
        let taken = (self.taken == Taken::No).then_some(false);
        // An empty method is `tools/call`, and goes without saying.
        let is_tool = self.method.is_empty();
        tracing::info!(
            server,
            tool = is_tool.then_some(subject),
            method = (!is_tool).then_some(self.method),
            subject = (!is_tool).then_some(subject),
            door,
            outcome,
            principal,
            taken,
            elapsed_ms,
            request_id,
            trace_id,
            "call finished"
        );
    }

    fn give_back(&mut self, verdict: Verdict) {
        let (Some(mount), Some(pass)) = (&self.mount, self.pass.take()) else { return };
        let server = self.server();
        match mount.instance.health().end(&pass, verdict, Instant::now()) {
            Some(Change::Quarantined(why)) => {
                let (faults, last, for_ms) = (why.faults, why.last.code(), why.retry_in_ms());
                tracing::warn!(server, faults, last, for_ms, "server quarantined");
            }
            Some(Change::Released) => tracing::info!(server, "server released"),
            None => {}
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.over(CallOutcome::Cancelled, Verdict::Nothing);
    }
}
