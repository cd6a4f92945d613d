//! How callers say who they are, in the words of OpenAPI.
//!
//! In:   in which ways they can.
//! Out:  the security schemes of a document, and what an operation says of them.

use serde_json::{Map, Value, json};

use crate::config::Ways;

const KEY: &str = "key";
const BEARER: &str = "bearer";
const CERTIFICATE: &str = "certificate";

/// Any one of these is enough.
pub(super) fn security(ways: Ways) -> Vec<Value> {
    names(ways).map(|scheme| json!({scheme: []})).collect()
}

fn names(ways: Ways) -> impl Iterator<Item = &'static str> {
    let all = [(ways.keys, KEY), (ways.keys || ways.tokens, BEARER), (ways.certificates, CERTIFICATE)];
    all.into_iter().filter_map(|(is_one, scheme)| is_one.then_some(scheme))
}

/// The ways as an OpenAPI document describes them.
pub(super) fn schemes(ways: Ways) -> Value {
    let described = names(ways).map(|scheme| {
        let described = match scheme {
            KEY => json!({"type": "apiKey", "in": "header", "name": "X-API-Key"}),
            BEARER => {
                let what = match (ways.keys, ways.tokens) {
                    (true, true) => "A key, or an access token of an OAuth authorization server.",
                    (true, false) => "A key.",
                    (false, _) => "An access token of an OAuth authorization server.",
                };
                json!({"type": "http", "scheme": "bearer", "description": what})
            }
            _ => json!({"type": "mutualTLS"}),
        };
        (scheme.to_owned(), described)
    });
    described.collect::<Map<_, _>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_is_a_scheme() {
        let check = |ways, expected: &str| {
            assert_eq!(names(ways).collect::<Vec<_>>().join(" "), expected);
            assert_eq!(schemes(ways).as_object().map(Map::len), Some(names(ways).count()));
        };
        check(Ways { keys: true, certificates: true, tokens: true }, "key bearer certificate");
        check(Ways { keys: true, ..Ways::default() }, "key bearer");
        check(Ways { tokens: true, ..Ways::default() }, "bearer");
        check(Ways { certificates: true, ..Ways::default() }, "certificate");
        check(Ways::default(), "");
    }
}
