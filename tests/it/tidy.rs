//! Rules of the house that no lint knows.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Beyond this a file holds more than one idea.
const LINES_MAX: usize = 450;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace")
}

/// Every Rust file of the workspace with its text.
fn sources() -> Vec<(PathBuf, String)> {
    let mut folders: Vec<PathBuf> =
        ["host", "plugin-api", "plugins", "tests", "xtask"].iter().map(|name| root().join(name)).collect();
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("text");
                sources.push((path, text));
            }
        }
    }
    assert!(sources.len() > 50, "the workspace was found");
    sources
}

#[test]
fn every_file_opens_with_what_it_is_and_holds_one_idea() {
    for (path, text) in sources() {
        assert!(text.starts_with("//!"), "{} does not say what it is", path.display());
        let lines = text.lines().count();
        // Snapshots are long, and best read beside their test.
        let is_test = path.starts_with(root().join("tests/it"));
        assert!(is_test || lines <= LINES_MAX, "{} has {lines} lines, more than {LINES_MAX}", path.display());
    }
}

/// Where code may be unsafe: where libraries are loaded, where a plugin meets the host, and in fixtures that misbehave.
fn may_be_unsafe(path: &Path) -> bool {
    let path = path.strip_prefix(root()).expect("it lies in the workspace");
    let folders = ["host/src/load", "plugin-api/src/glue", "tests/fixtures"];
    folders.iter().any(|folder| path.starts_with(folder)) || path == Path::new("plugin-api/src/abi.rs")
}

#[test]
fn unsafe_code_is_only_where_it_may_be_and_each_block_is_argued() {
    // Pieced together, so that this file does not count.
    let begins = ["unsafe", "{"].join(" ");
    let (mut blocks, mut in_main) = (0, 0);
    for (path, text) in sources() {
        let here = text
            .lines()
            .filter(|line| line.contains(&begins) && !line.trim_start().starts_with("//"))
            .count();
        if path.ends_with("host/src/main.rs") {
            in_main = here;
        } else if !may_be_unsafe(&path) {
            assert_eq!(here, 0, "{} has unsafe code", path.display());
        } else if !path.starts_with(root().join("tests")) {
            blocks += here;
            let argued = text.matches("SAFETY:").count();
            assert!(argued >= here, "{}: {here} blocks, {argued} arguments", path.display());
        }
    }
    assert_eq!(in_main, 1, "the one line of main.rs");
    println!("{} unsafe blocks beside those of fixtures", blocks + in_main);
    assert!(blocks > 20, "they were counted");
}

#[test]
fn every_test_that_pins_an_unsafe_block_exists() {
    let sources = sources();
    let mut pinned = 0;
    for (path, text) in &sources {
        let rows = text.lines().filter(|line| line.starts_with("//! |") && line.contains('`'));
        for row in rows {
            let last = row.trim_end_matches('|').rsplit('|').next().unwrap_or_default();
            for name in last.split('`').skip(1).step_by(2) {
                let function = format!("fn {name}()");
                let exists = sources.iter().any(|(_, text)| text.contains(&function));
                assert!(exists, "{}: there is no test `{name}`", path.display());
                pinned += 1;
            }
        }
    }
    assert!(pinned > 5, "the tables were found");
}
