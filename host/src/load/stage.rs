//! A private copy of each library for each load.
//!
//! What is mapped must be neither overwritten nor truncated (SIGBUS), and glibc must not take one load for another:
//! it tells libraries apart by name and by inode, and would hand out the old code under a reused one.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::vet::Rejection;

/// Largest library that is read, in bytes.
const LIBRARY_MAX: u64 = 1 << 30;

/// A private copy. Dropping it deletes the file; a mapping of it stays valid.
#[derive(Debug)]
pub(super) struct Staged {
    path: PathBuf,
}

impl Staged {
    /// Writes `bytes` under a name that was never used before and will not be again.
    pub(super) fn new(server: &str, bytes: &[u8]) -> Result<Self, (PathBuf, io::Error)> {
        let unique = uuid::Uuid::now_v7().simple();
        let directory = std::env::temp_dir().join(format!("gateway-{}-{unique}", std::process::id()));
        let path = directory.join(format!("{server}.so"));
        let written = DirBuilder::new().mode(0o700).create(&directory).and_then(|()| {
            OpenOptions::new().write(true).create_new(true).mode(0o500).open(&path)?.write_all(bytes)
        });
        let staged = Self { path };
        match written {
            Ok(()) => Ok(staged),
            Err(error) => Err((staged.path.clone(), error)),
        }
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
        // Nothing is lost if it stays: it is a copy in a directory for temporary files.
        let _ = fs::remove_file(&self.path);
        let _ = self.path.parent().map(fs::remove_dir);
    }
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

/// Reads a plugin's file. The inner error: it can be read, but is no plugin.
pub(super) fn read(path: &Path) -> io::Result<Result<Vec<u8>, Rejection>> {
    // O_NONBLOCK: opening a fifo would otherwise wait for a writer.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(Err(Rejection::NotAFile));
    }
    if metadata.len() > LIBRARY_MAX {
        return Ok(Err(Rejection::TooLarge { bytes: metadata.len(), most: LIBRARY_MAX }));
    }
    read_all(file, metadata.len()).map(Ok)
}

fn read_all(file: File, len: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(len as usize);
    file.take(LIBRARY_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dead_gateway_left_is_swept_and_what_a_living_one_has_is_not() {
        let own = Staged::new("greet", b"mine").expect("a copy");
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
