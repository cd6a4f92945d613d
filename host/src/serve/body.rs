//! Request bodies: read whole, up to a size and within a time. And the answers that are JSON.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{body::Body, response::Response};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, header};
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::problem::Problem;
use crate::mount::ProblemCode;

/// How much of a body that is too large is taken off the client's hands, and for how long.
const DISCARD_MAX: usize = 16 << 20;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(3);

/// How much of a body is read, and for how long.
#[derive(Debug, Clone)]
pub(super) struct BodyLimit {
    /// In bytes.
    pub(super) max: usize,
    pub(super) timeout: Duration,
    pub(super) arriving: Arc<Arriving>,
}

/// What has arrived of bodies that are not whole yet. A client may send all of a body but its last byte and wait, on as many
/// connections as there may be.
#[derive(Debug, Default)]
pub(super) struct Arriving(AtomicUsize);

/// The least that may arrive at once, in bytes; with larger bodies, as much as 64 of them.
const ARRIVING_MAX: usize = 256 << 20;

/// What one body has of that.
struct Share<'a> {
    arriving: &'a Arriving,
    bytes: usize,
}

impl Share<'_> {
    /// Whether there is room for so much more.
    fn grow(&mut self, bytes: usize, max: usize) -> bool {
        self.bytes += bytes;
        self.arriving.0.fetch_add(bytes, Relaxed) + bytes <= ARRIVING_MAX.max(max.saturating_mul(64))
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.arriving.0.fetch_sub(self.bytes, Relaxed);
    }
}

/// Reads `body`, up to its limit.
pub(super) async fn read(headers: &HeaderMap, mut body: Body, limit: BodyLimit) -> Result<Bytes, Problem> {
    let BodyLimit { max, timeout: longest, arriving } = limit;
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if declared.is_some_and(|length: u64| length > max as u64) {
        // A client that waits for leave to send has sent nothing; to read would be to give it leave.
        if !headers.contains_key(header::EXPECT) {
            discard(&mut body).await;
        }
        return Err(too_large(max));
    }
    match timeout(longest, whole(&mut body, max, &arriving)).await {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(Stopped::TooLarge)) => {
            discard(&mut body).await;
            Err(too_large(max))
        }
        Ok(Err(Stopped::NoRoom)) => {
            let detail = "as much of other requests is arriving as the gateway has room for";
            Err(closing(Problem::new(ProblemCode::Overloaded, detail).retry_after(1)))
        }
        Ok(Err(Stopped::Broken)) => {
            let detail = "the body ended before it was complete";
            Err(closing(Problem::new(ProblemCode::IncompleteBody, detail)))
        }
        Err(_) => {
            let detail = format!("the body did not arrive within {longest:?}");
            Err(closing(Problem::new(ProblemCode::BodyTimeout, detail)))
        }
    }
}

/// Why a body is not read to its end.
enum Stopped {
    TooLarge,
    NoRoom,
    Broken,
}

async fn whole(body: &mut Body, max: usize, arriving: &Arriving) -> Result<Bytes, Stopped> {
    let mut share = Share { arriving, bytes: 0 };
    let (mut first, mut more) = (None, BytesMut::new());
    while let Some(frame) = body.frame().await {
        // What is no data is a trailer, which nobody reads.
        let Ok(data) = frame.map_err(|_| Stopped::Broken)?.into_data() else { continue };
        if share.bytes + data.len() > max {
            return Err(Stopped::TooLarge);
        }
        if !share.grow(data.len(), max) {
            return Err(Stopped::NoRoom);
        }
        match &first {
            // Most bodies come in one piece, which need not be copied.
            None if more.is_empty() => first = Some(data),
            _ => {
                if let Some(first) = first.take() {
                    more.extend_from_slice(&first);
                }
                more.extend_from_slice(&data);
            }
        }
    }
    Ok(first.unwrap_or_else(|| more.freeze()))
}

/// Most clients send all of a body before they look for an answer. If the connection is closed while they send,
/// they see it break, and never the answer that says why. Whether the body's end was reached; the answer is sent either way.
pub(super) async fn discard(body: &mut Body) -> bool {
    let to_the_end = async {
        let mut left = DISCARD_MAX;
        loop {
            let Some(frame) = body.frame().await else { return true };
            let Ok(frame) = frame else { return false };
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                return false;
            }
        }
    };
    timeout(DISCARD_TIMEOUT, to_the_end).await.unwrap_or(false)
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
        let arriving = Arc::new(Arriving::default());
        let limit = BodyLimit { max: 8, timeout: Duration::from_secs(60), arriving: arriving.clone() };
        let read = read(headers, body, limit).await;
        let read = read.as_ref().map(|bytes| &bytes[..]).map_err(Problem::code);
        assert_eq!(arriving.0.load(Relaxed), 0, "what is read arrives no more");
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

    #[tokio::test]
    async fn as_much_arrives_at_once_as_there_is_room_for() {
        let arriving = Arc::new(Arriving(AtomicUsize::new(ARRIVING_MAX - 4)));
        let read_so_much = async |bytes: usize| {
            let limit = BodyLimit { max: 8, timeout: Duration::from_secs(60), arriving: arriving.clone() };
            let read = read(&HeaderMap::new(), Body::from("x".repeat(bytes)), limit).await;
            read.map(|bytes| bytes.len()).map_err(|problem| problem.code())
        };
        assert_eq!(read_so_much(4).await, Ok(4));
        assert_eq!(read_so_much(5).await, Err(ProblemCode::Overloaded));
        assert_eq!(read_so_much(4).await, Ok(4), "what was refused arrives no more");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_discarded_to_its_end_if_that_is_near() {
        async fn check(body: Body, expected: bool) {
            assert_eq!(discard(&mut { body }).await, expected);
        }
        check(Body::from("123456789"), true).await;
        check(Body::from(vec![0; DISCARD_MAX]), false).await;
        check(Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>()), false).await;
        let broken = Err::<Bytes, _>(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
        check(Body::from_stream(stream::iter([broken])), false).await;
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
