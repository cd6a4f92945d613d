//! Who is calling, and what they may do.

use std::{sync::Arc, time::SystemTime};

use crate::{
    config::Scope,
    load::{CallerFacts, PrincipalFacts},
};

/// Who is calling. Made once for each key and certificate, and once for each token that is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    id: String,
    grants: Grants,
    expires: Option<SystemTime>,
    /// What plugins get to know. `None`: nobody in particular.
    facts: Option<Arc<CallerFacts>>,
}

/// What somebody may do.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Grants {
    /// All there is.
    Operator,
    /// All but to look after the gateway: nobody is asked.
    Everything,
    /// What these scopes say.
    Scopes(Vec<Scope>),
}

impl Principal {
    fn unnamed(grants: Grants) -> Self {
        Self { id: "anonymous".into(), grants, expires: None, facts: None }
    }

    fn named(id: String, scopes: Vec<Scope>, expires: Option<SystemTime>) -> Self {
        let told = scopes.iter().map(ToString::to_string).collect();
        let facts = CallerFacts { principal: PrincipalFacts { id: id.clone() }, scopes: told };
        Self { id, grants: Grants::Scopes(scopes), expires, facts: Some(Arc::new(facts)) }
    }

    /// Whoever it is, where nobody is asked.
    pub(super) fn anyone() -> Self {
        Self::unnamed(Grants::Everything)
    }

    /// Whoever it is, where somebody is asked and has said nothing.
    pub(super) fn nobody() -> Self {
        Self::unnamed(Grants::Scopes(Vec::new()))
    }

    /// The user whom the gateway belongs to.
    pub(in crate::serve) fn operator() -> Self {
        Self { id: "operator:local".into(), ..Self::unnamed(Grants::Operator) }
    }

    /// The holder of the key of that name.
    pub(in crate::serve) fn of_key(name: &str, scopes: &[Scope]) -> Self {
        Self::named(format!("key:{name}"), scopes.to_vec(), None)
    }

    /// The holder of the client certificate of that name.
    pub(super) fn of_certificate(name: &str, scopes: &[Scope]) -> Self {
        Self::named(format!("certificate:{name}"), scopes.to_vec(), None)
    }

    /// The subject of a token. `*` is the operator's word, not an issuer's: who may have everything stands in gateway.toml.
    pub(super) fn of_token(
        issuer: &str,
        subject: &str,
        scopes: &[Scope],
        expires: Option<SystemTime>,
    ) -> Self {
        let scopes = scopes.iter().filter(|scope| scope.as_str() != "*").cloned().collect();
        Self::named(format!("token:{issuer}#{subject}"), scopes, expires)
    }

    /// Who it is, in logs, audit and limits: `key:<name>`, `certificate:<name>`, `token:<issuer>#<subject>`, `anonymous`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it was known by: `key`, `certificate`, `token`; else `none`.
    pub(in crate::serve) fn known_by(&self) -> &str {
        self.id.split_once(':').map_or("none", |(kind, _)| kind)
    }

    /// Who issued its token; `None`: it has shown something else.
    pub(super) fn issuer(&self) -> Option<&str> {
        self.id.strip_prefix("token:")?.split_once('#').map(|(issuer, _)| issuer)
    }

    /// Whether it is somebody in particular.
    pub fn is_named(&self) -> bool {
        self.id.contains(':')
    }

    /// Until when it is who it is; `None`: as long as gateway.toml says so.
    pub fn expires(&self) -> Option<SystemTime> {
        self.expires
    }

    /// What plugins get to know of it.
    pub(in crate::serve) fn facts(&self) -> Option<Arc<CallerFacts>> {
        self.facts.clone()
    }

    /// Whether it has `needed`: itself, `*`, or what ends in `:*` and begins like it.
    pub fn has(&self, needed: &str) -> bool {
        // Looking after the gateway is never given along with all else.
        let is_of_operators = [Scope::ADMIN, Scope::METRICS].contains(&needed);
        match &self.grants {
            Grants::Operator => true,
            Grants::Everything => needed != Scope::ADMIN,
            Grants::Scopes(scopes) => {
                scopes.iter().map(Scope::as_str).any(|granted| match granted.strip_suffix('*') {
                    _ if granted == needed => true,
                    Some("") => !is_of_operators,
                    Some(begin) if begin.ends_with(':') => needed.starts_with(begin),
                    _ => false,
                })
            }
        }
    }

    /// Whether it has something that begins with `begin`, which ends with a colon.
    pub(in crate::serve) fn has_some(&self, begin: &str) -> bool {
        match &self.grants {
            Grants::Everything | Grants::Operator => true,
            Grants::Scopes(scopes) => {
                scopes.iter().any(|scope| scope.as_str() == "*" || scope.as_str().starts_with(begin))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(list: &[&str]) -> Vec<Scope> {
        list.iter().map(|text| Scope::parse(text).expect("the test's own scope")).collect()
    }

    #[test]
    fn a_scope_is_had_by_its_name_or_by_what_it_begins_with() {
        let check = |granted: &[&str], needed: &str, expected: bool| {
            assert_eq!(
                Principal::of_key("k", &scopes(granted)).has(needed),
                expected,
                "{granted:?} {needed}"
            );
        };
        check(&["greet"], "greet", true);
        check(&["greet"], "greet:echoHai", false);
        check(&["greet:*"], "greet:echoHai", true);
        check(&["greet:*"], "greetings:x", false);
        check(&["greet:*"], "greet", false);
        check(&["gr*"], "greet", false);
        check(&["Greet"], "greet", false);
        check(&["*"], "greet:echoHai", true);
        check(&["*"], "admin", false);
        check(&["*"], "metrics", false);
        check(&["*", "admin"], "admin", true);
        check(&["admin:*"], "admin", false);
        check(&[], "greet", false);
    }

    #[test]
    fn nobody_looks_after_the_gateway_unasked_and_no_issuer_gives_everything() {
        assert!(Principal::anyone().has("greet") && Principal::anyone().has("metrics"));
        assert!(!Principal::anyone().has("admin"));
        assert!(!Principal::nobody().has("greet") && !Principal::nobody().has_some("greet:"));
        let token = Principal::of_token("https://a.example", "ada", &scopes(&["*", "greet"]), None);
        assert!(token.has("greet") && !token.has("bye"));
        assert_eq!(token.id(), "token:https://a.example#ada");
    }
}
