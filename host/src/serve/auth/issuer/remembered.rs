//! Tokens whose signature was found good: a second look at RS256 costs more than all the rest of a call.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use super::{super::token::Verified, keys::Keys};
use crate::config::Digest;

/// Most tokens that are remembered of one issuer.
const TOKENS_MAX: usize = 10_000;

/// The tokens of one issuer, by their digest: the tokens themselves are not kept.
#[derive(Debug, Default)]
pub(super) struct Remembered(RwLock<HashMap<Digest, Entry>>);

/// One of them.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) verified: Verified,
    /// What its signature was checked with. When the issuer has other keys, this token's may be gone.
    pub(super) keys: Arc<Keys>,
}

impl Remembered {
    /// What was found out about this token.
    pub(super) fn get(&self, token: &Digest) -> Option<Entry> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }

    /// Remembers a token that is good now that it is `unix`.
    pub(super) fn put(&self, token: Digest, entry: Entry, unix: u64) {
        let mut entries = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= TOKENS_MAX {
            let is_good =
                |old: &Entry| !old.verified.has_expired(unix) && Arc::ptr_eq(&old.keys, &entry.keys);
            entries.retain(|_, old| is_good(old));
        }
        if entries.len() >= TOKENS_MAX {
            // Any of them, and some at once: this is done once in a thousand times, and one forgotten costs little.
            let mut left = TOKENS_MAX * 9 / 10;
            entries.retain(|_, _| {
                left = left.saturating_sub(1);
                left > 0
            });
        }
        entries.insert(token, entry);
    }

    /// Forgets all of them.
    pub(super) fn clear(&self) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).len()
    }
}
