//! What rmcp asks of a server, method by method.
//!
//! In:   MCP requests, already checked for version, headers and `_meta` by rmcp.
//! Out:  the manifest's lists, and calls through `calls`.
//! Never: HTTP. Whatever capability is not declared answers `-32601`, its lists too: rmcp's own default is
//!       an empty list, which claims a capability that nobody declared.

#![expect(deprecated, reason = "rmcp marks what 2026-07-28 has dropped, and 2025 clients use, as deprecated")]

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CacheScope, CallToolRequestParams, CallToolResponse, CancelTaskParams, CompleteRequestParams,
        CompleteResult, CustomRequest, CustomResult, ErrorCode, GetPromptRequestParams, GetPromptResponse,
        GetSkillRequestParams, GetSkillResult, GetTaskParams, GetTaskResult, ListPromptsResult,
        ListResourceTemplatesResult, ListResourcesResult, ListSkillsResult, ListToolsResult,
        PaginatedRequestParams, ReadResourceDirectoryRequestParams, ReadResourceDirectoryResult,
        ReadResourceRequestParams, ReadResourceResponse, ServerConfig, SetLevelRequestParams,
        SubscribeRequestParams, SubscriptionFilter, Tool, UnsubscribeRequestParams, UpdateTaskParams,
    },
    service::{NotificationContext, RequestContext, SubscriptionContext},
};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    calls::Retry,
    handler::{Handler, RawArguments},
    hub::{Change, Membership, NotWatched},
    offer::Offer,
    relay, session,
};
use crate::serve::caller::Caller;

/// How long a client may keep a list.
const LIST_TTL_MS: u64 = 60_000;

impl Handler {
    /// What the caller of `cx` is offered, if that has `method`.
    fn offering(
        &self,
        method: &'static str,
        cx: &RequestContext<RoleServer>,
    ) -> Result<Arc<Offer>, ErrorData> {
        let offer = self.offer_to(self.caller(cx).as_ref());
        if offer.has(method) { Ok(offer) } else { Err(no_such(method)) }
    }

    fn membership(
        &self,
        method: &'static str,
        cx: &RequestContext<RoleServer>,
    ) -> Result<&Membership, ErrorData> {
        self.offering(method, cx)?;
        if relay::client(cx) != relay::Client::InSession {
            return Err(ErrorData::invalid_request(
                "watching a resource takes a session: send `initialize`",
                None,
            ));
        }
        self.session().join(self.hub(), self.lists_of(self.caller(cx).as_ref()), &cx.peer)
    }

    /// The lists whose changes `caller` hears of.
    fn lists_of(&self, caller: Option<&Caller>) -> &'static [Change] {
        match caller {
            Some(caller) if !caller.access.is_whole_for(&caller.principal) => &[Change::Tools],
            _ => &[Change::Tools, Change::Prompts, Change::Resources],
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
        let CallToolResponse::Complete(mut result) =
            self.call(tool, &arguments, Retry::default(), cx).await?
        else {
            return Err(unfit("tools/call"));
        };
        if !relay::is_modern(cx) {
            // rmcp takes the mark off the results it knows, and leaves a custom one alone.
            result.result_type = None;
        }
        let result = serde_json::to_value(result);
        result.map(CustomResult::new).map_err(|_| ErrorData::internal_error("unwritable result", None))
    }
}

/// One of the four lists: a page of the manifest's, or what the plugin makes for this call.
macro_rules! list {
    ($self:ident, $page:ident, $cx:ident, $method:literal, $list:ident, $Result:ident) => {{
        let offer = $self.offering($method, &$cx)?;
        let cursor = $page.and_then(|page| page.cursor);
        if offer.mount.manifest.is_dynamic($method) {
            let params = cursor.map_or_else(|| json!({}), |cursor| json!({ "cursor": cursor }));
            let mut list: $Result = $self.plain($method, "", &params, &$cx).await?;
            list.ttl_ms.get_or_insert(LIST_TTL_MS);
            list.cache_scope.get_or_insert(CacheScope::Private);
            return Ok(list);
        }
        let (items, next) = offer.$list.page(cursor.as_deref())?;
        let mut list = $Result::with_all_items(items);
        list.next_cursor = next;
        // What depends on who asks is nobody else's.
        let scope = match $self.caller(&$cx) {
            Some(caller) if caller.access.is_asking() => CacheScope::Private,
            _ => CacheScope::Public,
        };
        Ok(list.with_ttl_ms(LIST_TTL_MS).with_cache_scope(scope))
    }};
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        self.offer_to(self.made_for()).info.clone()
    }

    /// rmcp checks `Mcp-Param-*` headers against the schema of what this returns.
    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.offer_to(self.made_for()).tool(name)
    }

    async fn list_tools(
        &self,
        page: Option<PaginatedRequestParams>,
        cx: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let caller = self.caller(&cx);
        let list = async { list!(self, page, cx, "tools/list", tools, ListToolsResult) };
        let mut list: ListToolsResult = list.await?;
        // A list that the plugin makes call by call is not made for this caller.
        if let Some(caller) = caller {
            list.tools.retain(|tool| caller.may_call(&tool.name));
        }
        Ok(list)
    }

    async fn list_prompts(
        &self,
        page: Option<PaginatedRequestParams>,
        cx: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        list!(self, page, cx, "prompts/list", prompts, ListPromptsResult)
    }

    async fn list_resources(
        &self,
        page: Option<PaginatedRequestParams>,
        cx: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        list!(self, page, cx, "resources/list", resources, ListResourcesResult)
    }

    async fn list_resource_templates(
        &self,
        page: Option<PaginatedRequestParams>,
        cx: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        list!(self, page, cx, "resources/templates/list", templates, ListResourceTemplatesResult)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        cx: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        self.offering("tools/call", &cx)?;
        let arguments = match raw_arguments(&cx) {
            Some(bytes) => bytes,
            None => serde_json::to_vec(&request.arguments.unwrap_or_default())
                .map_err(|_| ErrorData::internal_error("the arguments cannot be written as JSON", None))?
                .into(),
        };
        let retry = Retry { responses: request.input_responses, state: request.request_state };
        self.call(&request.name, &arguments, retry, &cx).await
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        cx: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        self.offering("prompts/get", &cx)?;
        let params = without_meta(&request);
        let retry = Retry { responses: request.input_responses, state: request.request_state };
        match self.ask("prompts/get", &request.name, &params, retry, &cx).await? {
            Ok(result) => Ok(GetPromptResponse::Complete(result)),
            Err(required) => Ok(required.into()),
        }
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        cx: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        self.offering("resources/read", &cx)?;
        let params = without_meta(&request);
        let retry = Retry { responses: request.input_responses, state: request.request_state };
        match self.ask("resources/read", &request.uri, &params, retry, &cx).await {
            Ok(Ok(result)) => Ok(ReadResourceResponse::Complete(result)),
            Ok(Err(required)) => Ok(required.into()),
            // A resource that is not there has a code of its own until 2025-11-25, and rmcp only knows the way back.
            Err(mut error) if !relay::is_modern(&cx) && names_uri(&error) => {
                error.code = ErrorCode::RESOURCE_NOT_FOUND;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        cx: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        self.offering("completion/complete", &cx)?;
        self.plain("completion/complete", &request.argument.name, &without_meta(&request), &cx).await
    }

    async fn set_level(
        &self,
        request: SetLevelRequestParams,
        cx: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.offering("logging/setLevel", &cx)?;
        self.session().set_level(request.level);
        Ok(())
    }

    async fn subscribe(
        &self,
        request: SubscribeRequestParams,
        cx: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.membership("resources/subscribe", &cx)?.watch(&request.uri).map_err(not_watched)
    }

    async fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        cx: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.membership("resources/unsubscribe", &cx)?.unwatch(&request.uri);
        Ok(())
    }

    /// From here on a session is told of changes.
    async fn on_initialized(&self, cx: NotificationContext<RoleServer>) {
        let lists = self.lists_of(self.made_for());
        if let Err(error) = self.session().join(self.hub(), lists, &cx.peer) {
            tracing::warn!(error = &*error.message, "session is not told of changes");
        }
    }

    /// rmcp leaves out what the capabilities do not have.
    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.supported_by(self.offer_to(self.made_for()).capabilities()))
    }

    /// Returning sends the stream's graceful result.
    async fn listen(&self, subscription: SubscriptionContext) -> Result<(), ErrorData> {
        let accepted = subscription.accepted();
        let lists = [
            (accepted.tools_list_changed, Change::Tools),
            (accepted.prompts_list_changed, Change::Prompts),
            (accepted.resources_list_changed, Change::Resources),
        ];
        let lists = lists.into_iter().filter_map(|(wanted, change)| wanted?.then_some(change));
        let full = || ErrorData::internal_error("too many clients wait for changes; try again later", None);
        let membership = self.hub().join(lists).ok_or_else(full)?;
        for uri in accepted.resource_subscriptions.iter().flatten() {
            membership.watch(uri).map_err(not_watched)?;
        }
        let telling = async {
            loop {
                let notification = session::notification(membership.next().await);
                if let Err(error) = subscription.sink().send(notification).await {
                    tracing::debug!(%error, "stream not told of a change");
                }
            }
        };
        tokio::select! {
            () = subscription.cancelled() => {}
            () = self.ending().cancelled() => {}
            () = telling => {}
        }
        Ok(())
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        cx: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        self.tasks().get(self.caller(&cx).as_ref(), &request.task_id)
    }

    async fn update_task(
        &self,
        request: UpdateTaskParams,
        cx: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.tasks().update(self.caller(&cx).as_ref(), &request.task_id, request.input_responses)
    }

    async fn cancel_task(
        &self,
        request: CancelTaskParams,
        cx: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.tasks().cancel(self.caller(&cx).as_ref(), &request.task_id)
    }

    async fn list_skills(
        &self,
        page: Option<PaginatedRequestParams>,
        cx: RequestContext<RoleServer>,
    ) -> Result<ListSkillsResult, ErrorData> {
        self.offering("skills/list", &cx)?;
        self.plain("skills/list", "", &without_meta(&page.unwrap_or_default()), &cx).await
    }

    async fn get_skill(
        &self,
        request: GetSkillRequestParams,
        cx: RequestContext<RoleServer>,
    ) -> Result<GetSkillResult, ErrorData> {
        self.offering("skills/get", &cx)?;
        self.plain("skills/get", &request.uri, &without_meta(&request), &cx).await
    }

    async fn read_resource_directory(
        &self,
        request: ReadResourceDirectoryRequestParams,
        cx: RequestContext<RoleServer>,
    ) -> Result<ReadResourceDirectoryResult, ErrorData> {
        self.offering("resources/directory/read", &cx)?;
        self.plain("resources/directory/read", &request.uri, &without_meta(&request), &cx).await
    }

    /// What rmcp does not know, and what it knows but could not read: there the parameters are at fault.
    async fn on_custom_request(
        &self,
        request: CustomRequest,
        cx: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        let offer = self.offer_to(self.caller(&cx).as_ref());
        match request.method.as_str() {
            "tools/call" if offer.has("tools/call") => self.call_with_wrong_arguments(&request, &cx).await,
            // A method of the other era is unknown in this one, whatever its parameters.
            "initialize" if !relay::is_modern(&cx) => Err(unfit("initialize")),
            method if is_of_era(method, relay::is_modern(&cx)) && offer.has(method) => Err(unfit(method)),
            _ => Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, request.method, None)),
        }
    }
}

fn raw_arguments(cx: &RequestContext<RoleServer>) -> Option<Bytes> {
    let RawArguments(bytes) = cx.extensions.get::<Parts>()?.extensions.get()?;
    Some(bytes.clone())
}

/// What of a method's parameters is the plugin's business.
fn without_meta(params: &impl Serialize) -> Value {
    let mut params = serde_json::to_value(params).unwrap_or_default();
    if let Value::Object(params) = &mut params {
        for member in ["_meta", "inputResponses", "requestState"] {
            params.shift_remove(member);
        }
    }
    params
}

fn names_uri(error: &ErrorData) -> bool {
    let uri = error.data.as_ref().and_then(|data| data.get("uri"));
    error.code == ErrorCode::INVALID_PARAMS && uri.is_some_and(Value::is_string)
}

/// Whether clients of 2026-07-28 (`modern`), or those before it, have this method.
fn is_of_era(method: &str, modern: bool) -> bool {
    match method {
        "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe" => !modern,
        "subscriptions/listen" => modern,
        _ => true,
    }
}

fn unfit(method: &str) -> ErrorData {
    ErrorData::invalid_params(format!("the parameters do not fit `{method}`"), None)
}

fn not_watched(why: NotWatched) -> ErrorData {
    match why {
        NotWatched::UriTooLong | NotWatched::TooMany => ErrorData::invalid_params(why.to_string(), None),
        NotWatched::Full => ErrorData::internal_error(why.to_string(), None),
    }
}

fn no_such(method: &'static str) -> ErrorData {
    ErrorData::new(ErrorCode::METHOD_NOT_FOUND, method, None)
}
