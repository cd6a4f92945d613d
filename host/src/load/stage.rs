//! A private copy of each library for each load.
//!
//! What is mapped must be neither overwritten nor truncated (SIGBUS), and glibc must not take one load for another:
//! it tells libraries apart by name and by inode, and would hand out the old code under a reused one.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// A private copy. Dropping it deletes the file; a mapping of it stays valid.
#[derive(Debug)]
pub(super) struct Staged {
    path: PathBuf,
    owned: bool,
}

impl Staged {
    /// Writes `bytes` under a name that was never used before and will not be again. `nodelete_at`: where they ask never
    /// to be unloaded, which the copy does not.
    pub(super) fn new(
        server: &str,
        bytes: &[u8],
        nodelete_at: Option<usize>,
    ) -> Result<Self, (PathBuf, io::Error)> {
        let unique = uuid::Uuid::now_v7().simple();
        let directory = std::env::temp_dir().join(format!("gateway-{}-{unique}", std::process::id()));
        let path = directory.join(format!("{server}.so"));
        let written = DirBuilder::new().mode(0o700).create(&directory).and_then(|()| {
            let file = OpenOptions::new().write(true).create_new(true).mode(0o500).open(&path)?;
            write_copy(&file, bytes, nodelete_at)
        });
        let staged = Self { path, owned: true };
        match written {
            Ok(()) => Ok(staged),
            Err(error) => Err((staged.path.clone(), error)),
        }
    }

    /// A copy that another process made and will delete.
    pub(super) fn of_another(path: PathBuf) -> Self {
        Self { path, owned: false }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves the file where it is: it is mapped, and debuggers look for it there.
    pub(super) fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.owned {
            return;
        }
        // Nothing is lost if it stays: it is a copy in a directory for temporary files.
        let _ = fs::remove_file(&self.path);
        let _ = self.path.parent().map(fs::remove_dir);
    }
}

fn write_copy(mut file: &File, bytes: &[u8], nodelete_at: Option<usize>) -> io::Result<()> {
    file.write_all(bytes)?;
    let Some(flags) = nodelete_at.and_then(|at| Some((at, bytes.get(at)?))) else { return Ok(()) };
    // DF_1_NODELETE, in the value of the dynamic entry DT_FLAGS_1.
    const NODELETE: u8 = 0x8;
    file.write_all_at(&[flags.1 & !NODELETE], flags.0 as u64)
}

/// Deletes what gateways have left that were killed before they could. A mapping of it would stay valid.
pub(super) fn sweep() {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix("gateway-")?.split_once('-'));
        let Some((pid, unique)) = pid else { continue };
        let is_ours = pid.parse::<u32>().is_ok() && uuid::Uuid::try_parse(unique).is_ok();
        if is_ours && !Path::new("/proc").join(pid).exists() {
            // Another user's stays.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dead_gateway_left_is_swept_and_what_a_living_one_has_is_not() {
        let own = Staged::new("greet", b"mine", None).expect("a copy");
        // No process can have this id: it is above the kernel's limit.
        let dead = std::env::temp_dir().join(format!("gateway-4294967295-{}", uuid::Uuid::now_v7().simple()));
        let alike = std::env::temp_dir().join("gateway-4294967295-notes");
        for folder in [&dead, &alike] {
            fs::create_dir_all(folder).expect("a folder");
        }
        sweep();
        assert_eq!((own.path().exists(), dead.exists(), alike.exists()), (true, false, true));
        fs::remove_dir(alike).expect("it is there");
    }
}
