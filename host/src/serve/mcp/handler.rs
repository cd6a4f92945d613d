//! What rmcp asks of a server, answered from one mount.
//!
//! In:   MCP requests, already checked for version, headers and `_meta` by rmcp.
//! Out:  the manifest, the tool table, and calls through `call::start`.
//! Never: HTTP. Whatever capability is not declared answers `-32601`, its lists too: rmcp's own default is
//!       an empty list, which claims a capability that nobody declared.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, request::Parts};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CacheScope, CallToolRequestParams, CallToolResponse, CallToolResult, CompleteRequestMethod,
        CompleteRequestParams, CompleteResult, ConstString, CustomRequest, CustomResult, ErrorCode,
        Implementation, ListPromptsRequestMethod, ListPromptsResult, ListResourceTemplatesRequestMethod,
        ListResourceTemplatesResult, ListResourcesRequestMethod, ListResourcesResult, ListToolsResult,
        PaginatedRequestParams, ServerCapabilities, ServerConfig, SubscriptionFilter, Tool,
    },
    service::{NotificationContext, RequestContext, SubscriptionContext},
};
use tokio_util::sync::CancellationToken;

use super::{
    outcome,
    relay::{self, Relay},
};
use crate::{
    load::{Manifest, ToolSpec},
    mount::Mount,
    serve::{
        RequestId,
        call::{self, CallError, ToolCall},
    },
};

/// How long a client may keep the tool table, which is the same for everybody.
const TOOLS_TTL_MS: u64 = 60_000;

/// `params.arguments` as the client wrote them; rmcp's model would round numbers that fit no `u64` or `f64`.
#[derive(Debug, Clone)]
pub(super) struct RawArguments(pub(super) Bytes);

/// One mount as an MCP server. rmcp takes a clone for each request and each session.
#[derive(Debug, Clone)]
pub(super) struct Handler(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    mount: Arc<Mount>,
    offer: Offer,
    drain: CancellationToken,
}

/// What the mount says of itself, in rmcp's model, made once.
#[derive(Debug)]
struct Offer {
    info: ServerConfig,
    tools: Vec<Tool>,
    by_name: HashMap<String, usize>,
}

impl Handler {
    pub(super) fn new(mount: Arc<Mount>) -> Self {
        let offer = Offer::new(mount.instance.manifest());
        Self(Arc::new(Shared { mount, offer, drain: CancellationToken::new() }))
    }

    pub(super) fn begin_drain(&self) {
        self.0.drain.cancel();
    }

    /// A whole call: made, relayed, translated.
    async fn run(
        &self,
        tool: &str,
        arguments: &[u8],
        cx: &RequestContext<RoleServer>,
    ) -> Result<CallToolResult, ErrorData> {
        let parts = cx.extensions.get::<Parts>();
        let request_id = parts.map_or_else(|| RequestId::of(&HeaderMap::new()), request_id);
        if self.0.drain.is_cancelled() {
            let server = self.0.mount.instance.entry().name.to_string();
            return outcome::of_error(CallError::Unavailable { server }, &request_id);
        }
        let relay = Relay::new(cx);
        let call = ToolCall {
            tool,
            arguments,
            facts: relay::facts(cx, &request_id),
            notifications: relay.notifications(),
            door: "mcp",
        };
        let result = match call::start(&self.0.mount, call) {
            Ok(running) => relay.pump(running, cx).await?,
            Err(error) => Err(error),
        };
        match result {
            Ok(reply) => outcome::of_reply(&reply, tool, &request_id),
            Err(error) => outcome::of_error(error, &request_id),
        }
    }

    /// A call that rmcp's model cannot hold. Models often send arguments as an array or as a string of JSON:
    /// they are told so by a result, which they see. All else is a fault of the client.
    async fn call_with_wrong_arguments(
        &self,
        request: &CustomRequest,
        cx: &RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        let tool = request.params.as_ref().and_then(|params| params.get("name")?.as_str());
        let arguments = raw_arguments(cx).filter(|arguments| !arguments.starts_with(b"{"));
        let (Some(tool), Some(arguments)) = (tool, arguments) else { return Err(unfit("tools/call")) };
        let mut result = self.run(tool, &arguments, cx).await?;
        if !relay::is_modern(cx) {
            // rmcp takes the mark off the results it knows, and leaves a custom one alone.
            result.result_type = None;
        }
        let result = serde_json::to_value(result);
        result.map(CustomResult::new).map_err(|_| ErrorData::internal_error("unwritable result", None))
    }
}

impl Offer {
    fn new(manifest: &Manifest) -> Self {
        let mut implementation = Implementation::new(&manifest.name, &manifest.version);
        implementation.title.clone_from(&manifest.title);
        let mut info = ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(implementation);
        info.instructions.clone_from(&manifest.instructions);
        let tools: Vec<Tool> = manifest.tools.iter().map(tool).collect();
        let by_name = tools.iter().enumerate().map(|(at, tool)| (tool.name.to_string(), at)).collect();
        Self { info, tools, by_name }
    }
}

/// The declaration as the plugin wrote it; if rmcp's model cannot hold it, what every tool has.
fn tool(spec: &ToolSpec) -> Tool {
    serde_json::from_value(spec.wire.clone().into()).unwrap_or_else(|error| {
        tracing::warn!(tool = spec.name, %error, "tool declaration partly unreadable");
        let description = spec.description.clone().map(Into::into);
        let mut tool = Tool::new_with_raw(spec.name.clone(), description, spec.input_schema.clone());
        tool.title.clone_from(&spec.title);
        tool.output_schema = spec.output_schema.clone().map(Into::into);
        tool
    })
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        self.0.offer.info.clone()
    }

    /// rmcp checks `Mcp-Param-*` headers against the schema of what this returns.
    fn get_tool(&self, name: &str) -> Option<Tool> {
        let offer = &self.0.offer;
        offer.by_name.get(name).and_then(|at| offer.tools.get(*at)).cloned()
    }

    async fn list_tools(
        &self,
        page: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        if page.is_some_and(|page| page.cursor.is_some()) {
            return Err(ErrorData::invalid_params("unknown cursor: the tool table is one page", None));
        }
        Ok(ListToolsResult::with_all_items(self.0.offer.tools.clone())
            .with_ttl_ms(TOOLS_TTL_MS)
            .with_cache_scope(CacheScope::Public))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        cx: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = match raw_arguments(&cx) {
            Some(bytes) => bytes,
            None => serde_json::to_vec(&request.arguments.unwrap_or_default())
                .map_err(|_| ErrorData::internal_error("the arguments cannot be written as JSON", None))?
                .into(),
        };
        self.run(&request.name, &arguments, &cx).await.map(Into::into)
    }

    /// What rmcp does not know, and what it knows but could not read: there the parameters are at fault.
    async fn on_custom_request(
        &self,
        request: CustomRequest,
        cx: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        match request.method.as_str() {
            "tools/call" => self.call_with_wrong_arguments(&request, &cx).await,
            // 2026-07-28 has no `initialize`, whatever its parameters.
            "initialize" if !relay::is_modern(&cx) => Err(unfit("initialize")),
            method @ ("tools/list" | "subscriptions/listen") => Err(unfit(method)),
            _ => Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, request.method, None)),
        }
    }

    /// What is accepted of the filter is told to the client; today that is nothing, for no list here changes
    /// while the gateway runs.
    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.supported_by(&self.0.offer.info.capabilities))
    }

    /// Returning sends the stream's graceful result.
    async fn listen(&self, subscription: SubscriptionContext) -> Result<(), ErrorData> {
        tokio::select! {
            () = subscription.cancelled() => {}
            () = self.0.drain.cancelled() => {}
        }
        Ok(())
    }

    async fn on_initialized(&self, _: NotificationContext<RoleServer>) {}

    async fn complete(
        &self,
        _: CompleteRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        undeclared::<CompleteRequestMethod, _>()
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        undeclared::<ListPromptsRequestMethod, _>()
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        undeclared::<ListResourcesRequestMethod, _>()
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        undeclared::<ListResourceTemplatesRequestMethod, _>()
    }
}

/// The id that the router gave the request, or the one it would have given.
pub(super) fn request_id(parts: &Parts) -> RequestId {
    parts.extensions.get().cloned().unwrap_or_else(|| RequestId::of(&parts.headers))
}

fn raw_arguments(cx: &RequestContext<RoleServer>) -> Option<Bytes> {
    let RawArguments(bytes) = cx.extensions.get::<Parts>()?.extensions.get()?;
    Some(bytes.clone())
}

fn unfit(method: &str) -> ErrorData {
    ErrorData::invalid_params(format!("the parameters do not fit `{method}`"), None)
}

fn undeclared<Method: ConstString, T>() -> Result<T, ErrorData> {
    Err(ErrorData::method_not_found::<Method>())
}
