//! What a plugin has made and must give back before its library may be closed.

use std::{
    collections::{BTreeMap, HashSet},
    io,
    os::unix::ffi::OsStrExt,
    path::Path,
};

use super::library::is_alive;

/// Threads, pthread keys and mappings of one plugin, as its hooks report them.
#[derive(Debug, Default)]
pub(super) struct Census {
    /// Threads asked for that have not said their id yet.
    starting: usize,
    threads: HashSet<i32>,
    keys: HashSet<u32>,
    /// Start to length; never overlapping.
    mappings: BTreeMap<usize, usize>,
}

impl Census {
    pub(super) fn thread_spawning(&mut self) {
        self.starting += 1;
    }

    pub(super) fn thread_started(&mut self, tid: i32) {
        self.starting = self.starting.saturating_sub(1);
        self.threads.insert(tid);
        // A plugin that makes a thread per call must not make this grow.
        if self.threads.len() > 64 {
            self.threads.retain(|tid| is_alive(*tid));
        }
    }

    pub(super) fn thread_failed(&mut self) {
        self.starting = self.starting.saturating_sub(1);
    }

    /// How many threads have not ended, their destructors included.
    pub(super) fn threads_left(&self) -> usize {
        self.starting + self.threads.iter().filter(|tid| is_alive(**tid)).count()
    }

    pub(super) fn key(&mut self, key: u32, made: bool) {
        if made {
            self.keys.insert(key);
        } else {
            self.keys.remove(&key);
        }
    }

    pub(super) fn take_keys(&mut self) -> HashSet<u32> {
        std::mem::take(&mut self.keys)
    }

    pub(super) fn mapped(&mut self, at: usize, len: usize) {
        self.unmapped(at, len);
        self.mappings.insert(at, len);
    }

    /// Forgets a range, which may be part of a mapping or span several.
    pub(super) fn unmapped(&mut self, at: usize, len: usize) {
        let end = at.saturating_add(len);
        let touched: Vec<(usize, usize)> = self
            .mappings
            .range(..end)
            .rev()
            .map(|(start, len)| (*start, start + len))
            .take_while(|(_, stop)| *stop > at)
            .collect();
        for (start, stop) in touched {
            self.mappings.remove(&start);
            if start < at {
                self.mappings.insert(start, at - start);
            }
            if stop > end {
                self.mappings.insert(end, stop - end);
            }
        }
    }

    /// Mappings the plugin itself made of the file at `path`, such as std makes to print a backtrace. Only those
    /// are ever unmapped for it: nobody else can have mapped its private copy.
    pub(super) fn mappings_of(&self, path: &Path) -> io::Result<Vec<(usize, usize)>> {
        let mut mapped = mappings(path)?;
        mapped.retain(|(start, stop)| {
            self.mappings.range(..=start).next_back().is_some_and(|(at, len)| at + len >= *stop)
        });
        Ok(mapped)
    }
}

/// The address ranges (start, stop) at which this process has the file at `path` mapped. An error, such as that
/// of a process out of descriptors, is no proof of anything.
pub(super) fn mappings(path: &Path) -> io::Result<Vec<(usize, usize)>> {
    // As bytes: a path need not be text, and one that is not ours must not hide one that is.
    let (path, maps) = (path.as_os_str().as_bytes(), std::fs::read("/proc/self/maps")?);
    let lines = maps.split(|byte| *byte == b'\n');
    // A deleted file's name is followed by ` (deleted)`.
    let ours = lines.filter(|line| line.strip_suffix(b" (deleted)").unwrap_or(line).ends_with(path));
    let range = |line: &[u8]| {
        let range = str::from_utf8(line.split(|byte| *byte == b' ').next()?).ok()?;
        let (start, stop) = range.split_once('-')?;
        Some((usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(stop, 16).ok()?))
    };
    Ok(ours.filter_map(range).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_programs_own_file_is_mapped_and_its_thread_alive() {
        let program = std::env::current_exe().expect("it has a file");
        assert!(!mappings(&program).expect("Linux has it").is_empty());
        assert!(mappings(Path::new("/no/such/file")).expect("Linux has it").is_empty());
        assert!(is_alive(super::super::library::thread_id()));
        let gone = std::thread::spawn(super::super::library::thread_id).join().expect("does not panic");
        // Joined is a moment before gone.
        while is_alive(gone) {
            std::thread::yield_now();
        }
    }

    fn left(census: &Census) -> Vec<(usize, usize)> {
        census.mappings.iter().map(|(at, len)| (*at, *len)).collect()
    }

    #[test]
    fn a_mapping_trimmed_at_both_ends_keeps_its_middle() {
        let mut census = Census::default();
        census.mapped(100, 100);
        census.unmapped(100, 10);
        census.unmapped(190, 10);
        assert_eq!(left(&census), [(110, 80)]);
        census.unmapped(140, 10);
        assert_eq!(left(&census), [(110, 30), (150, 40)]);
    }

    #[test]
    fn one_unmapping_may_end_several_mappings() {
        let mut census = Census::default();
        census.mapped(0, 10);
        census.mapped(10, 10);
        census.mapped(30, 10);
        census.unmapped(5, 30);
        assert_eq!(left(&census), [(0, 5), (35, 5)]);
    }
}
