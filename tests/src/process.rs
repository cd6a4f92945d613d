//! What a process has: to be compared before and after a library.

use std::fs;

/// How many mappings of staged libraries it has.
pub fn staged_mappings() -> usize {
    let maps = fs::read_to_string("/proc/self/maps").expect("Linux has it");
    maps.lines().filter(|line| line.contains("/gateway-") && line.contains(".so")).count()
}

/// How many threads it has.
pub fn thread_count() -> usize {
    fs::read_dir("/proc/self/task").expect("Linux has it").count()
}

/// How many descriptors it has.
pub fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").expect("Linux has it").count()
}

/// How much of its memory is in RAM, in KiB.
pub fn resident_kib() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux has it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// The lowest pthread key that is free. There are 1,024, and std ends a process that has run out of them.
pub fn next_key() -> u32 {
    host::load::first_free_key().expect("there are keys left")
}

/// What another process has.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    /// How much of its memory is in RAM, in KiB.
    pub resident_kib: usize,
    /// How many threads it has.
    pub threads: usize,
    /// How many descriptors it has.
    pub descriptors: usize,
}

impl Held {
    /// What the process `pid` has now.
    pub fn of(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let number = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("Linux has it");
            line.trim().trim_end_matches(" kB").parse().expect("a number")
        };
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("it is ours").count();
        Self { resident_kib: number("VmRSS:"), threads: number("Threads:"), descriptors }
    }
}

impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { resident_kib, threads, descriptors } = self;
        write!(f, "RSS {resident_kib} KiB, threads {threads}, descriptors {descriptors}")
    }
}

/// The staged libraries that the process `pid` has mapped, each once, by name.
pub fn mapped_libraries(pid: u32) -> Vec<String> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("it runs");
    let paths = maps.lines().filter_map(|line| Some(&line[line.find('/')?..]));
    let mut staged: Vec<&str> =
        paths.filter(|path| path.contains("/gateway-") && path.contains(".so")).collect();
    staged.sort_unstable();
    staged.dedup();
    staged.iter().filter_map(|path| Some(path.rsplit_once('/')?.1.to_owned())).collect()
}
