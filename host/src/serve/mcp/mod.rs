//! The MCP door of one mount: Streamable HTTP for every revision in use, at one URL.
//!
//! In:   a request whose Host, Origin, principal and body size the router has checked; its body, whole.
//! Out:  2026-07-28 without a session (JSON, SSE once the tool emits something); 2025 and older in a session
//!       (SSE); a single 2025 request without a session (JSON). Every error is a JSON-RPC error object.
//! Fails: never; what cannot be served is refused with a status and a reason.
//! Never: decides what a call may do. That is `call`'s; this door only translates.
//!
//! The transport is rmcp's: versions, headers, `_meta`, sessions. What rmcp does badly at the edges (text
//! where JSON-RPC belongs, 415 for bad JSON, a strict `Accept`) is settled in `edge` and `refusal`, before and after it.

mod edge;
mod refusal;

mod handler;
mod methods;
mod offer;

mod calls;
mod drive;
mod outcome;
mod principal;
mod question;
mod relay;
mod seal;
mod tasks;

mod changes;
mod hub;
mod recency;
mod session;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use http_body_util::Full;
use rmcp::transport::streamable_http_server::{
    SessionManager, StreamableHttpServerConfig, StreamableHttpService,
    session::{local::LocalSessionManager, never::NeverSessionManager},
};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::seal::Sealer;
use self::{
    edge::{Envelope, Route},
    handler::{Handler, RawArguments},
    offer::Offer,
    recency::{InUse, Recency},
    refusal::Refusal,
};
use crate::{
    load::Instance,
    mount::Mount,
    serve::{Gateway, RequestId, held::held},
};

/// More sessions than this one mount does not keep: rmcp needs about 50 KiB for each and has no cap itself.
const SESSIONS_MAX: usize = 1024;

/// A session that no request uses for this long ends. Long enough for a person to come back from lunch.
const SESSION_IDLE: Duration = Duration::from_secs(30 * 60);

/// Longest wait for one session to take note that it is closed.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// The name of the header that carries a 2025 session.
const SESSION: &str = "mcp-session-id";

/// The MCP side of one mount. The router keeps one for each and hands it every MCP request.
pub struct McpDoor {
    handler: Handler,
    sessions: Arc<LocalSessionManager>,
    recency: Recency,
    /// 2025 sessions; 2026-07-28, which rmcp serves without one whatever the mode.
    main: StreamableHttpService<Handler, LocalSessionManager>,
    /// 2025 requests that stand alone: `main` would insist on a session.
    one_shot: StreamableHttpService<Handler, NeverSessionManager>,
    /// Follows what the generation that serves now says of changes.
    following: Mutex<Option<DropGuard>>,
    shut: CancellationToken,
}

impl fmt::Debug for McpDoor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpDoor").field("handler", &self.handler).finish_non_exhaustive()
    }
}

impl McpDoor {
    /// Prepares everything that does not change from request to request. Needs no runtime.
    pub fn new(mount: Arc<Mount>, sealer: Arc<Sealer>) -> Self {
        let handler = Handler::new(mount, sealer);
        let mut sessions = LocalSessionManager::default();
        sessions.session_config.keep_alive = Some(SESSION_IDLE);
        let sessions = Arc::new(sessions);
        let shut = CancellationToken::new();
        let main = {
            let handler = handler.anew();
            StreamableHttpService::new(move || Ok(handler.anew()), sessions.clone(), transport(&shut))
        };
        let one_shot = {
            let handler = handler.anew();
            let config = transport(&shut).with_legacy_session_mode(false);
            StreamableHttpService::new(move || Ok(handler.anew()), Default::default(), config)
        };
        let (recency, following) = (Recency::default(), Mutex::default());
        Self { handler, sessions, recency, main, one_shot, following, shut }
    }

    /// Answers one request to the mount's MCP URL: POST, GET for `text/event-stream`, DELETE.
    ///
    /// Dropping the future is how a client's disconnect cancels a 2026-07-28 call: never spawn it away from
    /// its connection.
    pub async fn handle(&self, parts: Parts, body: Bytes) -> Response<Body> {
        let request_id = handler::request_id(&parts);
        let answer = match parts.method {
            Method::POST => self.post(parts, body, &request_id).await,
            Method::GET => self.get(parts, &request_id).await,
            Method::DELETE => self.delete(parts, &request_id).await,
            _ => Err(Refusal::method_not_allowed("GET, POST, DELETE")),
        };
        answer.unwrap_or_else(Refusal::into_response)
    }

    async fn post(
        &self,
        mut parts: Parts,
        body: Bytes,
        request_id: &RequestId,
    ) -> Result<Response<Body>, Refusal> {
        edge::require_json(&parts.headers)?;
        let envelope = Envelope::read(&body)?;
        edge::require_known_version(&parts.headers, &envelope)?;
        let accepts = edge::accepted(&parts.headers);
        if !(accepts.json && accepts.event_stream) {
            return Err(Refusal::not_acceptable(envelope.id));
        }
        parts.headers.insert(header::ACCEPT, edge::ACCEPT_BOTH);
        if let Some(arguments) = envelope.arguments {
            parts.extensions.insert(RawArguments(body.slice_ref(arguments.get().as_bytes())));
        }
        parts.extensions.insert(request_id.clone());
        let route = edge::route(&parts.headers, &envelope);
        let id = envelope.id.clone();
        if route == Route::OpensSession && !self.has_room().await {
            return Err(Refusal::too_many_sessions(id));
        }
        let in_use = self.in_use(&parts).await;
        let request = Request::from_parts(parts, Full::new(body.clone()));
        let response = match route {
            Route::OneShot => self.one_shot.handle(request).await,
            Route::OpensSession | Route::Main => self.main.handle(request).await,
        };
        let response = refusal::polish(response.map(Body::new), id, request_id).await;
        Ok(response.map(|body| held(body, in_use)))
    }

    /// Makes room for one more session, if there is none, by ending the one that was left longest. `false`: every
    /// one is in use.
    async fn has_room(&self) -> bool {
        let idlest = {
            let sessions = self.sessions.sessions.read().await;
            if sessions.len() < SESSIONS_MAX {
                return true;
            }
            self.recency.idlest(sessions.keys().map(|id| &**id))
        };
        let Some(idlest) = idlest else { return false };
        tracing::debug!(session = idlest, "too many sessions: the one left longest ends");
        let idlest = idlest.into();
        let closing = self.sessions.close_session(&idlest);
        matches!(tokio::time::timeout(CLOSE_WAIT, closing).await, Ok(Ok(())))
    }

    /// Marks the session of a request, if there is such a session, as in use.
    async fn in_use(&self, parts: &Parts) -> Option<InUse> {
        let session = parts.headers.get(SESSION)?.to_str().ok()?;
        let exists = self.sessions.sessions.read().await.contains_key(session);
        exists.then(|| self.recency.begin(session))
    }

    async fn get(&self, mut parts: Parts, request_id: &RequestId) -> Result<Response<Body>, Refusal> {
        // 2025-11-25: a server that offers no stream here answers 405; without a session there is none.
        if !parts.headers.contains_key(SESSION) || !edge::accepted(&parts.headers).event_stream {
            return Err(Refusal::method_not_allowed("POST"));
        }
        parts.headers.insert(header::ACCEPT, HeaderValue::from_static("text/event-stream"));
        let in_use = self.in_use(&parts).await;
        let response = self.main.handle(Request::from_parts(parts, Full::new(Bytes::new()))).await;
        let response = refusal::polish(response.map(Body::new), None, request_id).await;
        Ok(response.map(|body| held(body, in_use)))
    }

    async fn delete(&self, parts: Parts, request_id: &RequestId) -> Result<Response<Body>, Refusal> {
        // rmcp answers 202 for a session that never was.
        if let Some(id) = parts.headers.get(SESSION).and_then(|id| id.to_str().ok())
            && !self.sessions.sessions.read().await.contains_key(id)
        {
            return Err(Refusal::unknown_session(None));
        }
        let response = self.main.handle(Request::from_parts(parts, Full::new(Bytes::new()))).await;
        let mut response = refusal::polish(response.map(Body::new), None, request_id).await;
        if response.status() == StatusCode::ACCEPTED {
            // The session is gone, not going; clients log a 202 as a failure.
            *response.status_mut() = StatusCode::NO_CONTENT;
        }
        Ok(response)
    }

    /// Passes on what the plugin says of changes, until the door is shut or another generation serves. In a runtime.
    pub(super) fn follow(&self, gateway: Weak<Gateway>) {
        let instance = self.handler.offer().mount.instance.clone();
        // `None`: somebody does already.
        let Some(notices) = instance.take_notices() else { return };
        let until = self.shut.child_token();
        let following = changes::follow(self.handler.anew(), instance, notices, gateway);
        tokio::spawn(until.clone().run_until_cancelled_owned(following));
        *self.following.lock().unwrap_or_else(PoisonError::into_inner) = Some(until.drop_guard());
    }

    /// Whether `instance` is the generation that serves behind this door.
    pub(super) fn serves(&self, instance: &Arc<Instance>) -> bool {
        Arc::ptr_eq(&self.handler.offer().mount.instance, instance)
    }

    /// Serves `mount` from the next request on, which is of another generation of the same server, or offers something
    /// else than before. Sessions, streams and tasks stay. Tell clients what differs once it is served everywhere:
    /// [`Self::publish_differences`].
    pub(super) fn replace(&self, mount: Arc<Mount>) -> Replaced {
        let old = self.handler.offer();
        self.handler.replace(mount);
        Replaced(old)
    }

    /// Tells clients what of their lists has changed.
    pub(super) fn publish_differences(&self, Replaced(old): Replaced) {
        let differing = changes::publish_differences(&self.handler, &old);
        let (server, tools) =
            (old.mount.instance.entry().name.as_str(), self.handler.offer().mount.tools.len());
        if Arc::ptr_eq(&old.mount.instance, &self.handler.offer().mount.instance) {
            tracing::info!(server, tools, ?differing, "manifest replaced");
        } else {
            tracing::debug!(server, tools, ?differing, "generation replaced");
        }
    }

    /// Ends `subscriptions/listen` streams with their result. Calls are still taken: of requests that have found this door
    /// before another took its place.
    pub fn end_streams(&self) {
        self.handler.end_streams();
    }

    /// First step of a shutdown: `subscriptions/listen` streams end with their result, and calls that still
    /// arrive are answered that the server is stopping. Calls under way go on.
    pub fn begin_drain(&self) {
        self.handler.begin_drain();
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

    /// Last step: cuts whatever rmcp still holds and cancels its calls. A reply not sent by now becomes a 500.
    pub fn shut(&self) {
        self.shut.cancel();
    }
}

/// What a door has offered before.
#[must_use = "clients are to be told what differs"]
pub(super) struct Replaced(Arc<Offer>);

/// rmcp's transport as every mount uses it.
fn transport(shut: &CancellationToken) -> StreamableHttpServerConfig {
    StreamableHttpServerConfig::default()
        // The router checks Host and Origin for every path, REST and pages too, by one list; a second list
        // here could only disagree.
        .disable_allowed_hosts()
        .disable_allowed_origins()
        // JSON unless the tool emits something first. Despite its documentation this works beside sessions.
        .with_json_response(true)
        // The router has bounded the body by `body_max_bytes`; a second limit would answer in plain text.
        .with_max_request_body_bytes(usize::MAX)
        .with_cancellation_token(shut.child_token())
}
