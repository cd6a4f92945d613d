//! Requests that this gateway and a proxy before it may read differently: where one ends and the next begins, and whom it
//! is for. hyper refuses most of them before they are requests; what it takes is refused here.

use http::{HeaderMap, Uri, header};

/// Why a request is refused as ambiguous: 400, and the connection ends with it. `None`: it can be read in one way only.
pub(super) fn is_ambiguous(uri: &Uri, headers: &HeaderMap) -> Option<&'static str> {
    let mut encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(encoding) = encodings.next() {
        // hyper takes every list that ends in `chunked`; who before it does not know what comes first looks for a length.
        let is_chunked = encoding.as_bytes().eq_ignore_ascii_case(b"chunked");
        if !is_chunked || encodings.next().is_some() {
            return Some("its `transfer-encoding` is not `chunked` alone");
        }
        // hyper takes the length out before anybody sees it, and closes after the answer. Should it ever leave it in, this holds.
        if headers.contains_key(header::CONTENT_LENGTH) {
            return Some("it has both `transfer-encoding` and `content-length`");
        }
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    let (host, other) = (hosts.next(), hosts.next());
    if other.is_some() {
        return Some("it names more than one host");
    }
    let named = uri.authority().map(|authority| authority.as_str().as_bytes());
    let differs = |named: &[u8]| host.is_some_and(|host| !host.as_bytes().eq_ignore_ascii_case(named));
    named.is_some_and(differs).then_some("its target names another host than its `host`")
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn a_length_beside_an_encoding_is_ambiguous_wherever_it_comes_from() {
        let both = Request::post("/")
            .header(header::TRANSFER_ENCODING, "chunked")
            .header(header::CONTENT_LENGTH, "4");
        let (parts, ()) = both.body(()).expect("a request").into_parts();
        assert_eq!(
            is_ambiguous(&parts.uri, &parts.headers),
            Some("it has both `transfer-encoding` and `content-length`")
        );
    }
}
