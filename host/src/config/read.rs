//! Reads gateway.toml from the disk: the one place of this step that touches anything outside.

use std::{
    fs::OpenOptions,
    io::{self, Read},
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::{Config, Outside, Problems, excerpt::Lines, parse};

/// Far more than anyone writes; a device such as /dev/zero must not fill the memory.
const LARGEST: u64 = 4 * 1024 * 1024;

/// Why there is no [`Config`].
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no such file.
    #[error("there is no file `{}`; write one (gateway.example.toml shows every key) or name another with --config", .path.display())]
    Missing {
        /// As the operator named it.
        path: PathBuf,
    },
    /// A directory was named.
    #[error("`{}` is a directory; name the file in it, e.g. `{}`", .path.display(), .path.join("gateway.toml").display())]
    Directory {
        /// As the operator named it.
        path: PathBuf,
    },
    /// A fifo, a socket, a device.
    #[error("`{}` is not a regular file; gateway.toml is read again whenever it changes, so it has to be one", .path.display())]
    NotAFile {
        /// As the operator named it.
        path: PathBuf,
    },
    /// The system does not let us read it.
    #[error("cannot read `{}`", .path.display())]
    Read {
        /// As the operator named it.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no text.
    #[error("`{}` is not UTF-8 text (line {line}); save it as UTF-8", .path.display())]
    NotUtf8 {
        /// As the operator named it.
        path: PathBuf,
        /// The line of the first wrong byte, counted from 1.
        line: usize,
    },
    /// Nobody writes so much.
    #[error("`{}` is larger than 4 MiB; it cannot be a gateway.toml", .path.display())]
    TooLarge {
        /// As the operator named it.
        path: PathBuf,
    },
    /// The text says something that cannot be.
    #[error("{0}")]
    Problems(Problems),
}

/// Reads and checks `path`, with the environment of this process. `listen`: where to listen, whatever the file says.
pub fn read(path: &Path, listen: Option<SocketAddr>) -> Result<Config, ConfigError> {
    let text = read_text(path)?;
    let variable = |name: &str| std::env::var(name).ok();
    let outside = Outside { variable: &variable, file: &read_beside, listen };
    parse(&text, path, outside).map_err(ConfigError::Problems)
}

/// Reads a file that gateway.toml names: a certificate, a key, a secret.
fn read_beside(path: &Path) -> io::Result<Vec<u8>> {
    // O_NONBLOCK: opening a fifo would otherwise wait for a writer.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST { Err(io::Error::other("it is larger than 4 MiB")) } else { Ok(bytes) }
}

fn read_text(path: &Path) -> Result<String, ConfigError> {
    let path_buf = || path.to_owned();
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => ConfigError::Missing { path: path_buf() },
        io::ErrorKind::IsADirectory => ConfigError::Directory { path: path_buf() },
        _ => ConfigError::Read { path: path_buf(), source },
    };
    let mut bytes = Vec::new();
    // O_NONBLOCK: opening a fifo would otherwise wait for a writer, and every later reload with it.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(failed)?;
    let kind = file.metadata().map_err(failed)?.file_type();
    if !kind.is_file() && !kind.is_dir() {
        return Err(ConfigError::NotAFile { path: path_buf() });
    }
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LARGEST {
        return Err(ConfigError::TooLarge { path: path_buf() });
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let before = String::from_utf8_lossy(&error.as_bytes()[..good]);
        ConfigError::NotUtf8 { path: path_buf(), line: Lines::of(&before).line_of(good) }
    })
}
