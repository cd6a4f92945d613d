//! Counts. An rmcp server as one writes it for stdio or HTTP; its last line makes it a plugin.
#![forbid(unsafe_code)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};

use plugin_api::export_rmcp_server;
use rmcp::{
    ErrorData, Json, RoleServer, ServerHandler,
    handler::server::wrapper::Parameters,
    model::{
        CallToolResult, ContentBlock, GetPromptResult, Implementation, ListResourcesResult,
        PaginatedRequestParams, ProgressNotificationParam, PromptMessage, ReadResourceRequestParams,
        ReadResourceResponse, ReadResourceResult, Resource, ResourceContents, Role, ServerCapabilities,
        ServerConfig,
    },
    prompt, prompt_handler, prompt_router,
    service::{ElicitationError, RequestContext},
    tool, tool_handler, tool_router,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the count can be read.
const COUNT: &str = "counter://count";
/// How long one step of a countdown takes.
const STEP: Duration = Duration::from_millis(20);

/// Counts, for all of its clients together.
#[derive(Clone, Default)]
struct Counter {
    count: Arc<AtomicI64>,
}

/// How far to count.
#[derive(Deserialize, JsonSchema)]
struct Increment {
    /// May be negative.
    by: i64,
}

/// Where the counter stands.
#[derive(Serialize, JsonSchema)]
struct Count {
    count: i64,
}

/// Where to count down from.
#[derive(Deserialize, JsonSchema)]
struct CountDown {
    from: u8,
}

/// What the user is asked before the count is lost.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Confirmation {
    /// Really start again from zero?
    sure: bool,
}

rmcp::elicit_safe!(Confirmation);

/// What there is to celebrate.
#[derive(Deserialize, JsonSchema)]
struct Celebrate {
    /// Who counted.
    who: String,
}

#[tool_router]
impl Counter {
    #[tool(description = "Adds to the counter.")]
    fn increment(&self, Parameters(Increment { by }): Parameters<Increment>) -> Result<Json<Count>, String> {
        let further = |count: i64| count.checked_add(by);
        match self.count.fetch_update(Relaxed, Relaxed, further) {
            Ok(before) => Ok(Json(Count { count: before + by })),
            Err(_) => Err("The counter does not go that far.".into()),
        }
    }

    #[tool(description = "Counts down to zero, slowly, and says how far it is.")]
    async fn count_down(
        &self,
        Parameters(CountDown { from }): Parameters<CountDown>,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResult, ErrorData> {
        for done in 1..=from {
            tokio::time::sleep(STEP).await;
            if let Some(token) = context.meta.get_progress_token() {
                let progress = ProgressNotificationParam::new(token, f64::from(done))
                    .with_total(f64::from(from))
                    .with_message(format!("{}", from - done));
                // A client that went away needs no progress.
                let _ = context.peer.notify_progress(progress).await;
            }
        }
        Ok(CallToolResult::success(vec![ContentBlock::text("Lift-off!")]))
    }

    #[tool(description = "Sets the counter to zero, if the user agrees.")]
    async fn reset(&self, context: RequestContext<RoleServer>) -> Result<String, String> {
        match context.peer.elicit::<Confirmation>("The count will be lost.").await {
            Ok(Some(Confirmation { sure: true })) => {
                let lost = self.count.swap(0, Relaxed);
                // A client that does not watch the count need not know.
                let _ = context.peer.notify_resource_updated(updated()).await;
                Ok(format!("The counter was at {lost}."))
            }
            Ok(_) | Err(ElicitationError::UserDeclined | ElicitationError::UserCancelled) => {
                Err("The counter stays as it is.".into())
            }
            Err(error) => Err(error.to_string()),
        }
    }
}

fn updated() -> rmcp::model::ResourceUpdatedNotificationParam {
    rmcp::model::ResourceUpdatedNotificationParam::new(COUNT)
}

#[prompt_router]
impl Counter {
    /// Praise for whoever counted.
    #[prompt(name = "celebrate")]
    fn celebrate(&self, Parameters(Celebrate { who }): Parameters<Celebrate>) -> GetPromptResult {
        let count = self.count.load(Relaxed);
        let text = format!("Congratulate {who} on having counted to {count}.");
        GetPromptResult::new(vec![PromptMessage::new_text(Role::User, text)])
    }
}

#[tool_handler]
#[prompt_handler]
impl ServerHandler for Counter {
    fn get_info(&self) -> ServerConfig {
        let capabilities =
            ServerCapabilities::builder().enable_tools().enable_prompts().enable_resources().build();
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("counter", env!("CARGO_PKG_VERSION")))
            .with_instructions("One counter, shared by everyone who is connected.")
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(ListResourcesResult::with_all_items(vec![
            Resource::new(COUNT, "count").with_mime_type("text/plain"),
        ]))
    }

    async fn read_resource(
        &self,
        ReadResourceRequestParams { uri, .. }: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        if uri != COUNT {
            let data = serde_json::json!({ "uri": uri });
            return Err(ErrorData::resource_not_found("there is only the count", Some(data)));
        }
        let count = self.count.load(Relaxed).to_string();
        Ok(ReadResourceResult::new(vec![ResourceContents::text(count, COUNT)]).into())
    }
}

export_rmcp_server!(Counter::default);

#[cfg(test)]
mod tests;
