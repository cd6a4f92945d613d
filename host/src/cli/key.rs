//! `gateway key new`: makes an API key, and the table that lets its holder in.
//!
//! In:   who it is for, and what they may do.
//! Out:  the key alone on stdout, so that a script can take it; on stderr what to do with it.
//! Fails: only if the system gives no random bytes, or nobody reads.
//! Never: writes a file. The key is nowhere but on stdout; the table has its SHA-256.

use std::{
    fmt,
    io::{self, Write},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;

use super::{NewKeyArgs, Outcome};
use crate::config::{Digest, Scope};

const LETTERS_AND_DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const NAME_MAX_CHARS: usize = 64;

/// Makes a key for the holder that `args` names.
pub fn make(args: &NewKeyArgs, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<Outcome> {
    let mut random = [0; 40];
    // Not two version 4 UUIDs: some of their bits are not random.
    let source = rustls::crypto::aws_lc_rs::default_provider().secure_random;
    if source.fill(&mut random).is_err() {
        writeln!(err, "error: the system gives no random bytes to make a key of; try again later")?;
        return Ok(Outcome::Failed);
    }
    tell(&NewKey::of(&random, args), args, out, err)?;
    Ok(Outcome::Fine)
}

fn tell(key: &NewKey<'_>, args: &NewKeyArgs, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<()> {
    if args.json {
        let sha256 = key.sha256.to_string();
        let (name, scopes) = (key.name, key.scopes.iter().map(Scope::as_str).collect::<Vec<_>>());
        let (text, id, toml) = (&key.text, &key.id, key.to_string());
        let told =
            json!({"key": text, "name": name, "id": id, "sha256": sha256, "scopes": scopes, "toml": toml});
        return writeln!(out, "{told:#}");
    }
    writeln!(out, "{}", key.text)?;
    // A person sees both: the key comes first.
    out.flush()?;
    writeln!(
        err,
        "\nThis key is shown once. Its holder sends it as `Authorization: Bearer KEY` or `X-API-Key: KEY`.\n\
         The gateway takes it once gateway.toml has:\n\n{key}"
    )?;
    if key.scopes.is_empty() {
        writeln!(
            err,
            "\nIt may do nothing yet: name servers or tools in `scopes`, e.g. \"greet\" or \"greet:echoHai\"."
        )?;
    }
    Ok(())
}

/// A key that nobody has been told yet. Shown as its table in gateway.toml.
struct NewKey<'a> {
    text: String,
    name: &'a str,
    id: String,
    sha256: Digest,
    scopes: &'a [Scope],
}

impl<'a> NewKey<'a> {
    fn of(random: &[u8; 40], args: &'a NewKeyArgs) -> Self {
        let (for_id, for_secret) = random.split_at(8);
        // Some letters come a little more often than others. The id is no secret.
        let letter =
            |byte: &u8| char::from(LETTERS_AND_DIGITS[usize::from(*byte) % LETTERS_AND_DIGITS.len()]);
        let id: String = for_id.iter().map(letter).collect();
        let text = format!("mgw_{id}_{}", URL_SAFE_NO_PAD.encode(for_secret));
        let sha256 = Digest::of(text.as_bytes());
        Self { text, name: &args.name, id, sha256, scopes: &args.scopes }
    }
}

impl fmt::Display for NewKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, id, sha256, scopes, .. } = self;
        // Neither names nor scopes have a character that TOML would have escaped.
        let scopes: Vec<String> = scopes.iter().map(|scope| format!("\"{scope}\"")).collect();
        writeln!(f, "[[auth.key]]\nname = \"{name}\"\nid = \"{id}\"\nsha256 = \"{sha256}\"")?;
        write!(f, "scopes = [{}]", scopes.join(", "))
    }
}

pub(super) fn parse_name(text: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if (1..=NAME_MAX_CHARS).contains(&text.len()) && text.chars().all(good) {
        return Ok(text.to_owned());
    }
    Err(format!("a name has 1 to {NAME_MAX_CHARS} letters, digits, `_`, `-` and `.`, e.g. `ci`"))
}

pub(super) fn parse_scope(text: &str) -> Result<Scope, String> {
    let help = "a scope has printable characters of ASCII without space, `\"` and `\\`, e.g. `greet` or `greet:echoHai`";
    Scope::parse(text).ok_or_else(|| help.to_owned())
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::{config::ApiKey, serve::auth::key::find};

    fn args(scopes: &[&str], json: bool) -> NewKeyArgs {
        let scopes = scopes.iter().map(|text| Scope::parse(text).expect("the test's own scope")).collect();
        NewKeyArgs { name: "ci".into(), scopes, json }
    }

    /// What is printed of a key whose random bytes are no random ones, on stderr after a `!`.
    fn told(args: &NewKeyArgs) -> String {
        let random = std::array::from_fn(|at| at as u8 * 5);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        tell(&NewKey::of(&random, args), args, &mut out, &mut err).expect("memory");
        let err = String::from_utf8(err).expect("text");
        let talk =
            err.lines().map(|line| format!("! {line}").trim_end().to_owned() + "\n").collect::<String>();
        String::from_utf8(out).expect("text") + &talk
    }

    #[test]
    fn stdout_has_the_key_and_stderr_what_to_do_with_it() {
        assert_snapshot!(told(&args(&["greet", "calc:add"], false)), @r#"
        mgw_05AFKPUZ_KC0yNzxBRktQVVpfZGluc3h9goeMkZaboKWqr7S5vsM
        !
        ! This key is shown once. Its holder sends it as `Authorization: Bearer KEY` or `X-API-Key: KEY`.
        ! The gateway takes it once gateway.toml has:
        !
        ! [[auth.key]]
        ! name = "ci"
        ! id = "05AFKPUZ"
        ! sha256 = "bafa243e8d8f2c8b12bf7bd3cc7e38ae14003dc03e45a18bbaa6c0279ba6142e"
        ! scopes = ["greet", "calc:add"]
        "#);
    }

    #[test]
    fn a_key_that_may_do_nothing_is_said_to_be_one() {
        assert_snapshot!(told(&args(&[], false)), @r#"
        mgw_05AFKPUZ_KC0yNzxBRktQVVpfZGluc3h9goeMkZaboKWqr7S5vsM
        !
        ! This key is shown once. Its holder sends it as `Authorization: Bearer KEY` or `X-API-Key: KEY`.
        ! The gateway takes it once gateway.toml has:
        !
        ! [[auth.key]]
        ! name = "ci"
        ! id = "05AFKPUZ"
        ! sha256 = "bafa243e8d8f2c8b12bf7bd3cc7e38ae14003dc03e45a18bbaa6c0279ba6142e"
        ! scopes = []
        !
        ! It may do nothing yet: name servers or tools in `scopes`, e.g. "greet" or "greet:echoHai".
        "#);
    }

    #[test]
    fn a_script_gets_json() {
        assert_snapshot!(told(&args(&["greet"], true)), @r#"
        {
          "key": "mgw_05AFKPUZ_KC0yNzxBRktQVVpfZGluc3h9goeMkZaboKWqr7S5vsM",
          "name": "ci",
          "id": "05AFKPUZ",
          "sha256": "bafa243e8d8f2c8b12bf7bd3cc7e38ae14003dc03e45a18bbaa6c0279ba6142e",
          "scopes": [
            "greet"
          ],
          "toml": "[[auth.key]]\nname = \"ci\"\nid = \"05AFKPUZ\"\nsha256 = \"bafa243e8d8f2c8b12bf7bd3cc7e38ae14003dc03e45a18bbaa6c0279ba6142e\"\nscopes = [\"greet\"]"
        }
        "#);
    }

    #[test]
    fn a_new_key_is_taken_and_no_other_is_like_it() {
        let args = args(&["greet"], true);
        let make = || {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            assert_eq!(make(&args, &mut out, &mut err).expect("memory"), Outcome::Fine);
            serde_json::from_slice::<serde_json::Value>(&out).expect("JSON")
        };
        let (one, other) = (make(), make());
        let text = |key: &serde_json::Value, member: &str| key[member].as_str().expect("text").to_owned();
        let sha256 = Digest::parse(&text(&one, "sha256")).expect("a digest");
        let scopes = args.scopes.clone();
        let keys = [ApiKey { name: text(&one, "name"), id: text(&one, "id"), sha256, scopes }];
        assert_eq!(find(&keys, text(&one, "key").as_bytes()), Some(&keys[0]));
        assert_eq!(find(&keys, text(&other, "key").as_bytes()), None);
        assert_ne!(text(&one, "id"), text(&other, "id"));
    }

    #[test]
    fn names_and_scopes_are_such_that_every_file_can_hold_them() {
        let check = |name: &str, good: bool| assert_eq!(parse_name(name).is_ok(), good, "{name}");
        check("ci", true);
        check("team-1.deploy_bot", true);
        check(&"a".repeat(64), true);
        check(&"a".repeat(65), false);
        for bad in ["", "a b", "é", "a\"b", "a\nb"] {
            check(bad, false);
        }
        assert!(parse_scope("greet:echoHai").is_ok());
        assert!(parse_scope("a b").is_err());
        assert!(parse_scope("\"").is_err());
    }
}
