//! What is known about the client of a call.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What is known about the client of a call.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CallInfo {
    /// The MCP revision it speaks, e.g. `2026-07-28`; `None` for a plain HTTP client.
    pub protocol_version: Option<String>,
    /// Its name and version, as it gave them.
    pub client_info: Option<Value>,
    /// What it can do, as it declared it.
    pub client_capabilities: Option<Value>,
    /// Present if it wants to hear of progress.
    pub progress_token: Option<Value>,
    /// The least severe log messages it wants; `None`: none, or it did not say.
    pub log_level: Option<String>,
    /// The id under which the gateway's log speaks of this request.
    pub request_id: String,
    /// Who is calling; `None` where the gateway asks nobody.
    pub principal: Option<Principal>,
    /// What the caller was allowed to do, as the gateway's operator or the issuer of its token wrote it; `None` where the gateway
    /// asks nobody. Whether it may call this tool has been decided.
    pub scopes: Option<Vec<String>>,
    /// Where the call is in its trace (W3C Trace Context), if it belongs to one: `traceparent`, and perhaps `tracestate`. Send them
    /// along as headers with what the call asks of others, and they appear below it. Spans and events of `tracing` do by themselves.
    pub trace: Option<Value>,
    /// How long the call may still run.
    pub deadline_ms: Option<u64>,
}

/// Who is calling, as the gateway has found out. Never by what: keys and tokens stay with the gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Principal {
    /// The same for the same caller as long as the operator does not rename it: `key:<name>`, `certificate:<name>`, or
    /// `token:<issuer>#<subject>`. Fit to keep one caller's things apart from another's.
    pub id: String,
}

/// Something a client may be able to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// Ask its user to fill in a form: [`Ctx::elicit`](crate::Ctx::elicit).
    Elicitation,
    /// Send its user to a page: [`Ctx::elicit_url`](crate::Ctx::elicit_url).
    UrlElicitation,
    /// Run its model: [`Ctx::sample`](crate::Ctx::sample).
    Sampling,
    /// Name its folders: [`Ctx::roots`](crate::Ctx::roots).
    Roots,
    /// Wait for a task: [`Ctx::into_task`](crate::Ctx::into_task).
    Tasks,
}

impl CallInfo {
    /// Whether the client declared that it can do that. A tool need not ask before it does it: what a client
    /// cannot do is an error that says so. It is for tools that can do with less.
    pub fn supports(&self, capability: Capability) -> bool {
        let Some(declared) = &self.client_capabilities else { return false };
        let has = |pointer| declared.pointer(pointer).is_some_and(|value| !value.is_null());
        match capability {
            // A client that names no mode means forms, the only one there was before there were modes.
            Capability::Elicitation => {
                has("/elicitation") && (has("/elicitation/form") || !has("/elicitation/url"))
            }
            Capability::UrlElicitation => has("/elicitation/url"),
            Capability::Sampling => has("/sampling"),
            Capability::Roots => has("/roots"),
            Capability::Tasks => has("/extensions/io.modelcontextprotocol~1tasks"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_client_that_names_no_mode_of_elicitation_means_forms() {
        let check = |declared: Value, form: bool, url: bool| {
            let info = CallInfo { client_capabilities: Some(declared.clone()), ..CallInfo::default() };
            assert_eq!(info.supports(Capability::Elicitation), form, "{declared}");
            assert_eq!(info.supports(Capability::UrlElicitation), url, "{declared}");
        };
        check(json!({}), false, false);
        check(json!({ "elicitation": {} }), true, false);
        check(json!({ "elicitation": { "url": {} } }), false, true);
        check(json!({ "elicitation": { "form": {}, "url": {} } }), true, true);
    }

    #[test]
    fn tasks_are_an_extension() {
        let declared = json!({ "extensions": { "io.modelcontextprotocol/tasks": {} } });
        let info = CallInfo { client_capabilities: Some(declared), ..CallInfo::default() };
        assert!(info.supports(Capability::Tasks));
        assert!(!CallInfo::default().supports(Capability::Tasks));
    }
}
