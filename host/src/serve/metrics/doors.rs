//! What is told of callers: who was let in, who was held up, with what they were answered, and what of theirs lasts.

use std::{fmt, sync::Arc};

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder};

use super::family::{Series, counters, gauge, gauges};
use crate::serve::{Gateway, mcp::OpenAtDoor};

/// The doors of this gateway.
pub(super) struct Doors {
    gateway: Arc<Gateway>,
    /// What lasts at each server's door, in file order.
    open: Vec<(String, OpenAtDoor)>,
}

impl Doors {
    pub(super) async fn of(gateway: &Arc<Gateway>) -> Self {
        let served = Arc::clone(&gateway.served());
        let mut open = Vec::new();
        for mount in served.table.serving() {
            if let Some(door) = served.door(mount) {
                open.push((mount.instance.entry().name.to_string(), door.open().await));
            }
        }
        Self { gateway: gateway.clone(), open }
    }
}

impl fmt::Debug for Doors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Doors")
    }
}

impl Collector for Doors {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let gauges_of = |encoder: &mut DescriptorEncoder<'_>, told, number: fn(&OpenAtDoor) -> usize| {
            let series = |(server, open): &'_ (String, OpenAtDoor)| (server.clone(), number(open) as u64);
            let rows: Vec<_> = self.open.iter().map(series).collect();
            gauges(encoder, told, rows.iter().map(|(server, count)| ([("server", server.as_str())], *count)))
        };
        let encoder = &mut encoder;
        gauges_of(encoder, ["mcp_sessions", "Sessions of clients of 2025 that are open."], |open| {
            open.sessions
        })?;
        gauges_of(encoder, ["mcp_streams", "Streams of changes that are open."], |open| open.streams)?;
        gauges_of(encoder, ["mcp_tasks", "Tasks that run."], |open| open.tasks)?;
        let seen = self.gateway.seen();
        let connections = ["gateway_connections", "Connections that are served, at all listeners."];
        gauge(encoder, connections, seen.connections() as u64)?;
        let responses = ["gateway_http_responses", "Answers to HTTP requests, by status."];
        let statuses: Vec<_> =
            seen.statuses.counts().map(|(status, count)| (status.to_string(), count)).collect();
        let series = statuses.iter().map(|(status, count)| ([("status", status.as_str())], *count));
        counters(encoder, responses, series)?;
        let served = self.gateway.served();
        if served.authority.is_on() {
            let decisions = [
                "gateway_auth_decisions",
                "Callers that were let in, and those that were not, by what they have shown.",
            ];
            let counts = seen.decisions.counts();
            let series = counts
                .map(|([shown, verdict], count)| ([("credential", shown), ("decision", verdict)], count));
            counters(encoder, decisions, series)?;
        }
        let limits = [
            "gateway_limit_decisions",
            "Calls and sessions for which there was room, or not, by `[limits]`.",
        ];
        let rooms = served.tickets.rooms();
        counters(encoder, limits, rooms.flat_map(|(limit, counts)| decisions_of("limit", limit, counts)))?;
        let rates = ["gateway_rate_decisions", "Calls that a `[[limits.rate]]` has let through, or not."];
        let decided = served.tickets.rates();
        counters(encoder, rates, decided.flat_map(|(rate, counts)| decisions_of("rate", rate, counts)))
    }
}

fn decisions_of<'a>(
    kind: &'static str,
    name: &'a str,
    [allowed, refused]: [u64; 2],
) -> [Series<'a, 2, u64>; 2] {
    [("allowed", allowed), ("refused", refused)]
        .map(|(decision, count)| ([(kind, name), ("decision", decision)], count))
}
