//! The server while it is mounted: initialized, asked what it offers, listened to, and let go.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rmcp::{
    Peer, RoleServer, ServerHandler, Service, ServiceExt,
    model::{
        ClientNotification, ErrorCode, ErrorData, InitializeRequestParams, InitializedNotification,
        JsonRpcMessage, ProtocolVersion, RequestId, ServerConfig, ServerResult,
    },
    service::{NotificationContext, RequestContext, RunningService, ServiceRole, serve_directly},
};
use serde_json::{Value, json};
use tokio::{
    sync::{Notify, mpsc::unbounded_channel},
    task::AbortHandle,
};

use super::{
    line::{About, Line},
    wire::{self, Object},
};
use crate::{Error, Notifier, Result, abi};

/// Any rmcp server.
pub(super) type Handler = Box<dyn rmcp::service::DynService<RoleServer>>;

/// How long a server may take to note that it is initialized before it is used anyway.
const INITIALIZED: Duration = Duration::from_secs(1);
/// More pages of a list than any server has: one whose cursors lead in circles is stopped here.
const PAGES_MAX: usize = 1000;

/// The lists of a server: method, member of the result and of the manifest, capability.
pub(super) const LISTS: [(&str, &str, &str); 4] = [
    ("tools/list", "tools", "tools"),
    ("prompts/list", "prompts", "prompts"),
    ("resources/list", "resources", "resources"),
    ("resources/templates/list", "resourceTemplates", "resources"),
];

/// A server that is mounted.
pub(super) struct Running {
    pub(super) handler: Arc<Handler>,
    /// The connection that lasts: what is said there is about the server as a whole.
    pub(super) peer: Peer<RoleServer>,
    pub(super) manifest: Object,
    manner: Manner,
    life: Mutex<Life>,
}

/// Which protocol it speaks.
struct Manner {
    /// The last version with sessions, if any.
    session: Option<ProtocolVersion>,
    /// Whether it speaks 2026-07-28.
    modern: bool,
}

/// What goes on beside calls.
#[derive(Default)]
struct Life {
    connection: Option<RunningService<RoleServer, Told>>,
    /// What listens for changes: of lists under an empty name, of a resource under its URI.
    listening: HashMap<String, AbortHandle>,
}

impl Running {
    pub(super) async fn start(server: impl Service<RoleServer>, notifier: Notifier) -> Result<Self> {
        let versions = server.supported_protocol_versions().into_owned();
        let has_session =
            |version: &ProtocolVersion| version.as_str() < ProtocolVersion::V_2026_07_28.as_str();
        let manner = Manner {
            modern: versions.contains(&ProtocolVersion::V_2026_07_28),
            session: versions.into_iter().filter(has_session).max_by(|a, b| a.as_str().cmp(b.as_str())),
        };
        let handler: Arc<Handler> = Arc::new(server.into_dyn());
        let (inbound, received) = unbounded_channel();
        let line = Line { about: About::Server(notifier, inbound.clone()), inbound: received };
        let told = Told { handler: handler.clone(), done: Arc::default() };
        let done = told.done.clone();
        let connection = serve_directly(told, line, Some(read(manner.client(&json!({}), &gateway()))?));
        let peer = connection.peer().clone();
        let life = Life { connection: Some(connection), ..Life::default() };
        let mut running = Self { handler, peer, manner, manifest: Object::new(), life: Mutex::new(life) };
        let info = running.initialize().await?;
        let initialized = ClientNotification::InitializedNotification(InitializedNotification::default());
        // The connection is there: it has just been made.
        let _ = inbound.send(JsonRpcMessage::notification(initialized));
        let _ = tokio::time::timeout(INITIALIZED, done.notified()).await;
        running.manifest = running.offers(&info).await?;
        running.listen_for_changes(&info);
        Ok(running)
    }

    pub(super) fn stop(&self) {
        let Life { connection, listening } = std::mem::take(&mut *self.life());
        listening.into_values().for_each(|listening| listening.abort());
        drop(connection);
    }

    /// Who the server takes to be at the other end of a session; `None` if rmcp cannot read what it says of itself.
    pub(super) fn client(&self, capabilities: &Value, info: &Value) -> Option<InitializeRequestParams> {
        wire::read(self.manner.client(capabilities, info)).ok()
    }

    /// What a request says of its client.
    pub(super) fn meta(&self, capabilities: &Value, info: &Value) -> Object {
        self.manner.meta(capabilities, info)
    }

    /// Sends a request of the kind that only sessions have.
    pub(super) async fn ask_in_session(
        &self,
        method: &str,
        params: Object,
    ) -> Result<ServerResult, ErrorData> {
        let request = wire::request(method, params).map_err(|error| wire::error_data(&error))?;
        self.handler.handle_request(request, self.context(Object::new())).await
    }

    /// Listens for changes in the manner of 2026-07-28, if the server knows it.
    pub(super) fn listen(&self, name: &str, filter: Value) {
        let params = Object::from_iter([("notifications".into(), filter)]);
        let context = self.context(self.meta(&json!({}), &gateway()));
        let Ok(request) = wire::request("subscriptions/listen", params) else { return };
        let handler = self.handler.clone();
        let listening = tokio::spawn(async move {
            if let Err(error) = handler.handle_request(request, context).await {
                tracing::debug!(%error, "the server does not say what changes by itself");
            }
        });
        self.life().listening.insert(name.to_owned(), listening.abort_handle());
    }

    /// The opposite of [`listen`](Self::listen).
    pub(super) fn ignore(&self, name: &str) {
        if let Some(listening) = self.life().listening.remove(name) {
            listening.abort();
        }
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn context(&self, meta: Object) -> RequestContext<RoleServer> {
        let mut context = RequestContext::new(RequestId::Number(0), self.peer.clone());
        context.meta = wire::read(meta).unwrap_or_default();
        context
    }

    /// What the server is, in its own words.
    async fn initialize(&self) -> Result<Value> {
        if self.manner.session.is_none() {
            return Ok(serde_json::to_value(self.handler.get_info())?);
        }
        let params = self.manner.client(&json!({}), &gateway());
        let answered = self.ask_in_session("initialize", params).await;
        let refused =
            |error: ErrorData| Error::new(format!("it refuses to be initialized: {}", error.message));
        Ok(serde_json::to_value(answered.map_err(refused)?)?)
    }

    async fn offers(&self, info: &Value) -> Result<Object> {
        let mut manifest = Object::new();
        let (about, unsaid) = (&info["serverInfo"], json!(ServerConfig::default().server_info));
        // A server that does not say who it is says in rmcp's words that it is rmcp: then the package's do.
        let said = ["name", "version"].into_iter().filter(|_| about["name"] != unsaid["name"]);
        for member in said.chain(["title", "icons", "websiteUrl"]) {
            manifest.extend(about.get(member).map(|value| (member.to_owned(), value.clone())));
        }
        manifest.extend(info.get("instructions").map(|text| ("instructions".to_owned(), text.clone())));
        let capabilities = &info["capabilities"];
        manifest.insert("capabilities".into(), capabilities.clone());
        manifest.insert("tools".into(), json!([]));
        let mut dynamic = Vec::new();
        for (method, member, capability) in LISTS {
            let Some(declared) = capabilities.get(capability) else { continue };
            if capability == "resources" || declared["listChanged"] == true {
                dynamic.push(method);
            }
            manifest.insert(member.into(), self.list(method, member).await?);
        }
        manifest.insert("dynamic".into(), json!(dynamic));
        if capabilities.pointer("/extensions/io.modelcontextprotocol~1tasks").is_some() {
            let tools = manifest["tools"].as_array().into_iter().flatten();
            let names = tools.filter_map(|tool| tool["name"].as_str());
            let support: Object = names.map(|name| (name.to_owned(), "optional".into())).collect();
            manifest.insert("taskSupport".into(), support.into());
        }
        if capabilities.get("logging").is_some() {
            // Everything: the gateway knows what each client wants. Servers need not have it.
            let everything = Object::from_iter([("level".into(), "debug".into())]);
            let _ = self.ask_in_session("logging/setLevel", everything).await;
        }
        Ok(manifest)
    }

    async fn list(&self, method: &str, member: &str) -> Result<Value> {
        let mut pages = Pages::default();
        while let Some(params) = pages.next() {
            let context = self.context(self.meta(&json!({}), &gateway()));
            let listed = self.handler.handle_request(wire::request(method, params)?, context).await;
            match listed {
                Ok(listed) => pages.add(member, serde_json::to_value(listed)?),
                // E.g. resources without templates.
                Err(error) if error.code == ErrorCode::METHOD_NOT_FOUND => {}
                Err(error) => {
                    return Err(Error::new(format!("it does not answer `{method}`: {}", error.message)));
                }
            }
        }
        Ok(pages.whole())
    }

    fn listen_for_changes(&self, info: &Value) {
        let mut filter = Object::new();
        for (capability, name) in [
            ("tools", "toolsListChanged"),
            ("prompts", "promptsListChanged"),
            ("resources", "resourcesListChanged"),
        ] {
            if info["capabilities"][capability]["listChanged"] == true {
                filter.insert(name.into(), true.into());
            }
        }
        if self.manner.modern && !filter.is_empty() {
            self.listen("", filter.into());
        }
    }
}

impl Manner {
    fn client(&self, capabilities: &Value, info: &Value) -> Object {
        // A server without sessions still gets a client that can be asked: its requests say otherwise.
        let version = self.session.as_ref().unwrap_or(&ProtocolVersion::V_2025_11_25);
        Object::from_iter([
            ("protocolVersion".into(), version.as_str().into()),
            ("capabilities".into(), capabilities.clone()),
            ("clientInfo".into(), info.clone()),
        ])
    }

    fn meta(&self, capabilities: &Value, info: &Value) -> Object {
        if !self.modern {
            return Object::new();
        }
        Object::from_iter([
            ("io.modelcontextprotocol/protocolVersion".into(), ProtocolVersion::V_2026_07_28.as_str().into()),
            ("io.modelcontextprotocol/clientInfo".into(), info.clone()),
            ("io.modelcontextprotocol/clientCapabilities".into(), capabilities.clone()),
        ])
    }
}

/// The client, where it did not say who it is or where there is none.
pub(super) fn gateway() -> Value {
    json!({ "name": "gateway", "version": abi::VERSION })
}

/// A list, page by page.
pub(super) struct Pages {
    all: Vec<Value>,
    next: Option<Object>,
    seen: usize,
}

impl Default for Pages {
    fn default() -> Self {
        Self { all: Vec::new(), next: Some(Object::new()), seen: 0 }
    }
}

impl Pages {
    /// The parameters that ask for the next page.
    pub(super) fn next(&mut self) -> Option<Object> {
        self.seen += 1;
        self.next.take().filter(|_| self.seen <= PAGES_MAX)
    }

    pub(super) fn add(&mut self, member: &str, mut page: Value) {
        if let Some(Value::Array(entries)) = page.get_mut(member).map(Value::take) {
            self.all.extend(entries);
        }
        let cursor = page.get_mut("nextCursor").map(Value::take).filter(Value::is_string);
        self.next = cursor.map(|cursor| Object::from_iter([("cursor".into(), cursor)]));
    }

    pub(super) fn whole(self) -> Value {
        self.all.into()
    }
}

/// The service of a call's connection. Nothing comes to it: requests go to the handler directly.
pub(super) struct Nobody;

impl ServerHandler for Nobody {}

/// The service of the connection that lasts: passes on that the server is initialized.
struct Told {
    handler: Arc<Handler>,
    done: Arc<Notify>,
}

impl Service<RoleServer> for Told {
    async fn handle_request(
        &self,
        request: <RoleServer as ServiceRole>::PeerReq,
        context: RequestContext<RoleServer>,
    ) -> Result<ServerResult, ErrorData> {
        self.handler.handle_request(request, context).await
    }

    async fn handle_notification(
        &self,
        notification: ClientNotification,
        context: NotificationContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let noted = self.handler.handle_notification(notification, context).await;
        self.done.notify_one();
        noted
    }

    fn get_info(&self) -> ServerConfig {
        self.handler.get_info()
    }
}

fn read<T: serde::de::DeserializeOwned>(object: Object) -> Result<T> {
    wire::read(object)
}
