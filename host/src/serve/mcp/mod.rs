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
mod handler;
mod outcome;
mod refusal;
mod relay;

use std::{fmt, sync::Arc, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use http_body_util::Full;
use rmcp::transport::streamable_http_server::{
    SessionManager, StreamableHttpServerConfig, StreamableHttpService,
    session::{local::LocalSessionManager, never::NeverSessionManager},
};
use tokio_util::sync::CancellationToken;

use self::{
    edge::{Envelope, Route},
    handler::{Handler, RawArguments},
    refusal::Refusal,
};
use crate::{mount::Mount, serve::RequestId};

/// More sessions than this at one mount are refused: rmcp keeps about 50 KiB for each and has no cap itself.
const SESSIONS_MAX: usize = 1024;

/// Longest wait for one session to take note that it is closed.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// The name of the header that carries a 2025 session.
const SESSION: &str = "mcp-session-id";

/// The MCP side of one mount. The router keeps one for each and hands it every MCP request.
pub struct McpDoor {
    handler: Handler,
    sessions: Arc<LocalSessionManager>,
    /// 2025 sessions; 2026-07-28, which rmcp serves without one whatever the mode.
    main: StreamableHttpService<Handler, LocalSessionManager>,
    /// 2025 requests that stand alone: `main` would insist on a session.
    one_shot: StreamableHttpService<Handler, NeverSessionManager>,
    shut: CancellationToken,
}

impl fmt::Debug for McpDoor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpDoor").field("handler", &self.handler).finish_non_exhaustive()
    }
}

impl McpDoor {
    /// Prepares everything that does not change from request to request. Needs no runtime.
    pub fn new(mount: Arc<Mount>) -> Self {
        let handler = Handler::new(mount);
        let sessions = Arc::new(LocalSessionManager::default());
        let shut = CancellationToken::new();
        let main = {
            let handler = handler.clone();
            StreamableHttpService::new(move || Ok(handler.clone()), sessions.clone(), transport(&shut))
        };
        let one_shot = {
            let handler = handler.clone();
            let config = transport(&shut).with_legacy_session_mode(false);
            StreamableHttpService::new(move || Ok(handler.clone()), Default::default(), config)
        };
        Self { handler, sessions, main, one_shot, shut }
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
        if route == Route::OpensSession && self.sessions.sessions.read().await.len() >= SESSIONS_MAX {
            return Err(Refusal::too_many_sessions(id));
        }
        let request = Request::from_parts(parts, Full::new(body.clone()));
        let response = match route {
            Route::OneShot => self.one_shot.handle(request).await,
            Route::OpensSession | Route::Main => self.main.handle(request).await,
        };
        Ok(refusal::polish(response.map(Body::new), id, request_id).await)
    }

    async fn get(&self, mut parts: Parts, request_id: &RequestId) -> Result<Response<Body>, Refusal> {
        // 2025-11-25: a server that offers no stream here answers 405; without a session there is none.
        if !parts.headers.contains_key(SESSION) || !edge::accepted(&parts.headers).event_stream {
            return Err(Refusal::method_not_allowed("POST"));
        }
        parts.headers.insert(header::ACCEPT, HeaderValue::from_static("text/event-stream"));
        let response = self.main.handle(Request::from_parts(parts, Full::new(Bytes::new()))).await;
        Ok(refusal::polish(response.map(Body::new), None, request_id).await)
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

    /// First step of a shutdown: `subscriptions/listen` streams end with their result, and calls that still
    /// arrive are answered that the server is stopping. Calls under way go on.
    pub fn begin_drain(&self) {
        self.handler.begin_drain();
    }

    /// Second step, once no call is under way: ends every 2025 session and with it its streams. A call that
    /// is under way all the same loses its stream, and goes on until [`Self::shut`]. Takes two seconds at most.
    pub async fn close_sessions(&self) {
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

    /// How many 2025 sessions are open.
    pub async fn sessions_open(&self) -> usize {
        self.sessions.sessions.read().await.len()
    }
}

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
