//! A part of the workspace in memory, to be patched and written elsewhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    hash::{Hash, Hasher},
    path::{Path, PathBuf},
};

use super::patch::Patch;
use crate::failure::{Failure, Result};

/// Files by their path in the workspace.
#[derive(Clone)]
pub(super) struct Tree(BTreeMap<PathBuf, Vec<u8>>);

impl Tree {
    /// Cargo.toml and Cargo.lock of the workspace at `root`, and what lies in these folders, without what is there for
    /// people only.
    pub(super) fn read(root: &Path, members: &[&str]) -> Result<Self> {
        let mut tree = Self(BTreeMap::new());
        let mut paths: Vec<PathBuf> = ["Cargo.toml", "Cargo.lock"].iter().map(PathBuf::from).collect();
        paths.extend(members.iter().map(PathBuf::from));
        while let Some(path) = paths.pop() {
            let file = root.join(&path);
            if file.is_dir() {
                paths.extend(names_in(&file)?.into_iter().map(|name| path.join(name)));
            } else if path.extension().is_none_or(|extension| extension != "md") {
                let bytes = fs::read(&file).map_err(|e| Failure::at("cannot read", &file, e))?;
                tree.0.insert(path, bytes);
            }
        }
        Ok(tree)
    }

    pub(super) fn add(&mut self, path: &str, text: String) {
        self.0.insert(path.into(), text.into_bytes());
    }

    /// Replaces what `patch` replaces, which has to be there exactly once: a patch that hits nothing, or something
    /// else besides, would make a variant that proves nothing. The error is a sentence.
    pub(super) fn patch(&mut self, patch: &Patch) -> std::result::Result<(), String> {
        let Patch { file, at, with } = patch;
        let found = self.0.get_mut(Path::new(file)).ok_or(format!("there is no file `{file}` to patch"))?;
        let text = String::from_utf8_lossy(found);
        match text.matches(at).count() {
            1 => {
                *found = text.replacen(at, with, 1).into_bytes();
                Ok(())
            }
            count => Err(format!(
                "`{file}` has {count} times what is to be replaced, not once; adapt xtask/src/variants/patch.rs to \
                 what it says now: `{}`",
                at.trim()
            )),
        }
    }

    /// Moves all packages one folder down, into `folder`.
    pub(super) fn move_members_to(&mut self, folder: &str) {
        let moved = std::mem::take(&mut self.0).into_iter().map(|(path, bytes)| {
            let is_member = path.components().count() > 1;
            (if is_member { Path::new(folder).join(path) } else { path }, bytes)
        });
        self.0 = moved.collect();
    }

    /// Makes `folder` hold these files and no others. Equal files are left alone: cargo looks at their times.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        for (path, bytes) in &self.0 {
            let file = folder.join(path);
            if fs::read(&file).is_ok_and(|old| old == *bytes) {
                continue;
            }
            let write = || {
                fs::create_dir_all(file.parent().unwrap_or(folder))?;
                fs::write(&file, bytes)
            };
            write().map_err(|e| Failure::at("cannot write", &file, e))?;
        }
        self.remove_others(folder)
    }

    fn remove_others(&self, folder: &Path) -> Result<()> {
        let wanted: BTreeSet<&Path> = self.0.keys().flat_map(|path| path.ancestors()).collect();
        let mut folders = vec![PathBuf::new()];
        while let Some(path) = folders.pop() {
            for name in names_in(&folder.join(&path))? {
                let (path, file) = (path.join(&name), folder.join(&path).join(&name));
                if file.is_dir() {
                    folders.push(path);
                } else if !wanted.contains(path.as_path()) {
                    fs::remove_file(&file).map_err(|e| Failure::at("cannot remove", &file, e))?;
                }
            }
        }
        Ok(())
    }
}

impl Hash for Tree {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

fn names_in(folder: &Path) -> Result<Vec<std::ffi::OsString>> {
    let names = || fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect();
    let names: std::io::Result<_> = names();
    names.map_err(|e| Failure::at("cannot list", folder, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(text: &str) -> std::result::Result<String, String> {
        let mut tree = Tree(BTreeMap::new());
        tree.add("host/src/a.rs", text.into());
        tree.patch(&Patch { file: "host/src/a.rs", at: "old\n", with: "new\n".into() })?;
        Ok(String::from_utf8_lossy(&tree.0[Path::new("host/src/a.rs")]).into_owned())
    }

    #[test]
    fn a_patch_replaces_what_stands_there_once_and_nothing_else() {
        assert_eq!(patched("one\nold\ntwo\n").as_deref(), Ok("one\nnew\ntwo\n"));
        for (text, count) in [("one\n", 0), ("old\nold\n", 2)] {
            let expected = format!(
                "`host/src/a.rs` has {count} times what is to be replaced, not once; adapt \
                 xtask/src/variants/patch.rs to what it says now: `old`"
            );
            assert_eq!(patched(text), Err(expected));
        }
    }

    #[test]
    fn a_copy_has_its_packages_one_folder_down_and_no_file_of_an_earlier_one() {
        let folder = std::env::temp_dir().join(format!("xtask-tree-{}", std::process::id()));
        let mut tree = Tree(BTreeMap::new());
        tree.add("Cargo.toml", "the root".into());
        tree.add("host/src/a.rs", "a".into());
        tree.move_members_to("variant");
        tree.write(&folder).expect("the temporary folder can be written");
        let written = |path: &str| fs::metadata(folder.join(path)).and_then(|file| file.modified()).ok();
        let first = written("variant/host/src/a.rs");
        assert!(first.is_some());

        fs::write(folder.join("variant/host/src/b.rs"), "earlier").expect("the folder can be written");
        tree.write(&folder).expect("the temporary folder can be written");
        assert_eq!(written("variant/host/src/b.rs"), None);
        assert_eq!(written("variant/host/src/a.rs"), first, "an equal file is left alone");
        fs::remove_dir_all(&folder).expect("the folder is ours");
    }
}
