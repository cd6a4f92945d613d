//! What every problem document has to be, wherever it comes from.

use http::{Request, header};
use serde_json::Value;
use tests::{Answer, Gateway};

/// Sends a request that has to fail, checks all that every problem document promises, and shows it.
pub(crate) async fn problem(gateway: &Gateway, request: Request<String>) -> String {
    let path = request.uri().path().to_owned();
    let answer = gateway.send(request).await.expect("an answer");
    check(gateway, &path, &answer).await
}

/// [`problem`] for `POST path` with a JSON body.
pub(crate) async fn problem_of_call(gateway: &Gateway, path: &str, arguments: &str) -> String {
    problem(gateway, call(path, arguments)).await
}

/// `POST path` with a JSON body, as a request that can still be changed.
pub(crate) fn call(path: &str, arguments: &str) -> Request<String> {
    let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
    request.body(arguments.to_owned()).expect("a request")
}

/// Checks and shows the answer to a request for `path`: status, code and title; the text about this case; and the
/// members that only this kind of problem has.
pub(crate) async fn check(gateway: &Gateway, path: &str, answer: &Answer) -> String {
    let Value::Object(mut document) = answer.json() else { panic!("no object: {answer:?}") };
    let mut take =
        |name: &str| document.shift_remove(name).unwrap_or_else(|| panic!("no {name}: {answer:?}"));
    let kind = ["type", "code", "status", "title"].map(&mut take);
    let [address, code, status, title] = &kind;
    assert_eq!(answer.headers[header::CONTENT_TYPE], "application/problem+json");
    assert_eq!(*status, answer.status.as_u16());
    assert_eq!(take("instance"), path);
    assert_eq!(answer.headers["x-request-id"], text(&take("request_id")));

    let page = gateway.get(text(address)).await;
    assert_eq!(page.status.as_u16(), 200, "{address}");
    assert_eq!(["type", "code", "status", "title"].map(|member| page.json()[member].clone()), kind);

    let detail = take("detail");
    let own: String = document.iter().map(|(name, value)| format!("\n{name}: {value}")).collect();
    format!("{status} {}: {}\n{}{own}", text(code), text(title), text(&detail))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}
