//! Where the audit log is written: a file, a fifo, or what the process was given as its output.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom},
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

/// An open file, to the end of which everything is written.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) file: File,
    pub(super) path: PathBuf,
    /// Device and inode. `None`: it is the process's own output, which nobody moves.
    id: Option<(u64, u64)>,
    /// Whether it ended in the middle of a line when it was opened: somebody was stopped while writing.
    pub(super) ends_open: bool,
}

impl Target {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let path = path.to_owned();
        let own = match path.to_str() {
            Some("/dev/stdout") => Some(own(io::stdout().as_fd())?),
            Some("/dev/stderr") => Some(own(io::stderr().as_fd())?),
            _ => None,
        };
        if let Some(file) = own {
            return Ok(Self { file, path, id: None, ends_open: false });
        }
        // O_NONBLOCK: opening a fifo would otherwise wait for a reader.
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600).custom_flags(libc::O_NONBLOCK);
        let file = options.open(&path).map_err(|error| match error.raw_os_error() {
            Some(libc::ENXIO) => io::Error::new(error.kind(), "nobody reads from the other end of it"),
            _ => error,
        })?;
        let metadata = file.metadata()?;
        if !metadata.is_file() && !metadata.file_type().is_fifo() {
            let text = "it is neither a file nor a fifo, nor /dev/stdout or /dev/stderr";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let ends_open = metadata.is_file() && metadata.len() > 0 && ends_open(&path);
        Ok(Self { file, path, id: Some(id(&metadata)), ends_open })
    }

    /// Whether something else, or nothing, is where it was opened.
    pub(super) fn is_moved(&self) -> bool {
        self.id.is_some_and(|own| fs::metadata(&self.path).map_or(true, |there| id(&there) != own))
    }

    /// Whether what is written goes with the process, because no folder has the file any more.
    pub(super) fn is_gone(&self) -> bool {
        self.id.is_some() && self.file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
    }
}

fn id(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// A handle of its own to an output of the process. Not opened by its path: it may be a socket (of systemd, say), or belong to
/// another user.
fn own(output: BorrowedFd<'_>) -> io::Result<File> {
    Ok(output.try_clone_to_owned()?.into())
}

/// Read by another handle, because a log may be for its writer to append to only: then it is not known, and taken to be well.
fn ends_open(path: &Path) -> bool {
    let last = || {
        let (mut file, mut last) = (File::open(path)?, [0]);
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        io::Result::Ok(last[0])
    };
    last().is_ok_and(|last| last != b'\n')
}
