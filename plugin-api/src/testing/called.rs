//! How a call of a test ended.

use serde_json::Value;

use crate::abi;

/// How a call ended, and what it said before.
#[derive(Debug)]
pub struct Called {
    pub(super) status: u32,
    pub(super) body: Value,
    /// The notifications it sent: method and parameters, in order.
    pub notifications: Vec<(String, Value)>,
    /// The questions it sent, once for every run of the call: key, method and parameters.
    pub requests: Vec<(String, String, Value)>,
    /// The keys of the questions with which the call ended before it ran again, one list for each time.
    pub rounds: Vec<Vec<String>>,
    /// With what options it went on as a task, if it did.
    pub task: Option<Value>,
}

impl Called {
    /// The whole result: of a tool, the `CallToolResult`.
    ///
    /// # Panics
    /// If the call ended with a protocol error or a panic.
    pub fn result(&self) -> &Value {
        assert_eq!(self.status, abi::RESULT, "the call failed: {}", self.body);
        &self.body
    }

    /// What the tool's function returned.
    ///
    /// # Panics
    /// If it returned an error, or the call failed.
    pub fn value(&self) -> Value {
        let result = self.result();
        assert_eq!(result["isError"], false, "the tool reported an error: {}", self.text());
        let structured = &result["structuredContent"];
        structured
            .get("result")
            .filter(|_| structured.as_object().is_some_and(|o| o.len() == 1))
            .unwrap_or(structured)
            .clone()
    }

    /// The first text of a tool's answer or of a resource's contents; empty if there is none.
    ///
    /// # Panics
    /// If the call failed.
    pub fn text(&self) -> String {
        let result = self.result();
        let first = result.get("content").or(result.get("contents")).map(|list| &list[0]);
        first.and_then(|first| first["text"].as_str()).unwrap_or_default().to_owned()
    }

    /// The error the tool's function returned, if it did.
    pub fn tool_error(&self) -> Option<String> {
        (self.result()["isError"] == true).then(|| self.text())
    }

    /// Message of the protocol error or panic the call ended with, if it did.
    pub fn fault(&self) -> Option<&str> {
        (self.status != abi::RESULT).then(|| self.body["message"].as_str().unwrap_or_default())
    }

    /// Code and data of the protocol error the call ended with, if it did.
    pub fn fault_code(&self) -> Option<(i64, &Value)> {
        let code = self.body["code"].as_i64().filter(|_| self.status == abi::ERROR)?;
        Some((code, &self.body["data"]))
    }
}
