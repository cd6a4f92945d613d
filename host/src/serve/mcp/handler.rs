//! One mount as an MCP server: what its requests and sessions share.
//!
//! In:   a mount, replaced when its plugin offers something else, or by the next generation of its server.
//! Out:  what `methods` and `calls` answer from.
//! Never: HTTP.

#![expect(deprecated, reason = "rmcp marks logging as deprecated with the revision that will drop it")]

use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::request::Parts;
use rmcp::model::LoggingLevel;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    hub::{Hub, Watch},
    offer::Offer,
    principal,
    seal::Sealer,
    session::Session,
    tasks::Tasks,
};
use crate::{
    mount::Mount,
    serve::{RequestId, caller::Caller},
};

/// `params.arguments` as the client wrote them; rmcp's model would round numbers that fit no `u64` or `f64`.
#[derive(Debug, Clone)]
pub(super) struct RawArguments(pub(super) Bytes);

/// One mount as an MCP server. rmcp takes a clone for each request and each session.
#[derive(Debug)]
pub(super) struct Handler {
    shared: Arc<Shared>,
    /// Whom the library has made it for. `None`: for nobody in particular.
    caller: Option<Caller>,
    /// Dropped with the last clone that rmcp holds for a session.
    session: Arc<Session>,
}

#[derive(Debug)]
struct Shared {
    offer: ArcSwap<Offer>,
    sealer: Arc<Sealer>,
    hub: Arc<Hub>,
    tasks: Tasks,
    /// Streams that wait for changes end.
    ending: CancellationToken,
    /// No more calls are taken.
    drain: CancellationToken,
}

impl Handler {
    pub(super) fn new(mount: Arc<Mount>, sealer: Arc<Sealer>) -> Self {
        let shared = Arc::new_cyclic(|shared: &Weak<Shared>| {
            let hub = Hub::new({
                let shared = shared.clone();
                move |watch, uri: &str| {
                    let method = match watch {
                        Watch::First => "resources/subscribe",
                        Watch::Last => "resources/unsubscribe",
                    };
                    // Whoever serves now. Without a door nobody watches.
                    if let Some(shared) = shared.upgrade() {
                        shared.offer.load().mount.instance.notify(method, &json!({ "uri": uri }));
                    }
                }
            });
            let offer = ArcSwap::from_pointee(Offer::new(mount));
            let (ending, drain) = (CancellationToken::new(), CancellationToken::new());
            Shared { offer, sealer, hub, tasks: Tasks::default(), ending, drain }
        });
        Self { shared, caller: None, session: Arc::default() }
    }

    /// For a request or a session of its own, on behalf of whoever this is done for.
    pub(super) fn anew(&self) -> Self {
        Self { shared: self.shared.clone(), caller: principal::current(), session: Arc::default() }
    }

    /// Whom it was made for.
    pub(super) fn made_for(&self) -> Option<&Caller> {
        self.caller.as_ref()
    }

    pub(super) fn end_streams(&self) {
        self.shared.ending.cancel();
    }

    pub(super) fn begin_drain(&self) {
        self.end_streams();
        self.shared.drain.cancel();
    }

    pub(super) fn is_draining(&self) -> bool {
        self.shared.drain.is_cancelled()
    }

    /// What is offered now, all of it.
    pub(super) fn offer(&self) -> Arc<Offer> {
        self.shared.offer.load_full()
    }

    /// What is offered now to `caller`.
    pub(super) fn offer_to(&self, caller: Option<&Caller>) -> Arc<Offer> {
        let offer = self.offer();
        match caller {
            Some(caller) => offer.seen_by(caller),
            // The library has made a handler for nobody whom the gateway has let in.
            None => offer.seen_by_nobody(),
        }
    }

    /// Offers `mount` from the next request on. Calls under way stay with the mount they began with.
    pub(super) fn replace(&self, mount: Arc<Mount>) {
        let is_other = !Arc::ptr_eq(&self.offer().mount.instance, &mount.instance);
        let offer = Arc::new(Offer::new(mount));
        if is_other {
            self.shared.hub.retell(|| self.shared.offer.store(offer));
        } else {
            self.shared.offer.store(offer);
        }
    }

    pub(super) fn sealer(&self) -> &Sealer {
        &self.shared.sealer
    }

    pub(super) fn hub(&self) -> &Arc<Hub> {
        &self.shared.hub
    }

    pub(super) fn tasks(&self) -> &Tasks {
        &self.shared.tasks
    }

    /// Cancelled when streams that wait for changes are to end.
    pub(super) fn ending(&self) -> &CancellationToken {
        &self.shared.ending
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// The log level of a 2025 session, if this server logs.
    pub(super) fn level(&self) -> Option<LoggingLevel> {
        self.offer().capabilities().logging.is_some().then(|| self.session.level())
    }
}

/// The id that the router gave the request, or the one it would have given.
pub(super) fn request_id(parts: &Parts) -> RequestId {
    parts.extensions.get().cloned().unwrap_or_else(|| RequestId::of(&parts.headers))
}
