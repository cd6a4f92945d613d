//! How a call's end reaches an MCP client.
//!
//! In:   a tool's reply or a [`CallError`].
//! Out:  a `CallToolResult`, or a JSON-RPC error where the request itself was at fault.
//! Never: a path, a panic message, a secret: texts come from [`CallError`], which has none.
//!
//! The rule: what a model can do something about is a result with `isError`, for clients hide JSON-RPC
//! errors from their models.

use std::fmt::Write;

use rmcp::model::{CallToolResult, ContentBlock, ErrorCode, ErrorData, ResultType};

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
        | CallError::TimedOut { .. }
        | CallError::Unavailable { .. } => Ok(failed(with_id(&text, request_id))),
    }
}

fn with_id(text: &str, request_id: &RequestId) -> String {
    format!("{text} (request {})", request_id.as_str())
}

fn failed(text: String) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(text)])
}

#[cfg(test)]
mod tests;
