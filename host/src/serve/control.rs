//! The control socket: where `gateway reload` and `gateway servers` find the gateway that serves a gateway.toml.
//!
//! In:   the path of that file.
//! Out:  a Unix socket of the gateway's user in a folder of that user; for the command line, where it is.
//! Fails: if the folder is not the user's alone, or another gateway serves the same file: that one has the socket.

use std::{
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::{
        fs::{DirBuilderExt, MetadataExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use crate::{config::Digest, load};

/// A bound control socket. Dropping it removes the file.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
    listener: Option<UnixListener>,
}

/// Where the gateway that serves the file at `config` can be reached.
pub fn socket_of(config: &Path) -> io::Result<PathBuf> {
    let config = fs::canonicalize(
        config.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new(".")),
    )?
    .join(config.file_name().unwrap_or_default());
    let name = Digest::of(config.as_os_str().as_encoded_bytes()).to_string();
    // A socket's path has to fit into 108 bytes.
    Ok(folder().join(format!("{}.sock", &name[..16])))
}

/// The user's own folder for such things, or what comes closest to it.
fn folder() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty()) {
        Some(runtime) => Path::new(&runtime).join("gateway"),
        None => std::env::temp_dir().join(format!("gateway-of-{}", load::user_id())),
    }
}

impl ControlSocket {
    /// Binds the socket for the file at `config`.
    pub fn bind(config: &Path) -> io::Result<Self> {
        let path = socket_of(config)?;
        let folder = folder();
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let metadata = fs::symlink_metadata(&folder)?;
        if !metadata.is_dir() || metadata.uid() != load::user_id() || metadata.mode() & 0o077 != 0 {
            let folder = folder.display();
            return Err(io::Error::other(format!("`{folder}` is not this user's alone; `chmod 700` it")));
        }
        if UnixStream::connect(&path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another gateway serves the same file"));
        }
        // Left by one that was killed.
        let _ = fs::remove_file(&path);
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        Ok(Self { path, listener: Some(listener) })
    }

    /// The socket; the file stays this value's. `None`: it was taken before.
    pub(super) fn take(&mut self) -> Option<UnixListener> {
        self.listener.take()
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // Somebody may have removed it.
        let _ = fs::remove_file(&self.path);
    }
}
