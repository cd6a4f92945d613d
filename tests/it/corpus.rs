//! Hundreds of files that are no plugins any more: cut, foreign and mistyped ones are refused with a reason, and
//! whatever a flipped bit does, the gateway does not crash or hang.

use std::{
    fs::{self, File},
    process::Command,
    time::{Duration, Instant},
};

use tests::{Folder, artifacts, built};

/// A gateway that takes longer for one batch hangs.
const PATIENCE: Duration = Duration::from_secs(300);
/// Files that one gateway checks.
const BATCH: usize = 50;

/// A small plugin: each file of the corpus is a copy of it.
fn plugin() -> Vec<u8> {
    fs::read(artifacts().join("versions/greet_small.so")).expect("a built plugin")
}

fn u64_at(bytes: &[u8], at: usize) -> usize {
    let word: [u8; 8] = bytes[at..at + 8].try_into().expect("eight bytes");
    usize::try_from(u64::from_le_bytes(word)).expect("an offset in a file")
}

fn u16_at(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
}

/// Where headers and what they speak of begin and end: the ELF header, both tables, each segment and section.
fn boundaries(bytes: &[u8]) -> Vec<usize> {
    let (programs, sections) = (u64_at(bytes, 32), u64_at(bytes, 40));
    let (program_count, section_count) = (u16_at(bytes, 56), u16_at(bytes, 60));
    let mut at: Vec<usize> = vec![0, 1, 4, 16, 18, 20, 63, 64];
    for program in (0..program_count).map(|i| programs + 56 * i) {
        let (offset, size) = (u64_at(bytes, program + 8), u64_at(bytes, program + 32));
        at.extend([program, program + 56, offset, offset + size]);
    }
    for section in (0..section_count).map(|i| sections + 64 * i) {
        let (offset, size) = (u64_at(bytes, section + 24), u64_at(bytes, section + 32));
        at.extend([section, section + 64, offset, offset + size]);
    }
    let around = |at: usize| [at.saturating_sub(1), at, at + 1];
    let mut all: Vec<usize> = at.into_iter().flat_map(around).filter(|at| *at < bytes.len()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Checks `files` in batches; which of them would have been loaded.
fn check(files: Vec<(String, Vec<u8>)>) -> Vec<String> {
    let mut loaded = Vec::new();
    for batch in files.chunks(BATCH) {
        let folder = Folder::empty();
        for (name, bytes) in batch {
            folder.file(name, bytes);
        }
        loaded.extend(check_folder(&folder, batch.iter().map(|(name, _)| name.as_str()).collect()));
    }
    loaded
}

/// Checks these servers in `folder`; each has to be refused with a reason, or to load.
fn check_folder(folder: &Folder, names: Vec<&str>) -> Vec<String> {
    // A file that hangs the child is to cost a second.
    let servers: Vec<(&str, &str)> = names.iter().map(|name| (*name, "start_timeout = \"1s\"")).collect();
    folder.config(&servers);
    let began = Instant::now();
    // Which asserts that no signal has ended it.
    let report = folder.run(&["check"]);
    assert!(began.elapsed() < PATIENCE, "it hangs over {names:?}");
    assert!(report.starts_with("exit 0") || report.starts_with("exit 1"), "{report}");
    let line = |name: &str| {
        let path = format!("plugins/{name}.so ");
        report.lines().find(|line| line.contains(&path)).expect("each server has its line").to_owned()
    };
    let (failed, loaded): (Vec<&str>, Vec<&str>) =
        names.into_iter().partition(|name| line(name).contains("failed: server `"));
    for name in failed {
        let line = line(name);
        let reason = line.split_once(&format!("failed: server `{name}`: ")).map_or("", |(_, reason)| reason);
        assert!(reason.len() > 20 && !reason.contains("panicked"), "{line}");
    }
    loaded.into_iter().map(str::to_owned).collect()
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let whole = plugin();
    let cut = |at: usize| (format!("cut_at_{at}"), whole[..at].to_vec());
    let files: Vec<_> = boundaries(&whole).into_iter().map(cut).collect();
    assert!(files.len() > 150, "{} places to cut", files.len());
    println!("{} cut files", files.len());
    assert_eq!(check(files), Vec::<String>::new());
}

#[test]
fn a_flipped_byte_in_a_header_neither_crashes_nor_hangs_the_gateway() {
    let whole = plugin();
    let (programs, program_count) = (u64_at(&whole, 32), u16_at(&whole, 56));
    let dynamic =
        (0..program_count).map(|i| programs + 56 * i).find(|at| whole[*at..*at + 4] == [2, 0, 0, 0]);
    let dynamic =
        dynamic.map(|at| (u64_at(&whole, at + 8), u64_at(&whole, at + 32))).expect("a dynamic segment");
    // Every byte of the ELF header, every third of what the dynamic linker reads first.
    let header = 0..64;
    let segments = (programs..programs + 56 * program_count).step_by(3);
    let entries = (dynamic.0..dynamic.0 + dynamic.1).step_by(5);
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        (format!("flipped_at_{at}"), bytes)
    };
    let files: Vec<_> = header.chain(segments).chain(entries).map(flipped).collect();
    assert!(files.len() > 150, "{} bytes to flip", files.len());
    let (count, loaded) = (files.len(), check(files).len());
    println!("{count} flipped files, of which {loaded} load");
}

#[test]
fn what_is_something_else_altogether_is_refused() {
    let folder = Folder::empty();
    let greet = built("greet");
    let machine = |low: u8| {
        let mut bytes = greet.clone();
        bytes[18] = low;
        bytes
    };
    let class_32 = {
        let mut bytes = greet.clone();
        bytes[4] = 1;
        bytes
    };
    let big_endian = {
        let mut bytes = greet.clone();
        bytes[5] = 2;
        bytes
    };
    let random: Vec<u8> = (0..100_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let elf_then_random = [&greet[..64], &random[..]].concat();
    let zeroes_inside = {
        let mut bytes = greet.clone();
        let (quarter, half) = (bytes.len() / 4, bytes.len() / 2);
        bytes[quarter..half].fill(0);
        bytes
    };
    let kinds: [(&str, Vec<u8>); 14] = [
        ("empty", Vec::new()),
        ("text", b"#!/bin/sh\n".to_vec()),
        ("archive", b"!<arch>\n".to_vec()),
        ("random", random),
        ("elf_then_random", elf_then_random),
        ("only_zeroes", vec![0; 4096]),
        ("machine_arm", machine(183)),
        ("machine_386", machine(3)),
        ("machine_riscv", machine(243)),
        ("machine_none", machine(0)),
        ("class_32", class_32),
        ("big_endian", big_endian),
        ("no_root_module", built("no_root_module")),
        ("program", fs::read(artifacts().join("gateway")).expect("the gateway")),
    ];
    for (name, bytes) in &kinds {
        folder.file(name, bytes);
    }
    let plugins = folder.path().join("plugins");
    for (name, bytes) in [("sparse_elf", 1u64 << 29), ("sparse_huge", 1 << 42)] {
        let path = plugins.join(format!("{name}.so"));
        fs::write(&path, b"\x7fELF").expect("a file");
        File::options().write(true).open(path).and_then(|file| file.set_len(bytes)).expect("a sparse file");
    }
    fs::create_dir(plugins.join("directory.so")).expect("a folder");
    std::os::unix::fs::symlink("nowhere", plugins.join("dangling.so")).expect("a link");
    std::os::unix::fs::symlink("/dev/zero", plugins.join("device.so")).expect("a link");
    let fifo = Command::new("mkfifo").arg(plugins.join("fifo.so")).status();
    assert!(fifo.is_ok_and(|status| status.success()), "mkfifo makes a fifo");

    let others = ["sparse_elf", "sparse_huge", "directory", "dangling", "device", "fifo", "missing"];
    let names: Vec<&str> = kinds.iter().map(|(name, _)| *name).chain(others).collect();
    println!("{} files of other kinds", names.len() + 1);
    assert_eq!(check_folder(&folder, names), Vec::<String>::new());

    folder.file("zeroes_inside", &zeroes_inside);
    // It may load, if what is missing is never looked at.
    check_folder(&folder, vec!["zeroes_inside"]);
}
