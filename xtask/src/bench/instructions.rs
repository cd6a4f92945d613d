//! Instructions, counted by callgrind: the same whatever else the machine does. What the kernel does is not among them, nor
//! is it seen that some take longer than others.
//!
//! A gateway under callgrind is asked a few requests of every kind; another is asked the same, and more of one kind. What that
//! one needs more, each of the further requests has needed: starting, stopping and whatever is made once cancel out.

use std::{fs, path::Path, process::Command};

use super::{
    Bench, KINDS,
    setting::Setting,
    table::{Cell, print_table},
};
use crate::failure::{Failure, Result};

const FEW: u64 = 200;
const MORE: u64 = 2_000;

pub(super) fn measure(bench: &mut Bench, settings: &[&Setting], rounds: usize) -> Result<()> {
    let mut table = Vec::new();
    bench.try_plugins(settings[0])?;
    for setting in settings {
        let mut counts = KINDS.map(|_| Vec::new());
        for round in 1..=rounds {
            eprintln!("==> {} ({round} of {rounds})", setting.name);
            let few = count(bench, setting, None)?;
            for (kind, counts) in KINDS.iter().zip(&mut counts) {
                let many = count(bench, setting, Some(kind))?;
                counts.push(many.saturating_sub(few) as f64 / MORE as f64);
            }
        }
        table.push((setting.name, counts));
    }
    let (_, first) = &table[0];
    let ratios = |counts: &[f64], firsts: &[f64]| {
        counts.iter().zip(firsts).map(|(count, first)| count / first).collect()
    };
    let lines = table.iter().map(|(name, counts)| {
        let cells = counts
            .iter()
            .zip(first)
            .map(|(counts, firsts)| Cell::new(counts.clone(), ratios(counts, firsts)));
        (*name, cells.collect())
    });
    print_table("instructions", &KINDS, &lines.collect::<Vec<_>>());
    println!(
        "\ncallgrind's counts for functions: callgrind_annotate {}/callgrind.SETTING.KIND",
        bench.folder.display()
    );
    Ok(())
}

/// How many instructions a gateway takes from its start to its end, if it is asked a few requests of every kind, and more of
/// `kind`.
fn count(bench: &mut Bench, setting: &Setting, kind: Option<&str>) -> Result<u64> {
    let out = bench.folder.join(format!("callgrind.{}.{}", setting.name, kind.unwrap_or("few")));
    let mut command = Command::new("valgrind");
    // Without `--log-file` its words would be among those of the gateway.
    command.args(["--tool=callgrind", "--log-file=/dev/null"]);
    command.arg(format!("--callgrind-out-file={}", out.display())).arg(&bench.gateway);
    // Several would take work from each other, now more, now less.
    command.env("TOKIO_WORKER_THREADS", "1");
    let running = bench.start(setting, command)?;
    let amount = |one: &str| if kind == Some(one) { FEW + MORE } else { FEW };
    let amounts = KINDS.map(|kind| (kind, amount(kind).to_string()));
    bench.load(&running, 1, &amounts)?;
    running.gateway.stop()?;
    total(&out)
}

fn total(out: &Path) -> Result<u64> {
    let text = fs::read_to_string(out).map_err(|e| Failure::at("cannot read", out, e))?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok());
    total.ok_or_else(|| Failure::Work(format!("callgrind has counted nothing in `{}`", out.display())))
}
