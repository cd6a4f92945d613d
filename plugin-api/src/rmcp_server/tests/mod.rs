//! rmcp servers, called through a plugin.

mod asking;
mod life;
mod offering;
mod shop;

use rmcp::{
    RoleServer,
    model::{CallToolResponse, CallToolResult, ContentBlock, JsonObject},
    service::RequestContext,
};
use serde_json::{Value, json};

use super::Setup;
use crate::{NoSettings, Plugin, testing::TestServer};

type Context = RequestContext<RoleServer>;

fn start<Shape>(setup: impl Setup<Shape, Settings = NoSettings>) -> TestServer {
    TestServer::start(Plugin::from_rmcp(NoSettings {}, setup))
}

fn object(value: Value) -> JsonObject {
    value.as_object().cloned().unwrap_or_default()
}

fn tool(name: &'static str) -> rmcp::model::Tool {
    rmcp::model::Tool::new(name, "A tool.", object(json!({ "type": "object" })))
}

fn says(text: impl Into<String>) -> CallToolResponse {
    CallToolResult::success(vec![ContentBlock::text(text)]).into()
}

fn said(method: &str, params: Value) -> (String, Value) {
    (method.to_owned(), params)
}
