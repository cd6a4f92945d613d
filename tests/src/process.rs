//! What this process has: to be compared before and after a library.

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
