//! API keys: which of the `[[auth.key]]` tables a key belongs to that somebody shows.
//!
//! In:   what a client sent as its key, whatever that is.
//! Out:  the table, or nothing.
//! Never: keeps or shows a key; tells by the time it takes how much of a secret is right. Ids are not secret, and looked for in the
//!       plain way: how long that takes may tell which there are.
//!
//! A key is `mgw_<id>_<secret>`: eight letters and digits that find its table, and 32 random bytes. One SHA-256 of it is
//! enough: nobody guesses 256 random bits, however fast the hash is.

use subtle::ConstantTimeEq as _;

use crate::config::{ApiKey, Digest};

/// The table that the key `given` belongs to.
pub(crate) fn find<'a>(keys: &'a [ApiKey], given: &[u8]) -> Option<&'a ApiKey> {
    // What has another form is no key whatever the tables hold, so that to say so at once gives nothing away.
    let id = id_of(given)?;
    let named = keys.iter().find(|key| key.id.as_bytes() == id);
    // An id that nobody has costs the same hash and the same comparison. What comes of it does not count.
    let expected = named.map_or(&[0; 32], |key| key.sha256.as_bytes());
    let is_right = Digest::of(given).as_bytes().ct_eq(expected);
    named.filter(|_| is_right.into())
}

/// The id in a text that has the form of a key.
fn id_of(given: &[u8]) -> Option<&[u8]> {
    let (id, secret) = given.strip_prefix(b"mgw_")?.split_at_checked(8)?;
    let secret = secret.strip_prefix(b"_")?;
    let is_base64url = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_key =
        id.iter().all(u8::is_ascii_alphanumeric) && secret.len() == 43 && secret.iter().all(is_base64url);
    is_key.then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

    fn key(name: &str, id: &str, text: &str) -> ApiKey {
        let sha256 = Digest::of(text.as_bytes());
        ApiKey { name: name.into(), id: id.into(), sha256, scopes: Vec::new() }
    }

    fn check(given: &str, expected: Option<&str>) {
        let keys = [
            key("ci", "k3J9x2Qa", &format!("mgw_k3J9x2Qa_{SECRET}")),
            key("batch", "Batch001", &format!("mgw_Batch001_{}", SECRET.replace('A', "_"))),
        ];
        let found = find(&keys, given.as_bytes());
        assert_eq!(found.map(|key| key.name.as_str()), expected, "{given}");
    }

    #[test]
    fn a_key_is_found_by_its_id_and_believed_by_the_whole_of_it() {
        check(&format!("mgw_k3J9x2Qa_{SECRET}"), Some("ci"));
        check(&format!("mgw_Batch001_{}", SECRET.replace('A', "_")), Some("batch"));
        // The secret of another one, and one that nobody has.
        check(&format!("mgw_Batch001_{SECRET}"), None);
        check(&format!("mgw_k3J9x2Qa_{}", SECRET.replace('A', "B")), None);
        check(&format!("mgw_nobody00_{SECRET}"), None);
        // Letters of another case are other letters.
        check(&format!("mgw_K3J9x2Qa_{SECRET}"), None);
    }

    #[test]
    fn what_has_not_the_form_of_a_key_is_none() {
        let good = format!("mgw_k3J9x2Qa_{SECRET}");
        for given in [
            "",
            "mgw_",
            "mgw_k3J9x2Qa",
            "mgw_k3J9x2Qa_",
            "MGW_k3J9x2Qa_",
            &good[1..],
            &good[..good.len() - 1],
        ] {
            check(given, None);
        }
        for given in
            [format!("{good}A"), format!(" {good}"), good.replace("Qa_", "Qa-"), good.replace("3J", "é")]
        {
            check(&given, None);
        }
        check(&format!("mgw_k3J9x2Qa_{}=", &SECRET[1..]), None);
    }

    #[test]
    fn a_table_whose_digest_is_nobodys_lets_nobody_in() {
        let zeros = Digest::parse(&"0".repeat(64)).expect("a digest");
        let keys = [ApiKey { sha256: zeros, ..key("ci", "k3J9x2Qa", "") }];
        assert_eq!(find(&keys, format!("mgw_nobody00_{SECRET}").as_bytes()), None);
        assert_eq!(find(&keys, format!("mgw_k3J9x2Qa_{SECRET}").as_bytes()), None);
    }
}
