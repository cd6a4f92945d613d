//! Keys for gateways under test.

use host::config::Digest;

/// A key, and the table that makes it known.
#[derive(Debug, Clone)]
pub struct Key {
    /// What its holder shows.
    pub text: String,
    /// The `[[auth.key]]` table.
    pub table: String,
}

/// The key of `name`, which is the same in every run: at most eight letters and digits.
pub fn key(name: &str, scopes: &[&str]) -> Key {
    let text = format!("mgw_{name:0<8}_{name:A<43}");
    let digest = Digest::of(text.as_bytes());
    let table = format!(
        "[[auth.key]]\nname = {name:?}\nid = \"{name:0<8}\"\nsha256 = \"{digest}\"\nscopes = {scopes:?}\n"
    );
    Key { text, table }
}

/// A key for everything.
pub fn admin_key() -> Key {
    key("admin", &["*", "admin"])
}

/// `config` with servers that ask nobody who they are.
pub fn open_to_all(config: &str) -> String {
    config.replace("[[server]]\n", "[[server]]\nauth = \"none\"\n")
}

impl Key {
    /// What `Authorization` says.
    pub fn bearer(&self) -> String {
        format!("Bearer {}", self.text)
    }
}
