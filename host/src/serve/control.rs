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
    /// Which file it is: another gateway may have put its own there by now.
    inode: u64,
    listener: Option<UnixListener>,
}

/// Where the gateway that serves the file at `config` may be reached: the folders in which it may have its socket, best first,
/// each only if it is this user's alone.
pub fn sockets_of(config: &Path) -> io::Result<Vec<PathBuf>> {
    let name = name_of(config)?;
    let is_own = |folder: &PathBuf| check(folder).is_ok();
    Ok(folders().into_iter().filter(is_own).map(|folder| folder.join(&name)).collect())
}

/// A socket's path has to fit into 108 bytes, so it is no longer than needed.
fn name_of(config: &Path) -> io::Result<String> {
    let folder = config.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let config = fs::canonicalize(folder)?.join(config.file_name().unwrap_or_default());
    let digest = Digest::of(config.as_os_str().as_encoded_bytes()).to_string();
    Ok(format!("{}.sock", &digest[..16]))
}

/// A service has no `XDG_RUNTIME_DIR` where its operator's shell has one, and the reverse.
fn folders() -> Vec<PathBuf> {
    let user = load::user_id();
    let named = std::env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty());
    let runtime = named.map(PathBuf::from).into_iter().chain([PathBuf::from(format!("/run/user/{user}"))]);
    let mut folders: Vec<PathBuf> = runtime.map(|folder| folder.join("gateway")).collect();
    folders.push(std::env::temp_dir().join(format!("gateway-of-{user}")));
    folders
}

/// Whether the folder is this user's alone: whoever can write there could answer in the gateway's place.
fn check(folder: &Path) -> io::Result<()> {
    // Not what a link leads to: in a folder for everybody, the link may be somebody else's.
    let metadata = fs::symlink_metadata(folder)?;
    if metadata.is_dir() && metadata.uid() == load::user_id() && metadata.mode() & 0o077 == 0 {
        return Ok(());
    }
    let folder = folder.display();
    Err(io::Error::other(format!(
        "`{folder}` is not a folder of this user alone; `chown` and `chmod 700` it"
    )))
}

impl ControlSocket {
    /// Binds the socket for the file at `config`, in the first folder in which that can be done.
    pub fn bind(config: &Path) -> io::Result<Self> {
        let name = name_of(config)?;
        let mut refused = None;
        for folder in folders() {
            match Self::bind_in(&folder, &name) {
                Ok(bound) => return Ok(bound),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
                Err(error) => refused = Some(error),
            }
        }
        Err(refused.unwrap_or_else(|| io::Error::other("there is no folder for it")))
    }

    fn bind_in(folder: &Path, name: &str) -> io::Result<Self> {
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => check(folder)?,
        }
        let path = folder.join(name);
        if UnixStream::connect(&path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another gateway serves the same file"));
        }
        // Left by one that was killed.
        let _ = fs::remove_file(&path);
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        let inode = fs::symlink_metadata(&path)?.ino();
        Ok(Self { path, inode, listener: Some(listener) })
    }

    /// The socket; the file stays this value's. `None`: it was taken before.
    pub(super) fn take(&mut self) -> Option<UnixListener> {
        self.listener.take()
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode) {
            // Somebody may have removed it.
            let _ = fs::remove_file(&self.path);
        }
    }
}
