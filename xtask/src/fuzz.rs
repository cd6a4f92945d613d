//! `fuzz`: the vetting of libraries against whatever a fuzzer makes of one. Needs cargo-fuzz, gcc and g++.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    cargo::{cargo, workspace},
    failure::{Failure, Result, succeed},
};

/// `fuzz [SECONDS]`: runs for so long, ten minutes if nothing is said; fails with the first finding.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let seconds = match args {
        [] => 600,
        [seconds] => seconds
            .parse::<u32>()
            .map_err(|_| Failure::Usage(format!("`{seconds}` is no number of seconds")))?,
        _ => return Err(Failure::Usage("`fuzz` takes SECONDS or nothing".into())),
    };
    let quiet = |command: &mut Command| {
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    if !quiet(cargo().args(["fuzz", "--version"])) {
        return Err(Failure::Work("cargo-fuzz is not installed; cargo install --locked cargo-fuzz".into()));
    }
    let workspace = workspace()?;
    let corpus = workspace.target.join("fuzz-corpus/vet");
    fs::create_dir_all(&corpus).map_err(|e| Failure::at("cannot make", &corpus, e))?;
    seed(&workspace.root, &corpus)?;
    let mut command = cargo();
    command
        .current_dir(workspace.root.join("host"))
        // Coverage needs flags that the stable compiler hides. No sanitizer: there is no unsafe code in it.
        .env("RUSTC_BOOTSTRAP", "1")
        .args(["fuzz", "run", "--sanitizer", "none", "--target-dir"])
        .arg(workspace.target.join("fuzz"))
        .arg("vet")
        .arg(&corpus)
        .args(["--", "-timeout=5", "-rss_limit_mb=1024", "-max_len=65536"])
        .arg(format!("-max_total_time={seconds}"));
    succeed(&mut command)
}

/// Libraries that vetting accepts, small enough for a fuzzer to turn inside out.
fn seed(root: &Path, corpus: &Path) -> Result<()> {
    let variants: [(&str, &[&str]); 3] = [
        ("plain", &[]),
        ("nodelete", &["-Wl,-z,nodelete"]),
        ("needs", &["-Wl,--no-as-needed", "-lm", "-lc"]),
    ];
    for (name, more) in variants {
        let seed: PathBuf = corpus.join(name);
        let mut command = Command::new("gcc");
        command
            .args(["-shared", "-nostdlib", "-s", "-Wl,-z,noseparate-code", "-Wl,-z,max-page-size=4096", "-o"])
            .arg(&seed)
            .arg(root.join("host/fuzz/seed.c"))
            .args(more);
        succeed(&mut command)?;
    }
    Ok(())
}
