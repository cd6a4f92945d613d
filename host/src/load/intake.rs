//! From the path of a plugin to bytes that may be staged: read once, hashed, vetted, trusted. What is checked here is what
//! is run later, byte for byte, whatever happens to the file meanwhile.
//!
//! In:   a server's table.
//! Out:  the file's bytes and digest, and what it says of itself.
//! Fails: with what a person can do about the file.
//! Never: runs anything of it.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use super::{
    LoadError, library,
    vet::{self, Facts, Rejection},
};
use crate::config::{Digest, ServerEntry};

/// Largest library that is read, in bytes.
const LIBRARY_MAX: u64 = 1 << 30;

/// A plugin's file, read but not judged.
pub struct PluginFile {
    /// What it holds.
    pub bytes: Vec<u8>,
    /// SHA-256 of that.
    pub digest: Digest,
    /// Whether only those who may run code as the gateway can change it.
    pub trust: Result<(), Rejection>,
}

/// A plugin's file that passed everything that can be checked without running it.
pub(super) struct Accepted {
    pub(super) bytes: Vec<u8>,
    pub(super) digest: Digest,
    pub(super) facts: Facts,
}

/// The SHA-256 of the library of `entry`, which is not kept in memory; `None`: there is no regular file of a plugin's size,
/// or anybody may put another in its place.
pub fn digest_of(entry: &ServerEntry) -> Option<Digest> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&entry.plugin).ok()?;
    let metadata = file.metadata().ok()?;
    let is_plugin = metadata.is_file() && metadata.len() <= LIBRARY_MAX;
    let is_trusted = || check_trust(&entry.plugin, &metadata).is_ok_and(|trust| trust.is_ok());
    if is_plugin && (entry.sha256.is_some() || is_trusted()) {
        Digest::read(file.take(LIBRARY_MAX)).ok()
    } else {
        None
    }
}

/// Reads and judges the library of `entry`.
pub(super) fn accept(entry: &ServerEntry) -> Result<Accepted, LoadError> {
    let (server, path) = (entry.name.clone(), entry.plugin.clone());
    let file = match PluginFile::read(&path) {
        Ok(Ok(file)) => file,
        Ok(Err(source)) => return Err(LoadError::Rejected { server, path, source }),
        Err(source) => return Err(LoadError::Read { server, path, source }),
    };
    let facts = judge(entry, &file).map_err(|source| LoadError::Rejected { server, path, source })?;
    Ok(Accepted { bytes: file.bytes, digest: file.digest, facts })
}

fn judge(entry: &ServerEntry, file: &PluginFile) -> Result<Facts, Rejection> {
    match entry.sha256 {
        // Whoever may write the file cannot put other code there.
        Some(pinned) if pinned == file.digest => {}
        Some(pinned) => return Err(Rejection::OtherContent { found: file.digest, pinned }),
        None => file.trust.clone()?,
    }
    let facts = vet::vet(&file.bytes)?;
    facts.judge(&entry.needs)?;
    Ok(facts)
}

impl PluginFile {
    /// Reads the file at `path`. The inner error: it can be read, but is no plugin.
    pub fn read(path: &Path) -> io::Result<Result<Self, Rejection>> {
        // O_NONBLOCK: opening a fifo would otherwise wait for a writer.
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Ok(Err(Rejection::NotAFile));
        }
        if metadata.len() > LIBRARY_MAX {
            return Ok(Err(Rejection::TooLarge { bytes: metadata.len(), most: LIBRARY_MAX }));
        }
        let trust = check_trust(path, &metadata)?;
        Ok(read_library(file, metadata.len())?.map(|bytes| Self { digest: Digest::of(&bytes), bytes, trust }))
    }
}

/// Reads all of `file`, unless its first bytes say that it is no library: a disk image costs no memory then.
fn read_library(file: File, len: u64) -> io::Result<Result<Vec<u8>, Rejection>> {
    const MAGIC: &[u8] = b"\x7fELF";
    let mut bytes = Vec::new();
    let mut file = file.take(LIBRARY_MAX);
    file.by_ref().take(MAGIC.len() as u64).read_to_end(&mut bytes)?;
    match bytes.as_slice() {
        b"" => return Ok(Err(Rejection::Empty)),
        MAGIC => {}
        _ => return Ok(Err(Rejection::NotElf)),
    }
    bytes.try_reserve(usize::try_from(len).unwrap_or_default())?;
    file.read_to_end(&mut bytes)?;
    Ok(Ok(bytes))
}

/// Whether others than root and the gateway's own user can put other code at `path`. Group members may: with a group
/// for each user, as many systems have it, that is the user; SECURITY.md says so.
fn check_trust(path: &Path, file: &Metadata) -> io::Result<Result<(), Rejection>> {
    const OTHERS_WRITE: u32 = 0o002;
    const STICKY: u32 = 0o1000;
    let (owner, ours) = (file.uid(), library::user_id());
    let exposed = |what: &'static str| Ok(Err(Rejection::Exposed { what }));
    if file.mode() & OTHERS_WRITE != 0 {
        return exposed("it");
    }
    // A file that somebody else has put in its place belongs to them, so the folder's owner is of no interest.
    if owner != 0 && owner != ours {
        return Ok(Err(Rejection::Foreign { owner, ours }));
    }
    // Where the file lies, and where a link to it does: who may change either may have another file loaded.
    let real = fs::canonicalize(path)?;
    for path in [path, &real] {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = fs::metadata(folder)?;
        // In a sticky folder such as /tmp only the owner of an entry may replace it.
        if folder.mode() & OTHERS_WRITE != 0 && folder.mode() & STICKY == 0 {
            return exposed("its folder");
        }
    }
    Ok(Ok(()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn check(file_mode: u32, folder_mode: u32, expected: Result<(), Rejection>) {
        let folder = std::env::temp_dir().join(format!("trust-{}", uuid::Uuid::now_v7().simple()));
        let path = folder.join("x.so");
        fs::create_dir(&folder).expect("a folder");
        fs::write(&path, "\x7fELF").expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(file_mode)).expect("the file is ours");
        fs::set_permissions(&folder, fs::Permissions::from_mode(folder_mode)).expect("the folder is ours");
        let file = PluginFile::read(&path).expect("it can be read").expect("it is a file");
        assert_eq!(file.trust, expected, "{file_mode:o} in {folder_mode:o}");
        fs::remove_dir_all(folder).expect("it is there");
    }

    #[test]
    fn a_file_of_another_user_is_not_trusted() {
        const NOBODY: u32 = 65_534;
        let path = std::env::temp_dir().join(format!("foreign-{}.so", uuid::Uuid::now_v7().simple()));
        fs::write(&path, "\x7fELF").expect("a file");
        // Who is not root has no file of another user to show, unless it is root's.
        let ours = library::user_id();
        let given_away = std::os::unix::fs::chown(&path, Some(NOBODY), None).is_ok() && ours != NOBODY;
        let file = PluginFile::read(&path).expect("it can be read").expect("it is a file");
        let foreign = Err(Rejection::Foreign { owner: NOBODY, ours });
        assert_eq!(file.trust, if given_away { foreign } else { Ok(()) });
        fs::remove_file(path).expect("it is there");
    }

    #[test]
    fn a_file_that_everybody_may_replace_is_not_trusted() {
        let exposed = |what: &'static str| Err(Rejection::Exposed { what });
        check(0o644, 0o755, Ok(()));
        check(0o664, 0o775, Ok(()));
        check(0o646, 0o755, exposed("it"));
        check(0o644, 0o757, exposed("its folder"));
        check(0o644, 0o1777, Ok(()));
    }
}
