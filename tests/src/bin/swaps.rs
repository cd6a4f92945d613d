//! `swaps ONE OTHER TIMES CONNECTIONS`: swaps one build of `greet` for another, over and over, under a steady load through every
//! door, and watches what becomes of the calls and of the gateway's process. `cargo xtask swaps` builds and runs it.
//!
//! Out:  how long calls took without swaps and with them, how long swaps took, what the process holds.
//! Fails: exit code 1 if a call failed, a library was not gone, or memory grew.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use http::Request;
use serde_json::Value;
use tests::{
    Gateway, admin_key, open_to_all,
    process::{Held, mapped_libraries},
    traffic::{Door, Seen, Swaps, Traffic},
};

/// How much the gateway's memory may grow from the first tenth of the swaps to the end, in KiB.
const GROWTH_MAX: usize = 4096;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(swaps())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn swaps() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [one, other, times, connections] = args.as_slice() else {
        bail!("usage: swaps ONE OTHER TIMES CONNECTIONS");
    };
    let builds = [fs::read(one)?, fs::read(other)?];
    let (times, connections): (usize, usize) = (times.parse()?, connections.parse()?);
    let folder = tempfile::tempdir()?;
    let library = folder.path().join("greet.so");
    fs::write(&library, &builds[0])?;
    let gateway = Gateway::with_config(&config(&library, Path::new(one))).await;

    let swaps = Arc::new(Swaps::default());
    let traffic = Traffic::start(gateway.base(), connections, &swaps);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let without = traffic.stop().await?;

    let traffic = Traffic::start(gateway.base(), connections, &swaps);
    // Until every session is there.
    tokio::time::sleep(Duration::from_secs(1)).await;
    println!("after {:5} swaps: {}", 0, Held::of(gateway.pid()));
    let (began, mut took, mut settled) = (Instant::now(), Vec::new(), None);
    for number in 1..=times {
        swaps.begin();
        install(&builds[number % 2], &library)?;
        took.push(reload(&gateway).await?);
        swaps.end();
        if number.is_multiple_of((times / 10).max(1)) {
            let held = Held::of(gateway.pid());
            println!("after {number:5} swaps: {held}");
            settled.get_or_insert(held.resident_kib);
        }
    }
    let elapsed = began.elapsed();
    let with = traffic.stop().await?;

    report(&without, &with, &mut took, elapsed);
    let unloaded = gone(&gateway, times).await;
    let held = Held::of(gateway.pid());
    let mapped = mapped_libraries(gateway.pid());
    println!("{unloaded} old libraries gone; at the end: {held}; mapped: {}", mapped.join(" "));
    let failed: Vec<&String> = without.iter().chain(&with).flat_map(|(_, seen)| &seen.failed).collect();
    ensure!(failed.is_empty(), "{} calls failed, the first: {}", failed.len(), failed[0]);
    ensure!(mapped.len() == 2, "two libraries serve, and these are mapped: {mapped:?}");
    let grown = held.resident_kib.saturating_sub(settled.unwrap_or(held.resident_kib));
    ensure!(grown <= GROWTH_MAX, "memory grew by {grown} KiB");
    Ok(())
}

fn config(library: &Path, neighbour: &Path) -> String {
    let server = |name: &str, path: &Path| {
        format!("[[server]]\nname = {name:?}\nplugin = {path:?}\nprefix = \"/{name}\"\n")
    };
    open_to_all(&format!(
        "listen = \"127.0.0.1:0\"\n{}[log]\nformat = \"json\"\nfilter = \"info,host::serve=warn\"\n{}{}",
        admin_key().table,
        server("greet", library),
        server("bye", neighbour)
    ))
}

/// As `cargo xtask run` does it.
fn install(build: &[u8], library: &PathBuf) -> Result<()> {
    let temporary = library.with_extension("new");
    fs::write(&temporary, build)?;
    Ok(fs::rename(temporary, library)?)
}

/// How long it took.
async fn reload(gateway: &Gateway) -> Result<Duration> {
    let began = Instant::now();
    let request = Request::post("/admin/reload").header("authorization", admin_key().bearer());
    let answer = gateway.send(request.body(String::new())?).await?;
    ensure!(answer.status == 200, "{}: {}", answer.status, answer.body);
    let reload: Value = serde_json::from_str(&answer.body)?;
    // The gateway may have seen the new file before it was asked; then there is nothing left to do.
    ensure!(reload["refused"] == serde_json::json!([]), "{reload}");
    Ok(began.elapsed())
}

/// Waits until as many libraries of `greet` have ended; how many of them are gone.
async fn gone(gateway: &Gateway, times: usize) -> usize {
    let ended = |metrics: &str, result: &str| -> usize {
        let name = format!("gateway_server_unloads_total{{server=\"greet\",result=\"{result}\"");
        let rows = metrics.lines().filter(|line| line.starts_with(&name));
        rows.filter_map(|line| line.rsplit_once(' ')?.1.parse::<usize>().ok()).sum()
    };
    let patience = Instant::now() + Duration::from_secs(60);
    loop {
        let metrics = gateway.get("/metrics").await.body;
        let (gone, kept) = (ended(&metrics, "gone"), ended(&metrics, "kept"));
        if gone + kept >= times || Instant::now() > patience {
            return gone;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn report(without: &[(Door, Seen)], with: &[(Door, Seen)], took: &mut [Duration], elapsed: Duration) {
    let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
    println!("\n{:34}without swaps {:>28}p99 with", "", "with swaps  ");
    println!(
        "{:16}{:>9}{:>9}{:>9}   {:>9}{:>9}{:>9}{:>10}{:>10}{:>8}",
        "door", "p50", "p99", "max", "p50", "p99", "max", "/ without", "calls", "failed"
    );
    for ((door, without), (_, with)) in without.iter().zip(with) {
        let of = |seen: &Seen| [0.5, 0.99, 1.0].map(|part| ms(seen.quantile(part)));
        let ([a, b, c], [d, e, f]) = (of(without), of(with));
        let (calls, failed) =
            (without.took.len() + with.took.len(), without.failed.len() + with.failed.len());
        let name = door.name();
        println!("{name:16}{a:9.2}{b:9.2}{c:9.2}   {d:9.2}{e:9.2}{f:9.2}{:10.2}{calls:10}{failed:8}", e / b);
    }
    took.sort_unstable();
    let at = |part: f64| ms(took[((took.len() - 1) as f64 * part) as usize]);
    println!(
        "\n{} swaps in {:.1} s, {:.1} a second; one took {:.2} {:.2} {:.2} ms (p50, p99, max)",
        took.len(),
        elapsed.as_secs_f64(),
        took.len() as f64 / elapsed.as_secs_f64(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
    let answered =
        with.iter().fold([0, 0], |all, (_, seen)| [all[0] + seen.answered[0], all[1] + seen.answered[1]]);
    println!("answered by one build {}, by the other {}", answered[0], answered[1]);
}
