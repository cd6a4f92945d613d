//! Tests of `refusal`.
use axum::body::to_bytes;
use http::HeaderName;
use serde_json::{Value, json};

use super::*;

async fn polished(status: u16, media_type: Option<&'static str>, body: &'static str) -> (u16, Value) {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    if let Some(media_type) = media_type {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    }
    let id = Some(MessageId::Number(4));
    let named = (HeaderName::from_static("x-request-id"), HeaderValue::from_static("r-1"));
    let request_id = RequestId::of(&[named].into_iter().collect());
    let response = polish(response, id, &request_id).await;
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), 10_000).await.expect("a whole body");
    (status, serde_json::from_slice(&body).unwrap_or_else(|_| json!(String::from_utf8_lossy(&body))))
}

#[tokio::test]
async fn plain_text_errors_leave_as_json_rpc() {
    let (status, answer) = polished(404, None, "Not Found: Session not found").await;
    assert_eq!((status, &answer["error"]["code"], &answer["id"]), (404, &json!(-32600), &json!(4)));

    let lost = "Encounter an error when get session: Session error: Session service terminated";
    assert_eq!(polished(500, None, lost).await.0, 404);

    let (status, answer) = polished(400, None, "Bad Request: Session ID is required").await;
    assert_eq!((status, &answer["error"]["message"]), (400, &json!("Session ID is required")));

    let (status, answer) = polished(415, None, "fail to deserialize request body").await;
    assert_eq!((status, &answer["error"]["code"]), (400, &json!(-32600)));

    let (status, answer) = polished(500, None, "Encounter an error when x: /secret").await;
    let text = json!("the gateway could not answer (request r-1)");
    assert_eq!((status, &answer["error"]["message"]), (500, &text));
    assert_eq!(answer["error"]["code"], -32603);
}

#[tokio::test]
async fn json_and_streams_pass_untouched() {
    let error = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"x"}}"#;
    let (status, answer) = polished(404, Some("application/json"), error).await;
    assert_eq!((status, &answer["error"]["code"]), (404, &json!(-32601)));
    let (status, answer) = polished(200, Some("text/event-stream"), "data: {}\n\n").await;
    assert_eq!((status, answer), (200, json!("data: {}\n\n")));
}
