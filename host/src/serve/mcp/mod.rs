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
mod traced;

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
mod sessions;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use http_body_util::Full;
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService,
    session::{local::LocalSessionManager, never::NeverSessionManager},
};
use serde_json::value::RawValue;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::seal::Sealer;
pub(super) use self::sessions::OpenAtDoor;
use self::{
    edge::{Envelope, Route},
    handler::{Handler, RawArguments},
    offer::Offer,
    recency::{Holder, Recency},
    refusal::Refusal,
};
use crate::{
    load::Instance,
    mount::Mount,
    serve::{
        Gateway, Problem, RequestId,
        caller::Caller,
        held::held,
        limit::{Gate, GatePass, RateHeaders},
        ticket::{InRequest, Wanted},
    },
};

/// A session that no request uses for this long ends. Long enough for a person to come back from lunch.
const SESSION_IDLE: Duration = Duration::from_secs(30 * 60);

/// Lists that plugins may make call by call.
const LISTS: [&str; 4] = ["tools/list", "prompts/list", "resources/list", "resources/templates/list"];

/// The methods that are calls of the plugin, beside such lists.
const CALLS: [&str; 7] = [
    "tools/call",
    "prompts/get",
    "resources/read",
    "completion/complete",
    "skills/list",
    "skills/get",
    "resources/directory/read",
];

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
    /// Answers that last: streams of changes.
    streams: Gate,
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
        let streams = Gate::default();
        Self { handler, sessions, recency, main, one_shot, streams, following, shut }
    }

    /// Counts a stream for as long as what this returns is there.
    pub(super) fn begin_stream(&self) -> Option<GatePass> {
        self.streams.enter(usize::MAX)
    }

    /// Answers one request to the mount's MCP URL: POST, GET for `text/event-stream`, DELETE.
    ///
    /// Dropping the future is how a client's disconnect cancels a 2026-07-28 call: never spawn it away from
    /// its connection.
    ///
    /// Refused as a problem is what is not MCP's: a call for which there is no leave.
    pub(super) async fn handle(
        &self,
        gateway: &Gateway,
        parts: Parts,
        body: Bytes,
    ) -> Result<Response<Body>, Problem> {
        let request_id = handler::request_id(&parts);
        let caller = parts.extensions.get::<Caller>().cloned();
        let answering = async {
            let session = self.check_session(&parts).await;
            match (session, &parts.method) {
                (Err(refusal), _) => Err(refusal.into()),
                (Ok(()), &Method::POST) => self.post(gateway, parts, body, &request_id).await,
                (Ok(()), &Method::GET) => self.get(parts, &request_id).await.map_err(Refused::from),
                (Ok(()), &Method::DELETE) => self.delete(parts, &request_id).await.map_err(Refused::from),
                _ => Err(Refusal::method_not_allowed("GET, POST, DELETE").into()),
            }
        };
        let answer = match caller {
            Some(caller) => principal::on_behalf_of(caller, answering).await,
            None => answering.await,
        };
        match answer {
            Ok(response) => Ok(response),
            Err(Refused::Here(refusal)) => Ok(refusal.into_response()),
            Err(Refused::Before(problem)) => Err(problem),
        }
    }

    async fn post(
        &self,
        gateway: &Gateway,
        mut parts: Parts,
        body: Bytes,
        request_id: &RequestId,
    ) -> Result<Response<Body>, Refused> {
        edge::require_json(&parts.headers)?;
        let envelope = Envelope::read(&body)?;
        if let Some(tally) = gateway.tally_of(self.handler.offer().mount.instance.entry()) {
            tally.count_request(envelope.method.as_deref());
        }
        edge::require_known_version(&parts.headers, &envelope)?;
        edge::require_agreement(&parts.headers, &envelope)?;
        let accepts = edge::accepted(&parts.headers);
        if !(accepts.json && accepts.event_stream) {
            return Err(Refusal::not_acceptable(envelope.id).into());
        }
        parts.headers.insert(header::ACCEPT, edge::ACCEPT_BOTH);
        if let Some(arguments) = envelope.arguments {
            parts.extensions.insert(RawArguments(body.slice_ref(arguments.get().as_bytes())));
        }
        parts.extensions.insert(request_id.clone());
        let route = edge::route(&parts.headers, &envelope);
        let id = envelope.id.clone();
        let sessions_max = gateway.served().settings.limits.sessions_max;
        let holder = Holder::of(parts.extensions.get());
        if route == Route::OpensSession {
            let has_room = self.has_room(sessions_max, &holder.share).await;
            gateway.served().tickets.decide_session(has_room);
            if !has_room {
                return Err(Refusal::too_many_sessions(id).into());
            }
        }
        let rates = self.ticket(gateway, &mut parts, &envelope, request_id)?;
        let trace = traced::begin(&self.handler, &envelope, &parts, request_id);
        let is_listening = envelope.method.as_deref() == Some("subscriptions/listen");
        let in_use = self.in_use(&parts).await;
        let request = Request::from_parts(parts, Full::new(body.clone()));
        let response = match route {
            Route::OneShot => self.one_shot.handle(request).await,
            Route::OpensSession | Route::Main => self.main.handle(request).await,
        };
        let mut response = refusal::polish(response.map(Body::new), id, request_id).await;
        if route == Route::OpensSession
            && let Some(session) = response.headers().get(SESSION).and_then(|id| id.to_str().ok())
        {
            self.recency.opened(session, holder);
        }
        if let Some(rates) = rates {
            rates.add_to(response.headers_mut());
        }
        if is_listening {
            response.extensions_mut().insert(Listens);
        }
        Ok(traced::followed(response, trace).map(|body| held(body, in_use)))
    }

    /// Gets leave for the call that a message asks for, if it asks for one; the handler finds it in the request's parts.
    /// Returns what the answer says of rates.
    fn ticket(
        &self,
        gateway: &Gateway,
        parts: &mut Parts,
        envelope: &Envelope<'_>,
        request_id: &RequestId,
    ) -> Result<Option<RateHeaders>, Refused> {
        let mount = self.handler.offer().mount.clone();
        let lists = LISTS.iter().filter(|list| mount.manifest.is_dynamic(list));
        let mut calls = CALLS.iter().chain(lists).copied();
        let Some(method) = calls.find(|method| envelope.method.as_deref() == Some(method)) else {
            return Ok(None);
        };
        let Some(caller) = parts.extensions.get::<Caller>() else { return Ok(None) };
        let has_arguments = ["tools/call", "prompts/get"].contains(&method);
        let told = envelope.arguments.filter(|_| has_arguments).or(envelope.params).map_or("", RawValue::get);
        let wanted = Wanted {
            server: &mount.instance.entry().name,
            method,
            subject: envelope.subject.as_deref().unwrap_or_default(),
            arguments: told.as_bytes(),
            door: "mcp",
            request_id,
            incoming: &envelope.incoming(&parts.headers),
        };
        let mut ticket = gateway.served().tickets.issue(caller, wanted).map_err(Refused::Before)?;
        ticket.trace.about(|about| traced::name(about, envelope, parts));
        let rates = ticket.rates();
        parts.extensions.insert(InRequest::new(ticket));
        Ok(Some(rates))
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

    /// Tells clients that what they see of lists may have changed.
    pub(super) fn publish_all(&self) {
        changes::publish_all(&self.handler);
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

    /// Last step: cuts whatever rmcp still holds and cancels its calls. A reply not sent by now becomes a 500.
    pub fn shut(&self) {
        self.shut.cancel();
    }
}

/// In the extensions of an answer that is a stream of changes, and not that of a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listens;

/// Who answers a request that goes no further.
enum Refused {
    /// The door, in JSON-RPC.
    Here(Refusal),
    /// What comes before every door.
    Before(Problem),
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::Here(refusal)
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
