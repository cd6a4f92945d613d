//! A folder with a gateway.toml and files to name in it, and a gateway that is run there.

use std::{fs, os::unix::process::ExitStatusExt, path::Path};

use crate::{artifacts, command};

/// A folder with a gateway.toml, and files to name in it.
pub struct Folder(tempfile::TempDir);

impl Folder {
    /// One with nothing in it yet.
    pub fn empty() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Puts `bytes` into `plugins/<name>.so`.
    pub fn file(&self, name: &str, bytes: &[u8]) -> &Self {
        let path = self.path().join(format!("plugins/{name}.so"));
        fs::create_dir_all(path.parent().expect("it has one")).expect("a folder");
        fs::write(path, bytes).expect("a file");
        self
    }

    /// Copies built plugins into `plugins/`.
    pub fn built(&self, names: &[&str]) -> &Self {
        for name in names {
            self.file(name, &built(name));
        }
        self
    }

    /// Writes a gateway.toml with a server for each name, and `more` in its table.
    pub fn config(&self, servers: &[(&str, &str)]) -> &Self {
        let mut text = String::from("listen = \"127.0.0.1:0\"\n");
        for (name, more) in servers {
            text += &format!(
                "[[server]]\nname = \"{name}\"\nplugin = \"plugins/{name}.so\"\nprefix = \"/{name}\"\n{more}\n"
            );
        }
        fs::write(self.path().join("gateway.toml"), text).expect("a file");
        self
    }

    /// Runs the gateway; exit code and stdout, without what differs from run to run.
    pub fn run(&self, args: &[&str]) -> String {
        let output = command(self.path()).args(args).output().expect("the gateway can be started");
        assert_eq!(output.status.signal(), None, "{}", String::from_utf8_lossy(&output.stderr));
        let stdout = String::from_utf8_lossy(&output.stdout);
        format!("exit {}\n{stdout}", output.status.code().unwrap_or(-1))
    }
}

/// The library of a built plugin.
pub fn built(name: &str) -> Vec<u8> {
    fs::read(artifacts().join(format!("{name}.so"))).expect("a built plugin")
}
