//! `[plugins] cache_dir`: an empty file for each content that has passed its trial, so that the next start trusts it.
//!
//! In:   digests that have passed.
//! Out:  whether one has, on an earlier day too.
//! Never: removes one; the folder may be emptied at any time, and should be when the system's C library changes.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use plugin_api::abi;

use crate::{config::Digest, load::library};

/// A folder of passed contents.
#[derive(Debug)]
pub(super) struct Cache(PathBuf);

impl Cache {
    /// Opens the folder, makes it if need be. `None`, and a line in the log: it cannot be used, so every file is tried.
    pub(super) fn open(path: &Path) -> Option<Self> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path).and_then(|()| check(path));
        match made {
            Ok(()) => Some(Self(path.to_owned())),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cache_dir is not used");
                None
            }
        }
    }

    /// Whether that content has passed. Looks again who may write there: it may be long ago that it was opened.
    pub(super) fn has(&self, digest: Digest) -> bool {
        check(&self.0).is_ok() && self.entry(digest).is_file()
    }

    pub(super) fn add(&self, digest: Digest) {
        let path = self.entry(digest);
        let made = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        if let Err(error) = made {
            tracing::warn!(path = %path.display(), %error, "cannot remember that a file has passed");
        }
    }

    /// What another version of the gateway or of the interface let pass is tried again.
    fn entry(&self, digest: Digest) -> PathBuf {
        let (gateway, abi) = (env!("CARGO_PKG_VERSION"), abi::VERSION);
        self.0.join(format!("{digest}.gateway-{gateway}.abi-{abi}.passed"))
    }
}

/// Who may write there decides what is not tried.
fn check(path: &Path) -> io::Result<()> {
    let folder = fs::metadata(path)?;
    let (owner, ours) = (folder.uid(), library::user_id());
    if !folder.is_dir() {
        return Err(io::Error::other("it is not a folder"));
    }
    if folder.mode() & 0o022 != 0 || (owner != 0 && owner != ours) {
        return Err(io::Error::other(
            "others than the gateway's user may write there; `chown` and `chmod go-w` it",
        ));
    }
    Ok(())
}
