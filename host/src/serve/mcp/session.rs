//! What the gateway remembers of one 2025 session. Requests without one have theirs for as long as they last.
//!
//! In:   what the client of the session sets: a log level, resources it watches.
//! Out:  the same, and a task that tells the client of changes until the session ends.
//! Never: outlives the session: rmcp drops the handler that holds it when the session ends or expires.

#![expect(deprecated, reason = "rmcp marks logging as deprecated with the revision that will drop it")]

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rmcp::{
    ErrorData, Peer, RoleServer,
    model::{
        LoggingLevel, PromptListChangedNotification, ResourceListChangedNotification,
        ResourceUpdatedNotification, ResourceUpdatedNotificationParam, ServerNotification,
        ToolListChangedNotification,
    },
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::hub::{Change, Hub, Membership};

/// One 2025 session.
#[derive(Debug, Default)]
pub(super) struct Session {
    level: Mutex<Option<LoggingLevel>>,
    told: OnceLock<Told>,
}

/// A session that is told of changes.
#[derive(Debug)]
struct Told {
    membership: Arc<Membership>,
    _until: DropGuard,
}

impl Session {
    /// The least severe level the client wants. A client that never said gets everything, as 2025-11-25 allows.
    pub(super) fn level(&self) -> LoggingLevel {
        self.level.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or(LoggingLevel::Debug)
    }

    pub(super) fn set_level(&self, level: LoggingLevel) {
        *self.level.lock().unwrap_or_else(PoisonError::into_inner) = Some(level);
    }

    /// From here on the client is told of changes. What it watches goes through the answer.
    pub(super) fn join(
        &self,
        hub: &Arc<Hub>,
        lists: &[Change],
        peer: &Peer<RoleServer>,
    ) -> Result<&Membership, ErrorData> {
        if let Some(told) = self.told.get() {
            return Ok(&told.membership);
        }
        let full = || ErrorData::internal_error("too many clients wait for changes; try again later", None);
        let membership = Arc::new(hub.join(lists.iter().cloned()).ok_or_else(full)?);
        let until = CancellationToken::new();
        let told = Told { membership: membership.clone(), _until: until.clone().drop_guard() };
        if self.told.set(told).is_ok() {
            tokio::spawn(tell(membership, peer.clone(), until));
        }
        // Lost against another request of the same session: that one's is as good.
        self.told.get().map(|told| &*told.membership).ok_or_else(full)
    }
}

async fn tell(membership: Arc<Membership>, peer: Peer<RoleServer>, until: CancellationToken) {
    let telling = async {
        loop {
            let notification = notification(membership.next().await);
            if let Err(error) = peer.send_notification(notification).await {
                tracing::debug!(%error, "session not told of a change");
            }
        }
    };
    // A client that does not read holds up nobody but itself.
    let _ = until.run_until_cancelled(telling).await;
}

/// `change` in rmcp's model.
pub(super) fn notification(change: Change) -> ServerNotification {
    match change {
        Change::Tools => ToolListChangedNotification::default().into(),
        Change::Prompts => PromptListChangedNotification::default().into(),
        Change::Resources => ResourceListChangedNotification::default().into(),
        Change::Resource(uri) => {
            ResourceUpdatedNotification::new(ResourceUpdatedNotificationParam::new(uri)).into()
        }
    }
}
