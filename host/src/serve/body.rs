//! Request bodies: read whole, up to a size and within a time. And the answers that are JSON.

use std::{error::Error, time::Duration};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use super::problem::Problem;
use crate::mount::ProblemCode;

/// How long a client may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// How much of a body that is too large is taken off the client's hands, and for how long.
const DISCARD_MAX: usize = 16 << 20;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(3);

/// Reads `body`, at most `max` bytes of it.
pub(super) async fn read(headers: &HeaderMap, mut body: Body, max: usize) -> Result<Bytes, Problem> {
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if declared.is_some_and(|length: u64| length > max as u64) {
        // A client that waits for leave to send has sent nothing; to read would be to give it leave.
        if !headers.contains_key(header::EXPECT) {
            discard(&mut body).await;
        }
        return Err(too_large(max));
    }
    match timeout(BODY_TIMEOUT, Limited::new(&mut body, max).collect()).await {
        Ok(Ok(read)) => Ok(read.to_bytes()),
        Ok(Err(error)) if is_over_limit(&*error) => {
            discard(&mut body).await;
            Err(too_large(max))
        }
        Ok(Err(_)) => Err(Problem::new(ProblemCode::IncompleteBody, "the body ended before it was complete")),
        Err(_) => {
            let detail = format!("the body did not arrive within {BODY_TIMEOUT:?}");
            Err(closing(Problem::new(ProblemCode::BodyTimeout, detail)))
        }
    }
}

/// Most clients send all of a body before they look for an answer. If the connection is closed while they send,
/// they see it break, and never the answer that says why.
async fn discard(body: &mut Body) {
    let to_the_end = async {
        let mut left = DISCARD_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                return;
            }
        }
    };
    // However far it came: the answer is sent next.
    let _ = timeout(DISCARD_TIMEOUT, to_the_end).await;
}

fn is_over_limit(error: &(dyn Error + 'static)) -> bool {
    // `*`, because a reference to an error is an error too, but one that lives shorter.
    let mut causes = std::iter::successors(Some(error), |&error| (*error).source());
    causes.any(|error| error.is::<LengthLimitError>())
}

fn too_large(max: usize) -> Problem {
    let detail = format!("the body is larger than {max} bytes");
    closing(Problem::new(ProblemCode::PayloadTooLarge, detail).with("max_bytes", max))
}

/// More of the body may be to come; nobody will read it, so the connection cannot be used again.
fn closing(problem: Problem) -> Problem {
    problem.header(header::CONNECTION, HeaderValue::from_static("close"))
}

/// Checks that a body may be JSON text, before it is read.
pub(super) fn check_is_json(headers: &HeaderMap) -> Result<(), Problem> {
    let media_type = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("(not text)"));
    let essence = media_type.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    let encoding = headers.get(header::CONTENT_ENCODING).filter(|encoding| *encoding != "identity");
    let detail = match (media_type, encoding) {
        (_, Some(_)) => "the body is encoded; send it without `content-encoding`".to_owned(),
        _ if essence.eq_ignore_ascii_case("application/json") => return Ok(()),
        (None, _) => "the request has no content-type; send `content-type: application/json`".to_owned(),
        _ => {
            let essence: String = essence.chars().take(100).collect();
            format!("the body is `{essence}`; send `content-type: application/json`")
        }
    };
    Err(Problem::new(ProblemCode::UnsupportedMediaType, detail)
        .header(header::ACCEPT, HeaderValue::from_static("application/json")))
}

/// An answer of JSON text.
pub(super) fn json(body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    async fn check(headers: &HeaderMap, body: Body, expected: Result<&str, ProblemCode>) {
        let read = read(headers, body, 8).await;
        let read = read.as_ref().map(|bytes| &bytes[..]).map_err(Problem::code);
        assert_eq!(read, expected.map(str::as_bytes));
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit() {
        let none = HeaderMap::new();
        check(&none, Body::from("12345678"), Ok("12345678")).await;
        check(&none, Body::from("123456789"), Err(ProblemCode::PayloadTooLarge)).await;
        let parts = ["12345", "6789"].map(Ok::<_, std::io::Error>);
        check(&none, Body::from_stream(stream::iter(parts)), Err(ProblemCode::PayloadTooLarge)).await;
        let broken = Err::<Bytes, _>(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
        check(&none, Body::from_stream(stream::iter([broken])), Err(ProblemCode::IncompleteBody)).await;
        let declared = HeaderMap::from_iter([(header::CONTENT_LENGTH, HeaderValue::from_static("9"))]);
        check(
            &declared,
            Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>()),
            Err(ProblemCode::PayloadTooLarge),
        )
        .await;
    }

    #[test]
    fn only_plain_json_is_taken() {
        let check = |name, value, taken: bool| {
            let json = HeaderValue::from_static("application/json");
            let mut headers = HeaderMap::from_iter([(header::CONTENT_TYPE, json)]);
            headers.insert(name, HeaderValue::from_static(value));
            assert_eq!(check_is_json(&headers).is_ok(), taken, "{value}");
        };
        check(header::CONTENT_TYPE, "Application/JSON; charset=utf-8", true);
        check(header::CONTENT_TYPE, "text/plain", false);
        check(header::CONTENT_TYPE, "application/json-seq", false);
        check(header::CONTENT_ENCODING, "gzip", false);
        check(header::CONTENT_ENCODING, "identity", true);
        assert!(check_is_json(&HeaderMap::new()).is_err());
    }
}
