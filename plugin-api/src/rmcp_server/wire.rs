//! Between MCP's wire form and rmcp's types.
//!
//! rmcp's own reading of a request tries one type after the other, and what fits none becomes a custom request:
//! a mistake in the parameters of `tools/call` would be answered as an unknown method. Here the method decides.

use rmcp::model::{self, ClientRequest, ClientResult, ErrorCode, ErrorData, Request, RequestOptionalParam};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use crate::{Choice, Error, Result, error};

/// A JSON object.
pub(super) type Object = Map<String, Value>;

/// A request of the gateway's to the server.
///
/// # Errors
/// -32602 if the parameters are not those of the method.
#[expect(deprecated, reason = "what rmcp discourages is what some servers still have")]
pub(super) fn request(method: &str, params: Object) -> Result<ClientRequest> {
    fn with<M: Default, P: DeserializeOwned>(params: Object) -> Result<Request<M, P>> {
        Ok(Request::new(read(params)?))
    }
    fn perhaps_with<M: Default, P: DeserializeOwned>(params: Object) -> Result<RequestOptionalParam<M, P>> {
        Ok(RequestOptionalParam::with_param(read(params)?))
    }
    Ok(match method {
        "initialize" => model::InitializeRequest::into(with(params)?),
        "tools/call" => model::CallToolRequest::into(with(params)?),
        "prompts/get" => model::GetPromptRequest::into(with(params)?),
        "resources/read" => model::ReadResourceRequest::into(with(params)?),
        "completion/complete" => model::CompleteRequest::into(with(params)?),
        "tools/list" => model::ListToolsRequest::into(perhaps_with(params)?),
        "prompts/list" => model::ListPromptsRequest::into(perhaps_with(params)?),
        "resources/list" => model::ListResourcesRequest::into(perhaps_with(params)?),
        "resources/templates/list" => model::ListResourceTemplatesRequest::into(perhaps_with(params)?),
        "resources/subscribe" => model::SubscribeRequest::into(with(params)?),
        "resources/unsubscribe" => model::UnsubscribeRequest::into(with(params)?),
        "resources/directory/read" => model::ReadResourceDirectoryRequest::into(with(params)?),
        "subscriptions/listen" => model::SubscriptionsListenRequest::into(with(params)?),
        "logging/setLevel" => model::SetLevelRequest::into(with(params)?),
        "skills/list" => model::ListSkillsRequest::into(perhaps_with(params)?),
        "skills/get" => model::GetSkillRequest::into(with(params)?),
        "tasks/get" => model::GetTaskRequest::into(with(params)?),
        "tasks/update" => model::UpdateTaskRequest::into(with(params)?),
        "tasks/cancel" => model::CancelTaskRequest::into(with(params)?),
        _ => model::CustomRequest::new(method, Some(params.into())).into(),
    })
}

/// The client's answer to what the server asked through its peer.
///
/// # Errors
/// If it is not an answer to that.
pub(super) fn answer(method: &str, answer: Value) -> Result<ClientResult, ErrorData> {
    let unfit =
        |error: serde_json::Error| ErrorData::internal_error(format!("the client's answer: {error}"), None);
    Ok(match method {
        "elicitation/create" => ClientResult::ElicitResult(serde_json::from_value(answer).map_err(unfit)?),
        "sampling/createMessage" => {
            ClientResult::CreateMessageResult(serde_json::from_value(answer).map_err(unfit)?)
        }
        "roots/list" => ClientResult::ListRootsResult(serde_json::from_value(answer).map_err(unfit)?),
        _ => ClientResult::CustomResult(model::CustomResult::new(answer)),
    })
}

/// What a client answers in MCP's words.
///
/// # Errors
/// If its user refused where MCP has no word for that.
pub(super) fn chosen(method: &str, choice: Choice<Value>) -> Result<Value> {
    match (choice, method) {
        (Choice::Accepted(answer), _) => Ok(answer),
        (Choice::Declined, "elicitation/create") => Ok(json!({ "action": "decline" })),
        (Choice::Cancelled, "elicitation/create") => Ok(json!({ "action": "cancel" })),
        (Choice::Declined | Choice::Cancelled, _) => {
            Err(Error::protocol(REJECTED, format!("the client refused `{method}`")))
        }
    }
}

/// MCP's code for a user who rejects a sampling request.
const REJECTED: i32 = -1;

/// Method and parameters of something the server says, without what is rmcp's alone.
pub(super) fn said(message: &impl Serialize) -> (String, Object) {
    let mut message = serde_json::to_value(message).unwrap_or_default();
    let method = message["method"].as_str().unwrap_or_default().to_owned();
    let Some(Value::Object(mut params)) = message.get_mut("params").map(Value::take) else {
        return (method, Object::new());
    };
    // A number of rmcp's own, which differs from one run of a call to the next.
    if let Some(Value::Object(meta)) = params.get_mut("_meta") {
        meta.remove("progressToken");
        if meta.is_empty() {
            params.remove("_meta");
        }
    }
    (method, params)
}

/// An error of the server as one of the call: code, message and data stay.
pub(super) fn error(error: ErrorData) -> Error {
    let told = Error::protocol(error.code.0, error.message);
    match error.data {
        Some(data) => told.data(data),
        None => told,
    }
}

/// An error of the call, for the server.
pub(super) fn error_data(error: &Error) -> ErrorData {
    let mut body = error.body();
    let data = body.get_mut("data").map(Value::take);
    ErrorData::new(ErrorCode(error.code().unwrap_or(error::INTERNAL_ERROR)), error.to_string(), data)
}

pub(super) fn read<T: DeserializeOwned>(params: Object) -> Result<T> {
    serde_json::from_value(params.into()).map_err(|error| Error::invalid_params(error.to_string()))
}
