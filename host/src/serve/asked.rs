//! What an answer has to repeat of its request.

use std::sync::Arc;

use axum::extract::Request;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use uuid::Uuid;

/// The header that carries the id, in both directions.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id under which logs, problems and answers speak of a request. In the extensions of every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// The client's own id if it is harmless in a log, else a new one that sorts by time.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let good = |id: &str| {
            (1..=64).contains(&id.len())
                && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        let own = headers.get(X_REQUEST_ID).and_then(|id| id.to_str().ok()).filter(|id| good(id));
        Self(own.map_or_else(|| Uuid::now_v7().to_string().into(), Arc::from))
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).expect("`of` lets only letters, digits, `.`, `_` and `-` through")
    }
}

/// What an answer has to repeat of its request.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) request_id: RequestId,
    pub(super) method: Method,
    pub(super) uri: Uri,
}

impl Asked {
    /// Taken before the request is given away.
    pub(super) fn of(request: &Request) -> Self {
        let given = request.extensions().get::<RequestId>().cloned();
        Self {
            request_id: given.unwrap_or_else(|| RequestId::of(request.headers())),
            method: request.method().clone(),
            uri: request.uri().clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(inbound: &str, taken: bool) {
        let headers = HeaderMap::from_iter([(X_REQUEST_ID, HeaderValue::from_str(inbound).expect("ASCII"))]);
        let id = RequestId::of(&headers);
        assert_eq!(id.as_str() == inbound, taken, "{inbound}");
        assert_eq!(id.header(), id.as_str());
    }

    #[test]
    fn only_harmless_ids_are_taken_from_outside() {
        check("build-7.step_2", true);
        check(&"a".repeat(64), true);
        check(&"a".repeat(65), false);
        check("", false);
        check("a b", false);
        check("a\"b", false);
        assert_ne!(RequestId::of(&HeaderMap::new()), RequestId::of(&HeaderMap::new()));
    }
}
