//! What is told of each server.

use std::{fmt, sync::Arc, time::Instant};

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder};

use super::family::{counters, gauge, gauges};
use crate::{
    load::{self, Fault, Instance},
    mount::Mounted,
    serve::Gateway,
};

/// The servers of the table that is served when it is asked.
pub(super) struct Servers(pub(super) Arc<Gateway>);

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Servers")
    }
}

impl Collector for Servers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let served = self.0.served();
        let servers = &served.table.servers;
        let build = [([("version", env!("CARGO_PKG_VERSION"))], 1_u64)];
        gauges(&mut encoder, ["gateway_build_info", "Which gateway this is."], build.into_iter())?;
        state(&mut encoder, servers)?;
        health(&mut encoder, servers)?;
        libraries(&mut encoder, servers)?;
        logs(&mut encoder, servers)?;
        let open = ["gateway_calls_open", "Calls under way, at every door."];
        gauge(&mut encoder, open, self.0.calls_open() as u64)
    }
}

fn name(mounted: &Mounted) -> &str {
    mounted.entry().name.as_str()
}

/// The servers with a library loaded, each with its name.
fn loaded(servers: &[Mounted]) -> impl Iterator<Item = (&str, &Instance)> {
    servers.iter().filter_map(|mounted| Some((name(mounted), &**mounted.instance()?)))
}

fn state(encoder: &mut DescriptorEncoder<'_>, servers: &[Mounted]) -> fmt::Result {
    let up = ["gateway_server_up", "Whether the server runs. One that is quarantined does."];
    let is_up = |mounted: &Mounted| mounted.failure().is_none_or(|failure| failure.retry_in.is_some());
    gauges(
        encoder,
        up,
        servers.iter().map(|mounted| ([("server", name(mounted))], i64::from(is_up(mounted)))),
    )?;
    let info = ["gateway_server_info", "Which plugin the server is, and of which file."];
    let serving = servers.iter().filter_map(|mounted| match mounted {
        Mounted::Serving(mount) => {
            Some((name(mounted), mount.instance.digest().to_string(), &mount.manifest))
        }
        _ => None,
    });
    let serving: Vec<_> = serving.collect();
    let of_plugin = serving.iter().map(|(server, sha256, manifest)| {
        let labels = [
            ("server", *server),
            ("plugin", manifest.name.as_str()),
            ("version", manifest.version.as_str()),
            ("sha256", sha256.as_str()),
        ];
        (labels, 1_u64)
    });
    gauges(encoder, info, of_plugin)?;
    let generation = ["gateway_server_generation", "Which loading of this process the server is."];
    gauges(
        encoder,
        generation,
        loaded(servers).map(|(server, instance)| ([("server", server)], instance.generation())),
    )?;
    let heap = ["gateway_server_heap_bytes", "Memory that the plugin's Rust code has allocated."];
    gauges(
        encoder,
        heap,
        loaded(servers).map(|(server, instance)| ([("server", server)], instance.heap_bytes())),
    )?;
    let stalled = [
        "gateway_server_stalled_seconds",
        "For how long the plugin has taken no message of those sent to it; 0 up to one second.",
    ];
    let seconds = |instance: &Instance| instance.stalled_for().unwrap_or_default().as_secs_f64();
    gauges(
        encoder,
        stalled,
        loaded(servers).map(|(server, instance)| ([("server", server)], seconds(instance))),
    )
}

fn health(encoder: &mut DescriptorEncoder<'_>, servers: &[Mounted]) -> fmt::Result {
    let quarantined =
        ["gateway_server_quarantined", "Whether calls are refused because too many went wrong."];
    let now = Instant::now();
    let is_quarantined = |instance: &Instance| instance.health().quarantined(now).is_some();
    gauges(
        encoder,
        quarantined,
        loaded(servers).map(|(server, instance)| ([("server", server)], i64::from(is_quarantined(instance)))),
    )?;
    let faults = ["gateway_server_faults", "Calls that went wrong by the plugin's doing."];
    let by_kind = loaded(servers).flat_map(|(server, instance)| {
        let series = move |fault: Fault| {
            ([("server", server), ("kind", fault.code())], instance.health().faults(fault))
        };
        Fault::ALL.into_iter().map(series)
    });
    counters(encoder, faults, by_kind)?;
    let quarantines =
        ["gateway_server_quarantines", "How often the server was quarantined, renewals included."];
    counters(
        encoder,
        quarantines,
        loaded(servers).map(|(server, instance)| ([("server", server)], instance.health().quarantines())),
    )
}

fn logs(encoder: &mut DescriptorEncoder<'_>, servers: &[Mounted]) -> fmt::Result {
    let records = ["gateway_plugin_log_records", "What the plugin logged and printed, by level."];
    let by_level = loaded(servers).flat_map(|(server, instance)| {
        let levels = ["error", "warn", "info", "debug", "trace"];
        levels
            .into_iter()
            .zip(instance.logged())
            .map(move |(level, count)| ([("server", server), ("level", level)], count))
    });
    counters(encoder, records, by_level)?;
    let dropped = [
        "gateway_plugin_log_dropped",
        "What the plugin wanted to log beyond its log_max_per_second, which is lost.",
    ];
    counters(
        encoder,
        dropped,
        loaded(servers).map(|(server, instance)| ([("server", server)], instance.log_dropped())),
    )
}

fn libraries(encoder: &mut DescriptorEncoder<'_>, servers: &[Mounted]) -> fmt::Result {
    let unloads = ["gateway_server_unloads", "How libraries ended: gone, or kept and why."];
    let ends = load::ends();
    let configured = ends.iter().filter(|end| servers.iter().any(|mounted| name(mounted) == end.server));
    let series = configured.map(|end| {
        ([("server", end.server.as_str()), ("result", end.result), ("reason", end.reason)], end.times)
    });
    counters(encoder, unloads, series)?;
    let kept = ["gateway_libraries_kept", "Libraries of this process that stayed mapped after their end."];
    gauge(encoder, kept, load::libraries_kept() as u64)
}
