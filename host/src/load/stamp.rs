//! What tells two states of a file apart without reading it.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// What the system says of a file, links followed: another one, or the same one after a change, has another stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stamp {
    /// There is none, or nobody may look.
    Missing,
    /// It is there.
    There {
        /// Which file it is: device and inode. A rename over it, or another target of a link on the way, changes these.
        file: (u64, u64),
        /// Its size, in bytes.
        size: u64,
        /// When its content was changed, in nanoseconds.
        modified: i128,
        /// When anything of it was changed: a tool may set the time above back, and not this one.
        changed: i128,
    },
}

impl Stamp {
    /// The stamp of what is at `path` now.
    pub fn of(path: &Path) -> Self {
        let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        fs::metadata(path).map_or(Self::Missing, |file| Self::There {
            file: (file.dev(), file.ino()),
            size: file.size(),
            modified: nanoseconds(file.mtime(), file.mtime_nsec()),
            changed: nanoseconds(file.ctime(), file.ctime_nsec()),
        })
    }

    /// Whether nothing has happened to the file in the last `age`, or there is none. `false` too where the clock of its file
    /// system is ahead of ours.
    pub fn is_older_than(&self, age: Duration) -> bool {
        let Self::There { changed, .. } = self else { return true };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        now.checked_sub(age)
            .is_some_and(|then| *changed < i128::try_from(then.as_nanos()).unwrap_or(i128::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_changes_with_the_content_the_file_and_the_target_of_a_link() {
        let folder = std::env::temp_dir().join(format!("stamp-{}", uuid::Uuid::now_v7().simple()));
        fs::create_dir(&folder).expect("a folder");
        let (one, link) = (folder.join("one"), folder.join("link"));
        assert_eq!(Stamp::of(&one), Stamp::Missing);
        fs::write(&one, "a").expect("a file");
        std::os::unix::fs::symlink("one", &link).expect("a link");
        let first = Stamp::of(&link);
        let hour = Duration::from_hours(1);
        assert_eq!([first, Stamp::Missing].map(|stamp| stamp.is_older_than(hour)), [false, true]);
        assert_eq!(
            (first, Stamp::of(&link)),
            (Stamp::of(&one), first),
            "it is the same until something happens"
        );
        fs::write(&one, "bc").expect("a file");
        let second = Stamp::of(&link);
        fs::write(folder.join("two"), "bc").expect("a file");
        fs::rename(folder.join("two"), &one).expect("it can be replaced");
        let third = Stamp::of(&link);
        fs::remove_file(&one).expect("it is there");
        let all = [first, second, third, Stamp::of(&link)];
        assert_eq!(all.iter().collect::<std::collections::HashSet<_>>().len(), 4, "{all:?}");
        fs::remove_dir_all(folder).expect("it is there");
    }
}
