//! Who is calling, on the way through the MCP library.
//!
//! What is asked about a request finds its caller in the request's parts. What the library asks a server about itself comes
//! without a request; but it asks the handler that it has made for one, in the task that answers it.

use http::request::Parts;
use rmcp::{RoleServer, service::RequestContext};

use super::handler::Handler;
use crate::serve::caller::Caller;

tokio::task_local! {
    static CALLER: Caller;
}

/// Runs `answering` on behalf of `caller`: handlers that are made meanwhile are for it.
pub(super) async fn on_behalf_of<F: Future>(caller: Caller, answering: F) -> F::Output {
    CALLER.scope(caller, answering).await
}

/// On whose behalf this runs.
pub(super) fn current() -> Option<Caller> {
    CALLER.try_with(Caller::clone).ok()
}

impl Handler {
    /// Who sends the request of `cx`: the same principal for all requests of a session, but not always with the same scopes.
    pub(super) fn caller(&self, cx: &RequestContext<RoleServer>) -> Option<Caller> {
        let sent = cx.extensions.get::<Parts>().and_then(|parts| parts.extensions.get::<Caller>());
        sent.or(self.made_for()).cloned()
    }
}

/// Whom state and tasks are bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Principal(String);

impl Principal {
    pub(super) fn of(caller: Option<&Caller>) -> Self {
        Self(caller.map(|caller| caller.principal.id().to_owned()).unwrap_or_default())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}
