//! A server that shows what a plugin makes of everything but questions.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use rmcp::{
    ErrorData, Peer, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, CustomRequest, CustomResult, ErrorCode,
        Implementation, ListToolsResult, MetaObject, PaginatedRequestParams, ReadResourceRequestParams,
        ReadResourceResponse, ServerCapabilities, ServerConfig, SubscriptionFilter,
    },
    service::{NotificationContext, SubscriptionContext},
};
use serde_json::json;

use super::{Context, says, tool};
use crate::Ctx;

/// Shows what the adapter makes of everything but questions.
#[derive(Clone, Default)]
pub(super) struct Shop {
    told: Arc<Mutex<Option<Peer<RoleServer>>>>,
    pub(super) dropped: Arc<AtomicUsize>,
    pub(super) cancelled: Arc<AtomicUsize>,
    pub(super) listening: Arc<Mutex<HashSet<String>>>,
}

impl ServerHandler for Shop {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_tool_list_changed()
            .enable_resources()
            .enable_resources_subscribe()
            .build();
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("shop", "3.2.1").with_title("The shop"))
            .with_instructions("Buy.")
    }

    async fn list_tools(
        &self,
        page: Option<PaginatedRequestParams>,
        _: Context,
    ) -> Result<ListToolsResult, ErrorData> {
        let mut list = ListToolsResult::default();
        (list.tools, list.next_cursor) = match page.and_then(|page| page.cursor).as_deref() {
            None => (vec![tool("first")], Some("2".into())),
            Some("2") => (vec![tool("second")], None),
            Some(_) => return Err(ErrorData::invalid_params("no such page", None)),
        };
        Ok(list)
    }

    async fn call_tool(
        &self,
        call: CallToolRequestParams,
        context: Context,
    ) -> Result<CallToolResponse, ErrorData> {
        match &*call.name {
            "who" => {
                let (client, version) = (context.client_info(), context.protocol_version());
                let level = context.meta.get("io.modelcontextprotocol/logLevel").cloned();
                let principal = context.extensions.get::<Ctx>().and_then(|ctx| ctx.info().principal);
                let seen = json!({
                    "client": client.map(|client| client.name),
                    "version": version.map(|version| version.to_string()),
                    "session": context.peer.peer_info().map(|info| info.protocol_version.to_string()),
                    "capabilities": context.client_capabilities(),
                    "level": level,
                    "traceparent": context.meta.get_traceparent(),
                    "principal": principal,
                });
                Ok(CallToolResult::structured(seen).into())
            }
            "fails" => Err(ErrorData::new(ErrorCode(-32050), "out of stock", Some(json!({ "left": 0 })))),
            "panics" => panic!("dropped the tray"),
            "logs" => {
                let params = json!({ "level": "warning", "logger": "till", "data": { "sum": 3 } });
                let message = serde_json::from_value(json!({
                    "method": "notifications/message", "params": params,
                }));
                // A custom one too: MCP may know more kinds one day.
                let custom = rmcp::model::CustomNotification::new("notifications/x", Some(json!({ "a": 1 })));
                let sent = context.peer.send_notification(message.expect("a notification")).await;
                sent.expect("the call lasts");
                context.peer.send_notification(custom.into()).await.expect("the call lasts");
                Ok(says("logged"))
            }
            "meta" => {
                let mut result = CallToolResult::success(vec![]);
                result.meta = serde_json::from_value::<Option<MetaObject>>(json!({ "shop.example/x": 1 }))
                    .expect("meta");
                Ok(result.into())
            }
            "waits" => {
                struct Dropped(Arc<AtomicUsize>);
                impl Drop for Dropped {
                    fn drop(&mut self) {
                        self.0.fetch_add(1, Relaxed);
                    }
                }
                let _dropped = Dropped(self.dropped.clone());
                let (ct, cancelled) = (context.ct.clone(), self.cancelled.clone());
                tokio::spawn(async move {
                    ct.cancelled().await;
                    cancelled.fetch_add(1, Relaxed);
                });
                std::future::pending().await
            }
            "restocks" => {
                let peer = self.told.lock().expect("no panic").clone().expect("it was initialized");
                peer.notify_tool_list_changed().await.expect("it lasts");
                context.peer.notify_tool_list_changed().await.expect("the call lasts");
                Ok(says("restocked"))
            }
            name => Err(ErrorData::invalid_params(format!("no tool {name}"), None)),
        }
    }

    async fn read_resource(
        &self,
        read: ReadResourceRequestParams,
        _: Context,
    ) -> Result<ReadResourceResponse, ErrorData> {
        Err(ErrorData::resource_not_found("gone", Some(json!({ "uri": read.uri }))))
    }

    async fn on_custom_request(&self, request: CustomRequest, _: Context) -> Result<CustomResult, ErrorData> {
        Ok(CustomResult::new(json!({ "asked": request.method, "with": request.params })))
    }

    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        *self.told.lock().expect("no panic") = Some(context.peer);
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        for uri in context.accepted().resource_subscriptions.iter().flatten() {
            self.listening.lock().expect("no panic").insert(uri.clone());
            let _ = context.sink().notify_resource_updated(uri.clone()).await;
        }
        context.cancelled().await;
        Ok(())
    }
}
