//! Skills (SEP-2640): folders of instructions for models, served as resources with a manifest of their digests.

mod frontmatter;

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::{Contents, Error, Resource, Result};

/// The file that makes a folder a skill.
const ENTRY: &str = "SKILL.md";
/// What a folder's entry says it is.
const DIRECTORY: &str = "inode/directory";

/// A skill: a folder with a `SKILL.md` that tells a model how to do something, and the files it refers to.
///
/// ```
/// # use plugin_api::prelude::*;
/// let md = "---\nname: greet\ndescription: How to greet people well\n---\n\nSay hello.\n";
/// let skill = Skill::new("skill://greet", md).expect("it is well-formed").file("extra/hello.txt", "hello\n");
/// ```
///
/// Clients find it by `skills/list`, with the size and SHA-256 digest of every file; `SKILL.md` is also listed
/// among the resources, and every file can be read as one.
pub struct Skill {
    root: String,
    frontmatter: Map<String, Value>,
    files: Vec<File>,
}

struct File {
    /// Below the skill's root.
    path: String,
    resource: Resource,
    mime_type: &'static str,
    digest: String,
    size: u64,
}

impl Skill {
    /// A skill whose folder is at `root`, e.g. `skill://greet`; its last segment is the skill's name. `skill_md`
    /// is the text of `SKILL.md`; it begins with YAML frontmatter that says at least `name` and `description`.
    ///
    /// # Errors
    /// If the frontmatter is missing, not of the simple kind that can be read here (scalars, lists and maps of
    /// scalars), or names another skill.
    pub fn new(root: &str, skill_md: &str) -> Result<Self> {
        let root = root.trim_end_matches('/').to_owned();
        let name = root.rsplit('/').next().unwrap_or_default();
        let wrong = |why: String| Error::new(format!("the skill at `{root}`: {why}"));
        let frontmatter = frontmatter::parse(skill_md).map_err(wrong)?;
        for member in ["name", "description"] {
            if !frontmatter.get(member).is_some_and(Value::is_string) {
                return Err(wrong(format!("its frontmatter has no text `{member}`")));
            }
        }
        if frontmatter.get("name").and_then(Value::as_str) != Some(name) {
            return Err(wrong(format!("its frontmatter does not name it `{name}`")));
        }
        Ok(Self { root, frontmatter, files: Vec::new() }.file(ENTRY, skill_md))
    }

    /// Adds a file at `path` below the skill's folder. Text is given as such to clients, anything else as bytes.
    pub fn file(mut self, path: &str, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        let uri = format!("{}/{path}", self.root);
        let contents = match str::from_utf8(bytes) {
            Ok(text) => Contents::text(text),
            Err(_) => Contents::blob(bytes),
        };
        let (size, mime_type) = (bytes.len() as u64, mime_type(path, bytes));
        let said = |member: &str| self.frontmatter.get(member).and_then(Value::as_str).unwrap_or_default();
        // SEP-2640: the resource that stands for the skill bears its name.
        let (name, description) = match path {
            ENTRY => (said("name"), Some(said("description"))),
            _ => (path.rsplit('/').next().unwrap_or(path), None),
        };
        let mut resource = Resource::fixed(&uri, name, contents.mime_type(mime_type)).size(size);
        if let Some(description) = description {
            resource = resource.description(description);
        }
        self.files.retain(|file| file.path != path);
        self.files.push(File { path: path.into(), resource, mime_type, digest: digest(bytes), size });
        self
    }

    /// The URI of its `SKILL.md`, by which it is known.
    pub(crate) fn uri(&self) -> String {
        format!("{}/{ENTRY}", self.root)
    }

    /// Its entry in `skills/list`.
    pub(crate) fn declaration(&self) -> Value {
        let files = self.files.iter();
        let files =
            files.map(|file| json!({ "uri": file.resource.uri, "digest": file.digest, "size": file.size }));
        json!({ "uri": self.uri(), "frontmatter": self.frontmatter, "resources": files.collect::<Vec<_>>() })
    }

    /// The resource that is listed: the others are found through the skill.
    pub(crate) fn entry(&self) -> Option<&Resource> {
        self.resource(&self.uri())
    }

    /// The file at `uri`.
    pub(crate) fn resource(&self, uri: &str) -> Option<&Resource> {
        self.files.iter().map(|file| &file.resource).find(|resource| resource.uri == uri)
    }

    /// What lies directly in the folder at `uri`, as resources; `None` if there is no such folder here.
    pub(crate) fn directory(&self, uri: &str) -> Option<Vec<Value>> {
        let below = uri.trim_end_matches('/').strip_prefix(&self.root)?;
        let folder = match below.strip_prefix('/') {
            Some(folder) => format!("{folder}/"),
            None if below.is_empty() => String::new(),
            None => return None,
        };
        let mut folders = BTreeSet::new();
        let mut entries = Vec::new();
        for file in &self.files {
            let Some(inside) = file.path.strip_prefix(&folder) else { continue };
            match inside.split_once('/') {
                None => entries.push(json!({
                    "uri": file.resource.uri, "name": inside, "mimeType": file.mime_type, "size": file.size,
                })),
                Some((name, _)) if folders.insert(name) => entries.push(json!({
                    "uri": format!("{}/{folder}{name}", self.root), "name": name, "mimeType": DIRECTORY,
                })),
                Some(_) => {}
            }
        }
        (!entries.is_empty()).then_some(entries)
    }
}

/// As SEP-2640 writes digests.
fn digest(bytes: &[u8]) -> String {
    let hex = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("sha256:{hex}")
}

fn mime_type(path: &str, bytes: &[u8]) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("md") => "text/markdown",
        Some("json") => "application/json",
        Some("html") => "text/html",
        Some("png") => "image/png",
        Some("svg") => "image/svg+xml",
        _ if str::from_utf8(bytes).is_ok() => "text/plain",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MD: &str = "---\nname: greet\ndescription: How to greet\n---\n\nSay hello.\n";

    fn greet() -> Skill {
        let skill = Skill::new("skill://greet/", MD).expect("well-formed");
        skill.file("extra/hello.txt", "hello\n").file("extra/deep/a.bin", [255, 0])
    }

    #[test]
    fn every_file_is_listed_with_its_digest_and_size() {
        let skill = greet();
        let entry = skill.entry().map(Resource::declaration).expect("it has a SKILL.md");
        assert_eq!((&entry["name"], &entry["description"]), (&json!("greet"), &json!("How to greet")));
        let declared = greet().declaration();
        assert_eq!(declared["uri"], "skill://greet/SKILL.md");
        assert_eq!(declared["frontmatter"], json!({ "name": "greet", "description": "How to greet" }));
        assert_eq!(
            declared["resources"][1],
            json!({
                "uri": "skill://greet/extra/hello.txt",
                "digest": "sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
                "size": 6,
            })
        );
    }

    #[test]
    fn folders_are_read_one_level_at_a_time() {
        let check = |uri: &str, expected: Option<&[&str]>| {
            let found = greet().directory(uri);
            let names = found.as_ref().map(|entries| {
                entries.iter().map(|entry| entry["name"].as_str().unwrap_or_default()).collect::<Vec<_>>()
            });
            assert_eq!(names.as_deref(), expected, "{uri}");
        };
        check("skill://greet", Some(&["SKILL.md", "extra"]));
        check("skill://greet/extra/", Some(&["hello.txt", "deep"]));
        check("skill://greet/extra/hello.txt", None);
        check("skill://greeting", None);
        check("skill://greet/none", None);
    }

    #[test]
    fn a_skill_that_is_not_what_its_folder_says_is_refused() {
        let check = |root: &str, md: &str, says: &str| {
            let error = Skill::new(root, md).err().expect("refused").to_string();
            assert_eq!(error, says);
        };
        check("skill://a/b", MD, "the skill at `skill://a/b`: its frontmatter does not name it `b`");
        check(
            "skill://greet",
            "---\nname: greet\n---\n",
            "the skill at `skill://greet`: its frontmatter has no text `description`",
        );
        check("skill://greet", "# Hi", "the skill at `skill://greet`: it does not begin with frontmatter");
    }
}
