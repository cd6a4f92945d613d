//! How a call's end reaches an MCP client.
//!
//! In:   a tool's reply or a [`CallError`].
//! Out:  a `CallToolResult`, or a JSON-RPC error where the request itself was at fault; for other methods their
//!       result, or an error, since they have no other way to say what went wrong.
//! Never: a path, a panic message, a secret: texts come from [`CallError`], which has none.
//!
//! The rule: what a model can do something about is a result with `isError`, for clients hide JSON-RPC
//! errors from their models.

use std::fmt::Write;

use rmcp::model::{CallToolResult, ContentBlock, ErrorCode, ErrorData, ResultType};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::serve::{
    RequestId,
    call::{CallError, ToolReply},
};

/// The tool's own result, marked complete: rmcp leaves the mark out unless it made the result itself, and
/// takes it off again for clients older than 2026-07-28.
pub(super) fn of_reply(
    reply: &ToolReply,
    tool: &str,
    request_id: &RequestId,
) -> Result<CallToolResult, ErrorData> {
    match serde_json::from_slice::<CallToolResult>(reply.json()) {
        Ok(mut result) => {
            result.result_type = Some(ResultType::COMPLETE);
            Ok(result)
        }
        Err(error) => {
            tracing::warn!(tool, %error, "tool result does not fit MCP");
            let text = format!("the tool `{tool}` answered with something that is not a tool result");
            Ok(failed(with_id(&text, request_id)))
        }
    }
}

pub(super) fn of_error(error: CallError, request_id: &RequestId) -> Result<CallToolResult, ErrorData> {
    let text = error.to_string();
    match error {
        CallError::UnknownTool { available, .. } => {
            Err(ErrorData::invalid_params(text, Some(serde_json::json!({ "available": available }))))
        }
        CallError::Protocol { code, message, data } => Err(ErrorData::new(ErrorCode(code), message, data)),
        CallError::MalformedArguments { .. } => Ok(failed(text)),
        CallError::InvalidArguments { errors, .. } => {
            let mut text = text + ":";
            for error in errors {
                let at = if error.pointer.is_empty() { "the arguments" } else { &error.pointer };
                // Writing into a string cannot fail.
                let _ = write!(text, "\n- {at}: {}", error.detail);
            }
            Ok(failed(text))
        }
        CallError::Panicked { .. }
        | CallError::BadResult { .. }
        | CallError::Lost { .. }
        | CallError::TimedOut { .. }
        | CallError::Unavailable { .. }
        | CallError::Quarantined { .. } => Ok(failed(with_id(&text, request_id))),
    }
}

/// The result of a method other than `tools/call`.
pub(super) fn of_method<T: DeserializeOwned>(
    result: Result<ToolReply, CallError>,
    method: &str,
    request_id: &RequestId,
) -> Result<T, ErrorData> {
    let bad = || {
        let text = format!("the plugin's answer is not a result of `{method}`");
        ErrorData::internal_error(with_id(&text, request_id), None)
    };
    let reply = match result {
        Ok(reply) => reply,
        Err(CallError::Protocol { code, message, data }) => {
            return Err(ErrorData::new(ErrorCode(code), message, data));
        }
        Err(CallError::BadResult { .. }) => return Err(bad()),
        Err(error) => {
            let data = error.unavailable().map(Value::Object);
            return Err(ErrorData::internal_error(with_id(&error.to_string(), request_id), data));
        }
    };
    let read = |json: &[u8]| {
        let mut result: Value = serde_json::from_slice(json)?;
        if let Value::Object(result) = &mut result {
            result.entry("resultType").or_insert_with(|| "complete".into());
        }
        serde_json::from_value(result)
    };
    read(reply.json()).map_err(|error: serde_json::Error| {
        tracing::warn!(method, %error, "result does not fit MCP");
        bad()
    })
}

fn with_id(text: &str, request_id: &RequestId) -> String {
    format!("{text} (request {})", request_id.as_str())
}

fn failed(text: String) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(text)])
}

#[cfg(test)]
mod tests;
