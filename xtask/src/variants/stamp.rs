//! What a variant was made of, beside its file: a variant made of the same is not made again, nor is cargo asked.

use std::{
    collections::hash_map::DefaultHasher,
    fs,
    hash::{Hash, Hasher},
    path::{Path, PathBuf},
    process::Command,
};

use super::tree::Tree;
use crate::failure::{Failure, Result, output_of};

/// Everything that the content of a file depends on, as one number.
pub(super) struct Stamp(String);

/// Which compiler there is, in its own words.
pub(super) fn compiler() -> Result<String> {
    output_of(Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("-vV"))
}

/// The stamp of what `command` makes of `tree`.
pub(super) fn of(tree: &Tree, command: &Command, compiler: &str) -> Stamp {
    // The same in every process that this very compiler made; another one's may differ, and builds once more.
    let mut hasher = DefaultHasher::new();
    tree.hash(&mut hasher);
    compiler.hash(&mut hasher);
    command.get_args().for_each(|word| word.hash(&mut hasher));
    command.get_envs().for_each(|pair| pair.hash(&mut hasher));
    std::env::var_os("RUSTFLAGS").hash(&mut hasher);
    Stamp(format!("{:016x}", hasher.finish()))
}

impl Stamp {
    /// Whether `file` was made of this.
    pub(super) fn is_on(&self, file: &Path) -> bool {
        file.is_file() && fs::read_to_string(beside(file)).is_ok_and(|stamp| stamp == self.0)
    }

    /// Says that `file` was made of this.
    pub(super) fn put_on(&self, file: &Path) -> Result<()> {
        let path = beside(file);
        fs::write(&path, &self.0).map_err(|e| Failure::at("cannot write", &path, e))
    }
}

fn beside(file: &Path) -> PathBuf {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    file.with_file_name(format!(".{name}.stamp"))
}
