//! A folder with a gateway.toml and files to name in it, and a gateway that is run there.

use std::{fs, os::unix::process::ExitStatusExt, path::Path, process::Output, sync::Arc};

use crate::{artifacts, command};

/// A folder with a gateway.toml, and files to name in it. Goes with the last clone.
#[derive(Debug, Clone)]
pub struct Folder(Arc<tempfile::TempDir>);

impl Folder {
    /// One with nothing in it yet.
    pub fn empty() -> Self {
        Self(Arc::new(tempfile::tempdir().expect("a folder")))
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

    /// Puts `content` at `path` in here as editors and installers do, by a rename, whatever was there before.
    pub fn replace(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().expect("it has one")).expect("a folder");
        let temporary = path.with_extension("new");
        fs::write(&temporary, content).expect("a file");
        if path.is_dir() {
            fs::remove_dir_all(&path).expect("it is there");
        }
        fs::rename(temporary, path).expect("they are in one folder");
        self
    }

    /// As [`Folder::file`], by a rename.
    pub fn install(&self, name: &str, bytes: &[u8]) -> &Self {
        self.replace(&format!("plugins/{name}.so"), bytes)
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
        answer(&self.output(args))
    }

    /// As [`Folder::run`], and what it says on stderr, after a `!` on each line.
    pub fn run_and_talk(&self, args: &[&str]) -> String {
        let output = self.output(args);
        let talk = String::from_utf8_lossy(&output.stderr);
        answer(&output)
            + &talk.lines().map(|line| format!("! {line}").trim_end().to_owned() + "\n").collect::<String>()
    }

    fn output(&self, args: &[&str]) -> Output {
        let output = command(self.path()).args(args).output().expect("the gateway can be started");
        assert_eq!(output.status.signal(), None, "{}", String::from_utf8_lossy(&output.stderr));
        output
    }
}

fn answer(output: &Output) -> String {
    let stdout = String::from_utf8_lossy(&output.stdout);
    format!("exit {}\n{stdout}", output.status.code().unwrap_or(-1))
}

/// The library of a built plugin.
pub fn built(name: &str) -> Vec<u8> {
    fs::read(artifacts().join(format!("{name}.so"))).expect("a built plugin")
}
