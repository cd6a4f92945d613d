//! What went wrong, as an answer: RFC 9457 `application/problem+json`, or at an MCP endpoint a JSON-RPC error.
//! The codes, their statuses and titles are [`ProblemCode`]'s.

use axum::{body::Body, response::Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::{Map, Value, json};

use super::{Gateway, asked::Asked, call::CallError, router};
use crate::mount::ProblemCode;

/// What went wrong. Texts are fit for clients: no path, no panic message, no secret.
#[derive(Debug)]
pub struct Problem(Box<Told>);

/// Boxed, because every `Result` on the way of a good answer would have its size.
#[derive(Debug)]
struct Told {
    code: ProblemCode,
    detail: String,
    members: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem whose `detail` is about this case.
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self(Box::new(Told { code, detail: detail.into(), members: Map::new(), headers: Vec::new() }))
    }

    /// Adds an extension member.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.members.insert(name.into(), value.into());
        self
    }

    fn with_all(mut self, members: Map<String, Value>) -> Self {
        self.0.members.extend(members);
        self
    }

    /// Adds a header.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// Adds headers.
    pub(super) fn with_headers(mut self, headers: HeaderMap) -> Self {
        self.0.headers.extend(headers.into_iter().filter_map(|(name, value)| Some((name?, value))));
        self
    }

    /// Says after how many seconds to try again.
    pub fn retry_after(self, seconds: u32) -> Self {
        self.header(header::RETRY_AFTER, seconds.into())
    }

    /// What kind of problem it is.
    pub fn code(&self) -> ProblemCode {
        self.0.code
    }

    /// The text about this case.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The answer to `asked`.
    pub(super) fn answer(self, gateway: &Gateway, asked: &Asked) -> Response {
        // An MCP client understands nothing but JSON-RPC, whatever failed.
        let posts = [Method::POST, Method::DELETE].contains(&asked.method);
        let (media_type, body) = if posts && router::is_endpoint(gateway, asked.uri.path()) {
            ("application/json", self.json_rpc(asked))
        } else {
            ("application/problem+json", self.document(asked))
        };
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() =
            StatusCode::from_u16(self.0.code.status()).expect("the table of codes has real statuses");
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        response.headers_mut().extend(self.0.headers);
        response
    }

    fn document(&self, asked: &Asked) -> Value {
        let mut document = json!({
            "type": format!("/problems/{}", self.0.code.as_str()),
            "title": self.0.code.title(),
            "status": self.0.code.status(),
            "detail": self.0.detail,
            "instance": asked.uri.path(),
            "code": self.0.code.as_str(),
            "request_id": asked.request_id.as_str(),
        });
        if let Value::Object(document) = &mut document {
            document.extend(self.0.members.clone());
        }
        document
    }

    /// Without `id`: nobody has read the request's.
    fn json_rpc(&self, asked: &Asked) -> Value {
        // Invalid request, or internal error.
        let code = if self.0.code.status() < 500 { -32600 } else { -32603 };
        json!({"jsonrpc": "2.0", "error": {
            "code": code, "message": self.0.detail, "data": self.document(asked)}})
    }
}

impl From<CallError> for Problem {
    fn from(error: CallError) -> Self {
        let detail = error.to_string();
        let unavailable = error.unavailable().unwrap_or_default();
        match error {
            CallError::UnknownTool { server, tool, available, .. } => {
                about(ProblemCode::UnknownTool, detail, server, tool).with("available", available)
            }
            CallError::MalformedArguments { tool, .. } => {
                Self::new(ProblemCode::MalformedJson, detail).with("tool", tool)
            }
            CallError::InvalidArguments { server, tool, errors } => {
                let errors: Vec<Value> = errors.iter().map(|error| json!(error)).collect();
                about(ProblemCode::InvalidArguments, detail, server, tool).with("errors", errors)
            }
            CallError::Panicked { server, tool } => about(ProblemCode::PluginPanicked, detail, server, tool),
            CallError::BadResult { server, tool } | CallError::Lost { server, tool } => {
                about(ProblemCode::BadPluginResult, detail, server, tool)
            }
            CallError::TimedOut { server, tool, limit } => {
                let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
                about(ProblemCode::ToolTimeout, detail, server, tool).with("timeout_ms", limit)
            }
            CallError::Unavailable { .. } => {
                Self::new(ProblemCode::PluginUnavailable, detail).with_all(unavailable).retry_after(2)
            }
            CallError::Quarantined { why, .. } => Self::new(ProblemCode::PluginUnavailable, detail)
                .with_all(unavailable)
                .retry_after(why.retry_in_seconds()),
            CallError::Protocol { code, data, .. } => {
                let kind = match code {
                    -32602 => ProblemCode::InvalidArguments,
                    // The call needs the client's input, and a plain HTTP client cannot be asked.
                    -32021 => ProblemCode::ClientInputRequired,
                    _ => ProblemCode::PluginError,
                };
                let problem = Self::new(kind, detail).with("rpc_code", code);
                match data {
                    Some(data) => problem.with("data", data),
                    None => problem,
                }
            }
        }
    }
}

fn about(code: ProblemCode, detail: String, server: String, tool: String) -> Problem {
    Problem::new(code, detail).with("server", server).with("tool", tool)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Request;

    use super::*;
    use crate::{
        load::{Fault, Quarantined},
        mount::ArgumentError,
    };

    fn asked(path: &str) -> Asked {
        let request = Request::post(path).header("x-request-id", "r1").body(Body::empty());
        Asked::of(&request.expect("the test's own request"))
    }

    fn document(error: CallError) -> String {
        Problem::from(error).document(&asked("/greet/tools/echoHai?x=1")).to_string()
    }

    #[test]
    fn a_problem_has_the_members_of_the_contract_in_order() {
        let errors = vec![ArgumentError {
            pointer: "/userName".into(),
            keyword: "type".into(),
            detail: "5 is not of type \"string\"".into(),
        }];
        let error = CallError::InvalidArguments { server: "greet".into(), tool: "echoHai".into(), errors };
        insta::assert_snapshot!(document(error), @r#"{"type":"/problems/invalid_arguments","title":"Invalid arguments","status":400,"detail":"1 problem in the arguments of greet/echoHai","instance":"/greet/tools/echoHai","code":"invalid_arguments","request_id":"r1","server":"greet","tool":"echoHai","errors":[{"pointer":"/userName","keyword":"type","detail":"5 is not of type \"string\""}]}"#);
    }

    #[test]
    fn every_call_error_is_answered_with_its_own_code() {
        let (server, tool) = (|| "greet".to_owned(), || "echoHai".to_owned());
        let protocol = |code| CallError::Protocol { code, message: "no".into(), data: None };
        let all = [
            CallError::UnknownTool { server: server(), tool: tool(), near: None, available: vec![] },
            CallError::MalformedArguments { tool: tool(), detail: "x".into() },
            CallError::InvalidArguments { server: server(), tool: tool(), errors: vec![] },
            CallError::Panicked { server: server(), tool: tool() },
            CallError::BadResult { server: server(), tool: tool() },
            CallError::Lost { server: server(), tool: tool() },
            CallError::TimedOut { server: server(), tool: tool(), limit: Duration::from_secs(30) },
            CallError::Unavailable { server: server() },
            CallError::Quarantined { server: server(), why: quarantined(Duration::ZERO) },
            protocol(-32602),
            protocol(-32021),
            protocol(-32000),
        ];
        for error in all {
            let word = error.code();
            assert_eq!(Problem::from(error).code().as_str(), word);
        }
    }

    fn quarantined(retry_in: Duration) -> Quarantined {
        Quarantined { faults: 5, last: Fault::Panicked, retry_in }
    }

    #[test]
    fn a_quarantined_server_says_why_and_until_when() {
        let check = |retry_in, retry_after: &str| {
            let error = CallError::Quarantined { server: "greet".into(), why: quarantined(retry_in) };
            let gateway = crate::serve::state::tests::gateway();
            let response = Problem::from(error).answer(&gateway, &asked("/greet/tools/echoHai"));
            assert_eq!(
                (response.status().as_u16(), &response.headers()["retry-after"]),
                (503, &retry_after.parse().expect("a header"))
            );
        };
        check(Duration::from_millis(27_500), "28");
        check(Duration::from_millis(1), "1");
        check(Duration::ZERO, "1");
        let why = quarantined(Duration::from_millis(27_500));
        let error = CallError::Quarantined { server: "greet".into(), why };
        insta::assert_snapshot!(document(error), @r#"{"type":"/problems/plugin_unavailable","title":"The server is not available","status":503,"detail":"server `greet` is quarantined after 5 faults in a row, the last `plugin_panicked`; try again in 28 s","instance":"/greet/tools/echoHai","code":"plugin_unavailable","request_id":"r1","server":"greet","reason":"quarantined","faults":5,"last_fault":"plugin_panicked","retry_in_ms":27500}"#);
    }

    #[test]
    fn headers_and_status_come_with_the_problem() {
        let gateway = crate::serve::state::tests::gateway();
        let response = Problem::from(CallError::Unavailable { server: "greet".into() })
            .answer(&gateway, &asked("/greet/tools/echoHai"));
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "2");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
    }
}
