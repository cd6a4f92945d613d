//! Tests of `outcome`.
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::*;
use crate::{
    load::{Fault, Quarantined},
    mount::ArgumentError,
};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

fn id() -> RequestId {
    RequestId::of(&[(X_REQUEST_ID, HeaderValue::from_static("r-1"))].into_iter().collect())
}

fn text_of(error: CallError) -> String {
    let result = of_error(error, &id()).expect("a tool result");
    assert_eq!(result.is_error, Some(true));
    assert_eq!(result.result_type, Some(ResultType::COMPLETE));
    result.content[0].as_text().expect("text").text.clone()
}

#[test]
fn bad_arguments_are_a_result_that_says_where_and_why() {
    let error = |pointer: &str, detail: &str| ArgumentError {
        pointer: pointer.into(),
        keyword: "k".into(),
        detail: detail.into(),
    };
    let errors = vec![error("", "\"name\" is a required property"), error("/times", "0 is less than 1")];
    let error = CallError::InvalidArguments { server: "greet".into(), tool: "echoHai".into(), errors };
    assert_eq!(
        text_of(error),
        "2 problems in the arguments of greet/echoHai:\n\
         - the arguments: \"name\" is a required property\n\
         - /times: 0 is less than 1"
    );
}

#[test]
fn an_unknown_tool_is_a_protocol_error_with_the_near_name() {
    let error = CallError::UnknownTool {
        server: "greet".into(),
        tool: "echohai".into(),
        near: Some("echoHai".into()),
        available: vec!["echoHai".into()],
    };
    let error = of_error(error, &id()).expect_err("a protocol error");
    assert_eq!(error.code, ErrorCode::INVALID_PARAMS);
    assert_eq!(error.message, "server `greet` has no tool `echohai`; did you mean `echoHai`?");
    assert_eq!(error.data, Some(serde_json::json!({ "available": ["echoHai"] })));
}

#[test]
fn faults_of_a_plugin_are_results_with_the_request_id() {
    let error = CallError::TimedOut { server: "s".into(), tool: "t".into(), limit: Duration::from_secs(10) };
    assert_eq!(text_of(error), "s/t did not answer within 10s (request r-1)");
    let text = text_of(CallError::Unavailable { server: "s".into() });
    assert_eq!(text, "server `s` is stopping; try again later (request r-1)");
}

#[test]
fn a_plugins_own_protocol_error_passes_as_it_is() {
    let error = CallError::Protocol { code: -32050, message: "m".into(), data: Some(1.into()) };
    let error = of_error(error, &id()).expect_err("a protocol error");
    assert_eq!((error.code.0, &*error.message, error.data), (-32050, "m", Some(1.into())));
}

#[test]
fn a_quarantine_is_told_in_words_and_where_there_is_room_in_data() {
    let error = || {
        let retry_in = Duration::from_millis(1500);
        let why = Quarantined { faults: 5, last: Fault::TimedOut, retry_in };
        CallError::Quarantined { server: "s".into(), why }
    };
    let text = "server `s` is quarantined after 5 faults in a row, the last `tool_timeout`; try again in 2 s \
                (request r-1)";
    assert_eq!(text_of(error()), text);
    let error = of_method::<Value>(Err(error()), "prompts/get", &id()).expect_err("a protocol error");
    assert_eq!((error.code, &*error.message), (ErrorCode::INTERNAL_ERROR, text));
    let data = serde_json::json!({ "server": "s", "reason": "quarantined", "faults": 5,
        "last_fault": "tool_timeout", "retry_in_ms": 1500 });
    assert_eq!(error.data, Some(data));
}
