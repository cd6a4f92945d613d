//! The sessions of one door: whose they are, room for one more, and their end.
//!
//! In:   requests that name a session, or open one.
//! Out:  leave to use it, and what of it lasts.
//! Never: more of them than `[limits] sessions_max`, which rmcp does not know of.

use std::time::Duration;

use futures_util::future::join_all;
use http::request::Parts;
use rmcp::transport::streamable_http_server::SessionManager;

use super::{
    McpDoor, SESSION,
    recency::{Claim, Holder, InUse, Share},
    refusal::Refusal,
};

/// Longest wait for one session to take note that it is closed.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// What lasts at a door.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::serve) struct OpenAtDoor {
    pub(in crate::serve) sessions: usize,
    pub(in crate::serve) streams: usize,
    pub(in crate::serve) tasks: usize,
}

impl McpDoor {
    /// How many sessions, streams and tasks there are now.
    pub(in crate::serve) async fn open(&self) -> OpenAtDoor {
        let sessions = self.sessions.sessions.read().await.len();
        OpenAtDoor { sessions, streams: self.streams.open(), tasks: self.handler.tasks().running() }
    }

    /// A session is its principal's: who has come by another's id is told that there is no such session. It ends when its
    /// principal may no longer use all of the server, because it goes on hearing of what it was opened for.
    pub(super) async fn check_session(&self, parts: &Parts) -> Result<(), Refusal> {
        let Some(session) = parts.headers.get(SESSION).and_then(|id| id.to_str().ok()) else { return Ok(()) };
        match self.recency.claim(session, &Holder::of(parts.extensions.get())) {
            Claim::Fits => Ok(()),
            Claim::AnothersSession => Err(Refusal::unknown_session(None)),
            Claim::HasLess => {
                tracing::debug!(session, "a session ends: its principal may use less than before");
                self.close(session).await;
                Err(Refusal::unknown_session(None))
            }
        }
    }

    /// Makes room for one more session of `share`, if there is none, by ending the one that was left longest: of all, or of
    /// its own if it has a quarter of them. `false`: each of those is in use. rmcp needs about 50 KiB for each, and has no
    /// cap itself.
    pub(super) async fn has_room(&self, sessions_max: usize, share: &Share) -> bool {
        let idlest = {
            let sessions = self.sessions.sessions.read().await;
            self.recency.tidy(sessions.keys().map(|id| &**id));
            if sessions.len() < sessions_max {
                return true;
            }
            let share_max = (sessions_max / 4).max(1);
            self.recency.makes_room(sessions.keys().map(|id| &**id), share, share_max)
        };
        let Some(idlest) = idlest else { return false };
        tracing::debug!(session = idlest, "too many sessions: one that was left ends");
        self.close(&idlest).await
    }

    /// Ends a session. `false`: it did not take note in time.
    async fn close(&self, session: &str) -> bool {
        let session = session.into();
        let closing = self.sessions.close_session(&session);
        matches!(tokio::time::timeout(CLOSE_WAIT, closing).await, Ok(Ok(())))
    }

    /// Marks the session of a request, if there is such a session, as in use.
    pub(super) async fn in_use(&self, parts: &Parts) -> Option<InUse> {
        let session = parts.headers.get(SESSION)?.to_str().ok()?;
        let exists = self.sessions.sessions.read().await.contains_key(session);
        exists.then(|| self.recency.begin(session))
    }

    /// Second step, once no call is under way: ends the tasks that still run, and every 2025 session and with it
    /// its streams. A call that is under way all the same loses its stream, and goes on until [`Self::shut`]. Takes
    /// four seconds at most.
    pub async fn close_sessions(&self) {
        self.handler.tasks().stop().await;
        let ids: Vec<_> = self.sessions.sessions.read().await.keys().cloned().collect();
        let closing = ids.iter().map(|id| tokio::time::timeout(CLOSE_WAIT, self.sessions.close_session(id)));
        for (id, outcome) in ids.iter().zip(join_all(closing).await) {
            if !matches!(outcome, Ok(Ok(()))) {
                tracing::debug!(session = &**id, "session did not close in time");
            }
        }
    }
}
