//! `soak LIBRARY ROUNDS`: loads a library, calls a tool of it and unloads it, over and over, and watches what becomes of
//! this process. `cargo xtask soak` builds and runs it.
//!
//! Out:  a line every 500 rounds, and one at the end.
//! Fails: exit code 1 if a library was not gone, or threads, descriptors or memory grew.

use std::{fmt, path::Path, process::ExitCode, sync::Arc, time::Instant};

use anyhow::{Context as _, Result, bail, ensure};
use host::{
    load::{Instance, Unloaded, prepare_process},
    unload::unload_all,
};
use serde_json::{Value, json};
use tests::{
    loaded::{call, entry_of, load_entries},
    process::{next_key, open_files, resident_kib, staged_mappings, thread_count},
};

/// How many rounds there are between two lines. Memory is compared from the first of them on: by then it holds what
/// a process comes to hold once.
const STEP: u32 = 500;
/// Most that a load may leave behind, in KiB.
const GROWTH_MAX: f64 = 0.5;

/// What this process has.
#[derive(Clone, Copy)]
struct Holds {
    resident_kib: usize,
    threads: usize,
    descriptors: usize,
    next_key: u32,
}

impl Holds {
    fn now() -> Self {
        Self {
            resident_kib: resident_kib(),
            threads: thread_count(),
            descriptors: open_files(),
            next_key: next_key(),
        }
    }
}

impl fmt::Display for Holds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resident_kib, threads, descriptors, next_key } = self;
        write!(
            f,
            "RSS {resident_kib} KiB, threads {threads}, descriptors {descriptors}, next pthread key {next_key}"
        )
    }
}

fn main() -> ExitCode {
    prepare_process();
    match soak() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn soak() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [library, rounds] = args.as_slice() else { bail!("usage: soak LIBRARY ROUNDS") };
    let (library, rounds) = (Path::new(library), rounds.parse::<u32>().context("ROUNDS is a number")?);
    let name = library.file_stem().and_then(|stem| stem.to_str()).context("LIBRARY is a file")?;
    let (tool, arguments) = exercise(name)?;
    let entries = [entry_of(name, library.to_owned())];
    // One thread: what comes and goes is then the plugin's.
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let round = || -> Result<()> {
        let running: Vec<Arc<Instance>> = load_entries(&entries);
        let result = runtime.block_on(call(&running[0], tool, arguments.clone()));
        ensure!(result["isError"] == false, "the call failed: {result}");
        let unloaded = unload_all(&running);
        ensure!(unloaded.iter().all(|(_, became)| *became == Unloaded::Gone), "not gone: {unloaded:?}");
        ensure!(staged_mappings() == 0, "something of it is still mapped");
        Ok(())
    };

    let began = Instant::now();
    round().context("in round 1")?;
    let first = Holds::now();
    println!("{name}: round 1: {first}");
    let mut settled = None;
    for number in 2..=rounds {
        round().with_context(|| format!("in round {number}"))?;
        if number.is_multiple_of(STEP) {
            let now = Holds::now();
            println!("{name}: round {number}: {now}");
            settled.get_or_insert(now);
        }
    }
    let last = Holds::now();
    let growth = settled
        .filter(|_| rounds > STEP)
        .map(|settled| (last.resident_kib as f64 - settled.resident_kib as f64) / f64::from(rounds - STEP));
    let grown = growth.map_or("not measured".into(), |kib| format!("{kib:.3} KiB a load since round {STEP}"));
    println!("{name}: {rounds} rounds in {:.0?}, all gone; growth: {grown}; {last}", began.elapsed());
    ensure!(last.threads == first.threads, "threads grew from {} to {}", first.threads, last.threads);
    let descriptors = (first.descriptors, last.descriptors);
    ensure!(descriptors.0 == descriptors.1, "descriptors grew from {} to {}", descriptors.0, descriptors.1);
    ensure!(last.next_key == first.next_key, "pthread keys are not given back");
    ensure!(growth.is_none_or(|kib| kib <= GROWTH_MAX), "memory grew by more than {GROWTH_MAX} KiB a load");
    Ok(())
}

/// What is called in each round.
fn exercise(plugin: &str) -> Result<(&'static str, Value)> {
    match plugin {
        "greet" => Ok(("echoHai", json!({ "userName": "Ada" }))),
        "uses_everything" => Ok(("exercise", json!({ "print": "" }))),
        other => bail!("nobody has said what to call of `{other}`"),
    }
}
