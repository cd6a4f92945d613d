//! What a caller may use of a server: the server itself, all of it, or single tools.
//!
//! In:   who is calling, and what gateway.toml says of the server's callers.
//! Out:  whether; and what a caller who may not would need.
//!
//! Without `scopes` a server asks for its own name (all of it), or for its name, a colon and a tool's (that tool). With
//! `scopes` it asks for every one of them. What `[[server.tool]]` asks for comes on top.

use std::sync::Arc;

use super::auth::Principal;
use crate::{
    config::{AsksFor, Auth, Guard, Guards, ServerName},
    mount::Mount,
};

/// What one server asks of its callers. Made once for each server: requests share it.
#[derive(Debug)]
pub(super) struct Access {
    server: ServerName,
    guard: Guard,
    is_asking: bool,
    /// The scopes that a caller needs for the server, as a challenge names them (RFC 6750 section 3).
    needs: String,
    /// The scope of all its tools, `<server>:*`, of which those of single tools have the beginning.
    every_tool: String,
}

impl Access {
    pub(super) fn of(server: &ServerName, guards: &Guards, auth: &Auth) -> Self {
        let guard = guards.get(server).cloned().unwrap_or_default();
        let is_asking = auth.is_on() && guard.asks_for != AsksFor::Nothing;
        Self::new(server.clone(), guard, is_asking)
    }

    fn new(server: ServerName, guard: Guard, is_asking: bool) -> Self {
        let needs = match guard.scopes.as_slice() {
            [] => server.to_string(),
            scopes => scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" "),
        };
        let every_tool = format!("{server}:*");
        Self { server, guard, is_asking, needs, every_tool }
    }

    /// Whether callers have to say who they are.
    pub(super) fn is_asking(&self) -> bool {
        self.is_asking
    }

    pub(super) fn server(&self) -> &ServerName {
        &self.server
    }

    pub(super) fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Whether `principal` may use anything of the server.
    pub(super) fn opens_to(&self, principal: &Principal) -> bool {
        if !self.is_asking {
            return true;
        }
        let name = self.server.as_str();
        if self.guard.scopes.is_empty() {
            let begin = self.every_tool.trim_end_matches('*');
            return principal.has(name) || principal.has_some(begin);
        }
        self.guard.scopes.iter().all(|scope| principal.has(scope.as_str()))
    }

    /// Whether `principal` may use all but the tools that ask for more: prompts, resources and all else of the server.
    pub(super) fn is_whole_for(&self, principal: &Principal) -> bool {
        if !self.is_asking {
            return true;
        }
        let name = self.server.as_str();
        if self.guard.scopes.is_empty() {
            return principal.has(name) || principal.has(&self.every_tool);
        }
        self.opens_to(principal)
    }

    /// Whether `principal`, who may use the server, may use `tool`.
    pub(super) fn lets_call(&self, principal: &Principal, tool: &str) -> bool {
        if !self.is_asking {
            return true;
        }
        let more = self.guard.tools.get(tool).map(Vec::as_slice).unwrap_or_default();
        let has_own = self.is_whole_for(principal)
            || (self.guard.scopes.is_empty() && principal.has(&format!("{}:{tool}", self.server)));
        has_own && more.iter().all(|scope| principal.has(scope.as_str()))
    }

    /// What a caller needs for the server, as a challenge names it.
    pub(super) fn needs(&self) -> &str {
        &self.needs
    }

    /// What `principal` gets to see of `mount`.
    pub(super) fn view(&self, mount: &Arc<Mount>, principal: &Principal) -> Arc<Mount> {
        let is_whole = self.is_whole_for(principal);
        if is_whole && (!self.is_asking || self.guard.tools.is_empty()) {
            return mount.clone();
        }
        mount.seen(is_whole, |tool| self.lets_call(principal, tool))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Scope;

    fn scopes(list: &[&str]) -> Vec<Scope> {
        list.iter().map(|text| Scope::parse(text).expect("the test's own scope")).collect()
    }

    fn access(guard: Guard) -> Access {
        let server = ServerName::parse("calc").expect("the test's own name");
        Access::new(server, guard, true)
    }

    /// What a holder of `granted` may use: the server, all of it, its tools `add` and `erase`.
    fn check(guard: &Guard, granted: &[&str], expected: [bool; 4]) {
        let (access, principal) = (access(guard.clone()), Principal::of_key("k", &scopes(granted)));
        let found = [
            access.opens_to(&principal),
            access.is_whole_for(&principal),
            access.lets_call(&principal, "add"),
            access.lets_call(&principal, "erase"),
        ];
        assert_eq!(found, expected, "{guard:?} {granted:?}");
    }

    #[test]
    fn a_server_without_scopes_asks_for_its_name_or_its_tools() {
        let plain = Guard::default();
        check(&plain, &["calc"], [true; 4]);
        check(&plain, &["calc:*"], [true; 4]);
        check(&plain, &["*"], [true; 4]);
        check(&plain, &["calc:add"], [true, false, true, false]);
        check(&plain, &["calculator", "calculator:add"], [false; 4]);
        check(&plain, &["admin"], [false; 4]);
        check(&plain, &[], [false; 4]);
    }

    #[test]
    fn a_server_with_scopes_asks_for_each_and_a_tool_for_more() {
        let erase = ("erase".to_owned(), scopes(&["calc:write"]));
        let listed = Guard { scopes: scopes(&["math", "team:a"]), tools: [erase].into(), ..Guard::default() };
        check(&listed, &["math", "team:a"], [true, true, true, false]);
        check(&listed, &["math", "team:*", "calc:write"], [true; 4]);
        check(&listed, &["math", "calc:write"], [false; 4]);
        check(&listed, &["calc", "calc:add"], [false; 4]);
        let plain = Guard { scopes: Vec::new(), ..listed };
        check(&plain, &["calc"], [true, true, true, false]);
        check(&plain, &["calc:erase", "calc:write"], [true, false, false, true]);
        check(&plain, &["calc:write"], [true, false, false, false]);
    }

    #[test]
    fn a_challenge_names_all_that_the_server_needs() {
        assert_eq!(access(Guard::default()).needs(), "calc");
        assert_eq!(access(Guard { scopes: scopes(&["a", "b:c"]), ..Guard::default() }).needs(), "a b:c");
    }
}
