//! The authorization servers whose tokens are taken, and their keys.
//!
//! In:   the `[[auth.issuer]]` tables, and the text of tokens.
//! Out:  what a token says, if it is from one of them, signed with a key that it publishes, and for this server.
//! Fails: with the [`TokenError`] to tell the caller.
//! Never: asks an issuer about a single token. Keys are fetched by one task at a time, and however many tokens name
//!       unknown keys, no more often than every 30 seconds; while there are none to use, every 5. Uses keys that the issuer
//!       gave more than a day ago.

mod fetch;
mod keys;
mod remembered;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwapOption;
use tokio::sync::watch;

pub(super) use keys::Keys;

use super::token::{Claims, TOKEN_MAX_BYTES, TokenError, Unverified};
use crate::{
    config::{self, Digest},
    load::chain,
};
use fetch::Fetched;
use remembered::{Entry, Remembered};

/// From one fetch to the next of an issuer that has keys.
const PAUSE: Duration = Duration::from_secs(30);

/// From one fetch to the next of an issuer that has none to use: nobody can be let in meanwhile.
const PAUSE_WITHOUT_KEYS: Duration = Duration::from_secs(5);

/// How long keys that are due are still used at once, while others are fetched. After a longer silence the first
/// request waits for them: a key may have been withdrawn long ago.
const GRACE: Duration = Duration::from_secs(5 * 60);

/// How long keys are used after they were last fetched, however often that has been tried since: one that was withdrawn
/// because it was stolen must not be good for as long as somebody keeps the gateway from its issuer.
const AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The issuers of gateway.toml.
#[derive(Debug)]
pub(crate) struct Issuers(Vec<Arc<Issuer>>);

/// One of them, and what is known of it. Dropping it leaves a fetch that runs to its end.
#[derive(Debug)]
struct Issuer {
    table: config::Issuer,
    current: ArcSwapOption<Current>,
    attempts: Mutex<Attempts>,
    remembered: Remembered,
}

#[derive(Debug)]
struct Current {
    keys: Arc<Keys>,
    /// When the issuer gave them last.
    fetched: Instant,
    /// When they should be fetched again.
    due: Instant,
}

#[derive(Debug, Default)]
struct Attempts {
    /// When the last one began, or ended if it has.
    last: Option<Instant>,
    failed: bool,
    /// Closed when the last one has ended.
    ended: Option<watch::Receiver<()>>,
}

/// When something is asked, by both clocks. Tests say what they like.
#[derive(Debug, Clone, Copy)]
struct Moment {
    instant: Instant,
    /// Seconds since 1970.
    unix: u64,
}

impl Issuers {
    /// Nothing is fetched until there is a token to check.
    pub(crate) fn new(tables: &[config::Issuer]) -> Self {
        Self(Vec::new()).renewed(tables)
    }

    /// The issuers of a gateway.toml that has changed. What is known of those that have not is kept.
    pub(crate) fn renewed(&self, tables: &[config::Issuer]) -> Self {
        // The HTTPS client needs it. An error means that there is one already, which is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let known = |table: &config::Issuer| self.0.iter().find(|issuer| issuer.table == *table).cloned();
        let issuer = |table| known(table).unwrap_or_else(|| Arc::new(Issuer::new(table.clone())));
        Self(tables.iter().map(issuer).collect())
    }

    /// What `token` says, if it is to be believed and is for one of `audiences`.
    pub(crate) async fn verify(&self, token: &str, audiences: &[&str]) -> Result<Arc<Claims>, TokenError> {
        self.verify_at(Moment::now(), token, audiences).await
    }

    async fn verify_at(
        &self,
        now: Moment,
        token: &str,
        audiences: &[&str],
    ) -> Result<Arc<Claims>, TokenError> {
        if token.len() > TOKEN_MAX_BYTES {
            return Err(TokenError::Malformed("it is longer than 16 KiB"));
        }
        let digest = Digest::of(token.as_bytes());
        for issuer in &self.0 {
            if let Some(entry) = issuer.remembered.get(&digest)
                && Arc::ptr_eq(&entry.keys, &issuer.keys(now).await?)
            {
                return entry.verified.check_again(audiences, now.unix);
            }
        }
        let token = Unverified::parse(token)?;
        let issuer = self.0.iter().find(|issuer| issuer.table.url == token.issuer);
        issuer.ok_or(TokenError::UnknownIssuer)?.verify(now, &token, digest, audiences).await
    }
}

impl Issuer {
    fn new(table: config::Issuer) -> Self {
        let (current, attempts, remembered) =
            (ArcSwapOption::empty(), Mutex::default(), Remembered::default());
        Self { table, current, attempts, remembered }
    }

    async fn verify(
        self: &Arc<Self>,
        now: Moment,
        token: &Unverified<'_>,
        digest: Digest,
        audiences: &[&str],
    ) -> Result<Arc<Claims>, TokenError> {
        let mut keys = self.keys(now).await?;
        let mut verified = token.verify(&self.table, &keys, audiences);
        // The issuer may sign with a key that it did not have when it was asked.
        let may_have_another = match verified {
            Err(TokenError::UnknownKey) => true,
            Err(TokenError::BadSignature) => token.names_no_key(),
            _ => false,
        };
        if may_have_another && let Some(others) = self.keys_other_than(&keys, now).await? {
            keys = others;
            verified = token.verify(&self.table, &keys, audiences);
        }
        let verified = verified?;
        let claims = verified.claims.clone();
        self.remembered.put(digest, Entry { verified, keys }, now.unix);
        Ok(claims)
    }

    /// The keys, if need be fetched.
    async fn keys(self: &Arc<Self>, now: Moment) -> Result<Arc<Keys>, TokenError> {
        if let Some(current) = &*self.current.load()
            && now.instant < current.due + GRACE
            && current.is_usable(now)
        {
            if current.due <= now.instant {
                // Whoever comes next has the new ones.
                self.attempt(now);
            }
            return Ok(current.keys.clone());
        }
        self.attempted(now).await;
        self.usable_keys(now).ok_or(TokenError::IssuerUnreachable)
    }

    /// Other keys than these, if there are any by now. If that cannot be found out, the issuer is to blame.
    async fn keys_other_than(
        self: &Arc<Self>,
        known: &Arc<Keys>,
        now: Moment,
    ) -> Result<Option<Arc<Keys>>, TokenError> {
        let others = || self.current_keys().filter(|keys| !Arc::ptr_eq(keys, known));
        if let Some(others) = others() {
            return Ok(Some(others));
        }
        self.attempted(now).await;
        match others() {
            None if self.attempts().failed => Err(TokenError::IssuerUnreachable),
            others => Ok(others),
        }
    }

    fn usable_keys(&self, now: Moment) -> Option<Arc<Keys>> {
        let current = self.current.load();
        current.as_ref().filter(|current| current.is_usable(now)).map(|current| current.keys.clone())
    }

    fn current_keys(&self) -> Option<Arc<Keys>> {
        self.current.load().as_ref().map(|current| current.keys.clone())
    }

    fn attempts(&self) -> std::sync::MutexGuard<'_, Attempts> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the end of [`Issuer::attempt`].
    async fn attempted(self: &Arc<Self>, now: Moment) {
        if let Some(mut ended) = self.attempt(now) {
            while ended.changed().await.is_ok() {}
        }
    }

    /// Has the keys fetched, unless that was done a moment ago. Gives back what is closed when it has ended.
    ///
    /// In a task of its own: a caller that goes away must not take the others' keys along, and must not use up the
    /// one attempt that there is for some time.
    fn attempt(self: &Arc<Self>, now: Moment) -> Option<watch::Receiver<()>> {
        let pause = if self.usable_keys(now).is_some() { PAUSE } else { PAUSE_WITHOUT_KEYS };
        let mut attempts = self.attempts();
        if let Some(running) = attempts.ended.as_ref().filter(|ended| ended.has_changed().is_ok()) {
            return Some(running.clone());
        }
        if attempts.last.is_some_and(|last| now.instant < last + pause) {
            return None;
        }
        let (ends, ended) = watch::channel(());
        *attempts = Attempts { last: Some(now.instant), failed: true, ended: Some(ended.clone()) };
        let issuer = self.clone();
        tokio::spawn(async move {
            issuer.fetch(now).await;
            drop(ends);
        });
        Some(ended)
    }

    async fn fetch(&self, now: Moment) {
        let begun = Instant::now();
        let fetched = fetch::fetch(&self.table).await;
        let ended = now.instant + begun.elapsed();
        let before = self.current.load_full();
        let failed = fetched.is_err();
        let current = match fetched {
            Ok(Fetched { keys, fresh_for }) => {
                let keys = self.taken(keys, before.map(|before| before.keys.clone()));
                Some(Current { keys, fetched: ended, due: ended + fresh_for })
            }
            Err(error) => {
                let (issuer, error) = (self.table.url.as_str(), chain(&error));
                let has_keys = before.as_ref().is_some_and(|before| before.is_usable(now));
                tracing::warn!(issuer, error, has_keys, "cannot fetch the keys of an issuer");
                before.map(|before| Current {
                    keys: before.keys.clone(),
                    fetched: before.fetched,
                    due: ended + PAUSE,
                })
            }
        };
        if let Some(current) = current {
            self.current.store(Some(Arc::new(current)));
        }
        let mut attempts = self.attempts();
        (attempts.last, attempts.failed) = (Some(ended), failed);
    }

    /// The keys to use from now on: the same `Arc` if they are the same, so that good tokens stay remembered.
    fn taken(&self, keys: Keys, before: Option<Arc<Keys>>) -> Arc<Keys> {
        if let Some(before) = before.filter(|before| before.are(&keys)) {
            return before;
        }
        let (issuer, count) = (self.table.url.as_str(), keys.len());
        if count == 0 {
            tracing::warn!(issuer, "an issuer publishes no key that tokens can be signed with");
        } else {
            tracing::info!(issuer, keys = count, "keys of an issuer fetched");
        }
        self.remembered.clear();
        Arc::new(keys)
    }
}

impl Current {
    fn is_usable(&self, now: Moment) -> bool {
        now.instant < self.fetched + AGE_MAX
    }
}

impl Moment {
    fn now() -> Self {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { instant: Instant::now(), unix: since_1970.as_secs() }
    }
}

#[cfg(test)]
mod tests;
