//! Who was let in, and who was not: by what they have shown, never by who they are.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::mount::ProblemCode;

/// What a caller has shown.
const CREDENTIALS: [&str; 4] = ["none", "key", "certificate", "token"];

/// What was decided of a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// It is let in.
    Allowed,
    /// It has not said who it is, or what it has shown is wrong.
    Unauthorized,
    /// It is known, and lacks a scope.
    Forbidden,
    /// Its token cannot be checked at present.
    AuthUnavailable,
}

impl Verdict {
    const ALL: [Self; 4] = [Self::Allowed, Self::Unauthorized, Self::Forbidden, Self::AuthUnavailable];

    fn word(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::AuthUnavailable => "auth_unavailable",
        }
    }

    /// What a refusal with `code` decides. `None`: it is about something else.
    fn of(code: ProblemCode) -> Option<Self> {
        match code {
            ProblemCode::Unauthorized => Some(Self::Unauthorized),
            ProblemCode::Forbidden => Some(Self::Forbidden),
            ProblemCode::AuthUnavailable => Some(Self::AuthUnavailable),
            _ => None,
        }
    }
}

/// How often what was decided, where callers are asked who they are.
#[derive(Debug, Default)]
pub(in crate::serve) struct Decisions([[AtomicU64; Verdict::ALL.len()]; CREDENTIALS.len()]);

impl Decisions {
    /// Somebody is let in. `shown`: what kind of credential; whatever is none of those is nothing.
    pub(in crate::serve) fn allowed(&self, shown: &str) {
        self.count(shown, Verdict::Allowed);
    }

    /// Somebody is refused with `code`. Counts nothing if that is not about who it is.
    pub(in crate::serve) fn refused(&self, shown: &str, code: ProblemCode) {
        if let Some(verdict) = Verdict::of(code) {
            self.count(shown, verdict);
        }
    }

    fn count(&self, shown: &str, verdict: Verdict) {
        let at = CREDENTIALS.iter().position(|kind| *kind == shown).unwrap_or_default();
        self.0[at][verdict as usize].fetch_add(1, Relaxed);
    }

    /// What was shown, what was decided, and how often.
    pub(in crate::serve) fn counts(&self) -> impl Iterator<Item = ([&'static str; 2], u64)> {
        CREDENTIALS.into_iter().zip(&self.0).flat_map(|(shown, counts)| {
            let decided = Verdict::ALL.into_iter().zip(counts);
            decided.map(move |(verdict, count)| ([shown, verdict.word()], count.load(Relaxed)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_are_told_apart_by_what_they_have_shown() {
        let decisions = Decisions::default();
        decisions.allowed("key");
        decisions.refused("key", ProblemCode::Forbidden);
        decisions.refused("anonymous", ProblemCode::Unauthorized);
        decisions.refused("key", ProblemCode::RateLimited);
        let counted: Vec<_> = decisions.counts().filter(|(_, count)| *count > 0).collect();
        assert_eq!(
            counted,
            [(["none", "unauthorized"], 1), (["key", "allowed"], 1), (["key", "forbidden"], 1)]
        );
    }
}
