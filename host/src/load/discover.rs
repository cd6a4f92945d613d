//! The plugins in a folder that no `[[server]]` table names: each becomes a server of its own name.
//!
//! In:   the folder, the servers of gateway.toml, files that are not to be looked at yet.
//! Out:  an entry for each `*.so`, those that were there before first; what is none, and why.
//! Fails: if the folder cannot be read: that says nothing about what is in it.
//! Never: runs anything.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{PluginFile, stamp::Stamp, vet};
use crate::config::{Prefix, ServerEntry, ServerName};

/// Finds plugins, and remembers under which name it has found each: a file that is broken for a while keeps it.
#[derive(Debug, Default)]
pub struct Discovery {
    /// The folder of the last look.
    folder: PathBuf,
    /// In the order in which they appeared.
    known: Vec<Known>,
}

#[derive(Debug)]
struct Known {
    path: PathBuf,
    /// Of the file whose name was read.
    stamp: Stamp,
    /// What the plugin calls itself, or the file is called if it never said.
    name: String,
}

/// What is in the folder.
#[derive(Debug, Default)]
pub struct Discovered {
    /// To be mounted.
    pub entries: Vec<ServerEntry>,
    /// Not to be mounted.
    pub ignored: Vec<Ignored>,
}

/// A file that is no server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ignored {
    /// The file.
    pub path: PathBuf,
    /// Why, and what to do about it.
    pub reason: String,
}

impl Discovery {
    /// Looks into `folder`. `named`: the servers that gateway.toml names, whose files, names and prefixes are taken.
    /// `is_unsettled`: whether somebody may be writing the file at this moment.
    pub fn look(
        &mut self,
        folder: &Path,
        named: &[ServerEntry],
        is_unsettled: &dyn Fn(&Path) -> bool,
    ) -> io::Result<Discovered> {
        if self.folder != folder {
            *self = Self { folder: folder.to_owned(), known: Vec::new() };
        }
        let there = plugins_in(folder)?;
        self.known.retain(|known| there.contains(&known.path));
        let named_files: Vec<PathBuf> =
            named.iter().filter_map(|entry| fs::canonicalize(&entry.plugin).ok()).collect();
        for path in there {
            let is_named = || fs::canonicalize(&path).is_ok_and(|real| named_files.contains(&real));
            if !is_unsettled(&path) && !is_named() {
                self.read_name(path);
            }
        }
        self.known
            .retain(|known| fs::canonicalize(&known.path).map_or(true, |real| !named_files.contains(&real)));
        let mut found = Discovered::default();
        for known in &self.known {
            match entry(known, named.iter().chain(&found.entries)) {
                Ok(entry) => found.entries.push(entry),
                Err(reason) => found.ignored.push(Ignored { path: known.path.clone(), reason }),
            }
        }
        Ok(found)
    }

    /// Whether there was none at the last look.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Reads what the plugin at `path` calls itself, unless that is known of this very file.
    fn read_name(&mut self, path: PathBuf) {
        let stamp = Stamp::of(&path);
        let place = self.known.iter().position(|known| known.path == path);
        if place.is_some_and(|place| self.known[place].stamp == stamp) {
            return;
        }
        let said = own_name(&path);
        let stem = || path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let before = place.map(|place| self.known[place].name.clone());
        // Of a file that is broken now: the name it had.
        let name = said.or_else(|| before.clone()).or_else(stem).unwrap_or_default();
        match place {
            Some(place) if before.as_ref() == Some(&name) => self.known[place].stamp = stamp,
            // With another name it comes after those that were called so before.
            _ => {
                place.map(|place| self.known.remove(place));
                self.known.push(Known { path, stamp, name });
            }
        }
    }
}

/// The folders and files there whose name is that of a plugin, by name.
fn plugins_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut there = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        // A hidden one is somebody's on the way to its name.
        if name.ends_with(".so") && !name.starts_with('.') {
            there.push(path);
        }
    }
    there.sort();
    Ok(there)
}

fn own_name(path: &Path) -> Option<String> {
    let file = PluginFile::read(path).ok()?.ok()?;
    Some(vet::vet(&file.bytes).ok()?.name)
}

/// The entry of a plugin, unless its name or prefix is taken.
fn entry<'a>(known: &Known, others: impl Iterator<Item = &'a ServerEntry>) -> Result<ServerEntry, String> {
    const REMEDY: &str = "give it a `[[server]]` table with a name and prefix of its own";
    let unfit = |refusal: &dyn std::fmt::Display| {
        format!("the plugin calls itself `{}`: {refusal}; {REMEDY}", known.name)
    };
    let name = ServerName::parse(&known.name).map_err(|refusal| unfit(&refusal.message))?;
    let prefix = Prefix::parse(&format!("/{name}")).map_err(|refusal| unfit(&refusal.message))?;
    for other in others {
        if other.name == name || other.prefix.overlaps(&prefix) {
            let (server, file) = (&other.name, other.plugin.display());
            let taken = format!("server `{server}` (`{file}`) has that name or prefix");
            return Err(unfit(&taken));
        }
    }
    let mut entry = ServerEntry::new(name, known.path.clone(), prefix);
    entry.discovered = true;
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_is_a_server_of_its_name_unless_that_is_taken() {
        let folder = std::env::temp_dir().join(format!("discover-{}", uuid::Uuid::now_v7().simple()));
        fs::create_dir(&folder).expect("a folder");
        let put = |name: &str| fs::write(folder.join(name), "no plugin").expect("a file");
        let names = ["b.so", "docs.so", "named.so", ".hidden.so", "note.txt", "c d.so", "writing.so"];
        names.into_iter().for_each(put);
        let server = |name: &str| {
            let prefix = Prefix::parse(&format!("/{name}")).expect("a prefix");
            ServerEntry::new(ServerName::parse(name).expect("a name"), folder.join("named.so"), prefix)
        };
        let mut discovery = Discovery::default();
        let mut look = |named: &[ServerEntry]| {
            let is_unsettled = |path: &Path| path.ends_with("writing.so");
            let found = discovery.look(&folder, named, &is_unsettled).expect("it can be read");
            let names: Vec<String> = found.entries.iter().map(|entry| entry.prefix.to_string()).collect();
            let reasons: Vec<String> = found.ignored.into_iter().map(|ignored| ignored.reason).collect();
            (names, reasons)
        };
        let (names, reasons) = look(&[server("n")]);
        assert_eq!(names, ["/b"]);
        assert_eq!(reasons.len(), 2, "{reasons:?}");
        assert!(
            reasons[1].starts_with(
                "the plugin calls itself `docs`: `/docs` belongs to the gateway itself; give it"
            )
        );

        put("a.so");
        assert_eq!(look(&[server("n")]).0, ["/b", "/a"], "who was there first stays first");
        let (names, reasons) = look(&[server("b")]);
        assert_eq!((names, reasons.len()), (vec!["/a".to_owned()], 3));
        fs::remove_file(folder.join("a.so")).expect("it is there");
        assert_eq!(look(&[server("n")]).0, ["/b"]);
        fs::remove_dir_all(&folder).expect("it is there");
        assert!(discovery.look(&folder, &[], &|_| false).is_err(), "that no plugin is there nobody can tell");
    }
}
