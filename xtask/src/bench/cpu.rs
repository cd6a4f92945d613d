//! CPU time, user's and system's, of the gateway's process, over the requests that it has answered meanwhile.
//!
//! All gateways run; in each round each is asked for a second, in another order. How fast the machine is changes from one
//! moment to the next, so that what counts is the median of each round's ratio.

use std::{
    fs,
    hash::{BuildHasher as _, RandomState},
    process::Command,
};

use super::{
    Bench, KINDS, Running,
    setting::Setting,
    table::{Cell, print_table},
};
use crate::failure::{Failure, Result};

const CONNECTIONS: u32 = 16;
/// The unit of /proc/PID/stat: `USER_HZ`, the same on all that Linux runs on but Alpha.
const TICK_US: f64 = 10_000.0;

pub(super) fn measure(bench: &mut Bench, settings: &[&Setting], rounds: usize) -> Result<()> {
    let mut running = Vec::new();
    for setting in settings {
        let command = Command::new(&bench.gateway);
        running.push(bench.start(setting, command)?);
    }
    let mut costs: Vec<_> = settings.iter().map(|_| KINDS.map(|_| Vec::new())).collect();
    for round in 1..=rounds {
        eprintln!("==> round {round} of {rounds}");
        for (at, kind) in KINDS.iter().enumerate() {
            for setting in shuffled(running.len()) {
                costs[setting][at].push(cost(bench, &running[setting], kind)?);
            }
        }
    }
    running.into_iter().try_for_each(|running| running.gateway.stop())?;
    let first = &costs[0];
    let ratios =
        |costs: &[f64], firsts: &[f64]| costs.iter().zip(firsts).map(|(cost, first)| cost / first).collect();
    let lines = settings.iter().zip(&costs).map(|(setting, costs)| {
        let cells =
            costs.iter().zip(first).map(|(costs, firsts)| Cell::new(costs.clone(), ratios(costs, firsts)));
        (setting.name, cells.collect())
    });
    print_table("CPU time, in microseconds", &KINDS, &lines.collect::<Vec<_>>());
    Ok(())
}

/// Another order each time.
fn shuffled(length: usize) -> Vec<usize> {
    let random = RandomState::new();
    let mut order: Vec<usize> = (0..length).collect();
    order.sort_by_key(|at| random.hash_one(at));
    order
}

/// Microseconds of a request.
fn cost(bench: &Bench, running: &Running, kind: &str) -> Result<f64> {
    let before = ticks(running.gateway.pid())?;
    let answers = bench.load(running, CONNECTIONS, &[(kind, "1s".into())])?;
    let ticks = ticks(running.gateway.pid())? - before;
    Ok(ticks as f64 * TICK_US / answers.max(1) as f64)
}

/// How long the process has had a CPU.
fn ticks(pid: u32) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    let stat = stat.map_err(|e| Failure::Work(format!("cannot read how long the gateway has run: {e}")))?;
    // The name, in parentheses, may have anything in it. From the state on, `utime` is the 12th and `stime` the 13th.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let times = fields.split_whitespace().skip(11).take(2);
    Ok(times.filter_map(|ticks| ticks.parse::<u64>().ok()).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_gateway_has_its_turn() {
        let mut order = shuffled(8);
        order.sort_unstable();
        assert_eq!(order, [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn this_process_has_run() {
        let began = ticks(std::process::id()).expect("Linux has it");
        let has_run = || ticks(std::process::id()).is_ok_and(|ticks| ticks > began);
        while !has_run() {}
    }
}
