//! What is told of calls: by server and tool, and of other methods by server and method.

use std::{fmt, sync::Arc};

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder};

use super::family::{counters, gauges, histograms};
use crate::serve::{
    Gateway,
    call::CallOutcome,
    seen::{self, Series, ServerTally},
};

/// The calls of the servers that are configured when it is asked.
pub(super) struct Calls(pub(super) Arc<Gateway>);

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Calls")
    }
}

/// The series of one tool, or of one method, of a server.
struct Counted {
    server: String,
    /// Of the tool or the method.
    name: Box<str>,
    series: Arc<Series>,
}

impl Collector for Calls {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if !self.0.settings().counts_calls {
            return Ok(());
        }
        let servers = self.tallies();
        let (mut tools, mut methods) = (Vec::new(), Vec::new());
        for (server, tally) in &servers {
            let of = |name: Box<str>, series| Counted { server: server.clone(), name, series };
            tools.extend(tally.tools().into_iter().map(|(name, series)| of(name, series)));
            methods.extend(tally.methods().map(|(name, series)| of(name.into(), series)));
        }
        of_tools(&mut encoder, &tools)?;
        of_methods(&mut encoder, &methods)?;
        let requests =
            ["mcp_requests", "Messages to the server's MCP endpoint, by method; `_answer`: to a question."];
        let by_method = servers.iter().flat_map(|(server, tally)| {
            tally.requests().map(|(method, count)| ([("server", server.as_str()), ("method", method)], count))
        });
        counters(&mut encoder, requests, by_method)
    }
}

impl Calls {
    /// In file order.
    fn tallies(&self) -> Vec<(String, Arc<ServerTally>)> {
        let served = self.0.served();
        let entries = served.table.servers.iter().map(|mounted| mounted.entry());
        entries.filter_map(|entry| Some((entry.name.to_string(), self.0.tally_of(entry)?))).collect()
    }
}

/// The outcomes that there were, and `ok` in any case: that a series goes from nothing to one is not seen by who asks for its
/// rate.
fn ends(one: &Counted) -> impl Iterator<Item = (&'static str, u64)> {
    let told = |(outcome, count): &(CallOutcome, u64)| *count > 0 || *outcome == CallOutcome::Ok;
    one.series.ends().into_iter().filter(told).map(|(outcome, count)| (outcome.word(), count))
}

fn over(one: &Counted) -> u64 {
    one.series.ends().iter().map(|(_, count)| count).sum()
}

fn of_tools(encoder: &mut DescriptorEncoder<'_>, tools: &[Counted]) -> fmt::Result {
    let labels = |one| labels("tool", one);
    let calls = ["mcp_tool_calls", "Calls of the tool that are over, however they ended."];
    counters(encoder, calls, tools.iter().map(|one| (labels(one), over(one))))?;
    let results = ["mcp_tool_call_results", "Calls of the tool that are over, by how they ended."];
    let by_outcome = tools.iter().flat_map(|one| {
        let [server, tool] = labels(one);
        ends(one).map(move |(outcome, count)| ([server, tool, ("outcome", outcome)], count))
    });
    counters(encoder, results, by_outcome)?;
    let open = ["mcp_tool_calls_in_flight", "Calls of the tool under way."];
    gauges(encoder, open, tools.iter().map(|one| (labels(one), one.series.open())))?;
    let took = [
        "mcp_tool_call_duration_seconds",
        "How long calls of the tool took, less what they waited for their client. Tasks and calls that were refused are not timed.",
    ];
    histograms(encoder, took, timed(tools).map(|(one, took)| (labels(one), took)))
}

fn of_methods(encoder: &mut DescriptorEncoder<'_>, methods: &[Counted]) -> fmt::Result {
    let labels = |one| labels("method", one);
    let calls =
        ["gateway_method_calls", "Calls of the plugin by other methods that are over, by how they ended."];
    let by_outcome = methods.iter().flat_map(|one| {
        let [server, method] = labels(one);
        ends(one).map(move |(outcome, count)| ([server, method, ("outcome", outcome)], count))
    });
    counters(encoder, calls, by_outcome)?;
    let took = ["gateway_method_call_duration_seconds", "How long calls by other methods took."];
    histograms(encoder, took, timed(methods).map(|(one, took)| (labels(one), took)))
}

fn labels<'a>(kind: &'static str, one: &'a Counted) -> [(&'static str, &'a str); 2] {
    [("server", &one.server), (kind, &one.name)]
}

/// Those of which a call was timed: 24 lines for each that was never called are of no use to anybody.
fn timed(all: &[Counted]) -> impl Iterator<Item = (&Counted, seen::Counted)> {
    all.iter().map(|one| (one, one.series.took())).filter(|(_, took)| took.count() > 0)
}
