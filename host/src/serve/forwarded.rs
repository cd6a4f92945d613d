//! Who is at the other end of a connection that a proxy made: the address and the scheme of the client before it.
//!
//! In:   the peer's address, the headers, and the networks of proxies that are believed.
//! Out:  the client's address: the peer's own unless that is trusted. Its scheme: only if a trusted peer tells.
//! Never: believes what somebody else than a trusted proxy has written.
//!
//! Every proxy adds the address it was called from at the end, so the headers are read from the right: each entry was written
//! by the one that the entry after it names, the last by the peer. The first that is not a trusted proxy is the client;
//! what stands left of it is the client's own tale. What cannot be read ends the walk as well: the proxy that wrote it is then
//! the client, which is too little, but nothing that a client could choose.
//!
//! Of `X-Forwarded-For` and `Forwarded` (RFC 7239) one only is read, the former if both are there: a proxy that writes
//! one of them lets the other through as the client sent it. Hence the danger: a proxy that writes `Forwarded` has to remove
//! `X-Forwarded-For` (and `X-Forwarded-Proto`), or clients choose their address. Most proxies write `X-Forwarded-For`.
//! It is also a danger to trust a network in which there are clients: they, too, are believed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::{HeaderMap, HeaderName, header, uri::Scheme};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// One element of `Forwarded`.
struct Hop<'a> {
    from: Option<&'a str>,
    proto: Option<&'a str>,
}

/// The address of the client, of which the one at `peer` may be a trusted proxy. Never an IPv4 address in IPv6's clothes.
pub(super) fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let mut client = peer.to_canonical();
    if !is_trusted(client, trusted) {
        return client;
    }
    let mut step = |from: Option<IpAddr>| {
        client = from?;
        is_trusted(client, trusted).then_some(())
    };
    // Each ends at the client, or at what cannot be read.
    if headers.contains_key(X_FORWARDED_FOR) {
        let _ = entries(headers, &X_FORWARDED_FOR).try_for_each(|entry| step(text(entry).and_then(node)));
    } else {
        let _ = hops(headers).try_for_each(|hop| step(hop?.from.and_then(node)));
    }
    client
}

/// The scheme by which the client came, if a trusted proxy at `peer` tells.
pub(super) fn forwarded_proto(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Option<Scheme> {
    if !is_trusted(peer.to_canonical(), trusted) {
        return None;
    }
    if headers.contains_key(X_FORWARDED_PROTO) {
        // Only the last is certain to be of the peer: the one before may be the client's, who was let through by it.
        return scheme(text(entries(headers, &X_FORWARDED_PROTO).next()?)?);
    }
    // In an element of `Forwarded` both are of the same hand, so that the scheme can be had of the proxy that the client
    // came to.
    let mut proto = None;
    let _ = hops(headers).try_for_each(|hop| {
        let hop = hop?;
        proto = hop.proto.and_then(scheme);
        is_trusted(hop.from.and_then(node)?, trusted).then_some(())
    });
    proto
}

fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|network| network.contains(&address))
}

/// The entries of all lines of a header, from the last to the first. Bytes: a client may put anything before what its proxy
/// adds, and is not to make that unreadable.
fn entries<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(name).iter().rev().flat_map(|line| unquoted_rsplit(line.as_bytes(), b','))
}

/// The elements of `Forwarded`, from the last to the first. `None`: one that cannot be read.
fn hops(headers: &HeaderMap) -> impl Iterator<Item = Option<Hop<'_>>> {
    entries(headers, &header::FORWARDED).map(Hop::parse)
}

/// The parts of `line` from the last to the first, split at each `separator` that is not in a quoted string. From the right,
/// so that a quote which a client leaves open does not swallow what its proxy adds.
fn unquoted_rsplit(line: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let text = rest?;
        let mut is_quoted = false;
        for (at, byte) in text.iter().enumerate().rev() {
            if *byte == b'"' && !is_escaped_after(&text[..at]) {
                is_quoted = !is_quoted;
            } else if *byte == separator && !is_quoted {
                rest = Some(&text[..at]);
                return Some(&text[at + 1..]);
            }
        }
        rest = None;
        Some(text)
    })
}

fn is_escaped_after(before: &[u8]) -> bool {
    before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

fn text(entry: &[u8]) -> Option<&str> {
    Some(std::str::from_utf8(entry).ok()?.trim())
}

impl<'a> Hop<'a> {
    /// `None`: it is not well-formed, or says something twice.
    fn parse(element: &'a [u8]) -> Option<Self> {
        let mut hop = Self { from: None, proto: None };
        for pair in unquoted_rsplit(element, b';') {
            let pair = text(pair)?;
            if pair.is_empty() {
                continue;
            }
            let (name, value) = pair.split_once('=')?;
            let place = match name {
                _ if name.eq_ignore_ascii_case("for") => &mut hop.from,
                _ if name.eq_ignore_ascii_case("proto") => &mut hop.proto,
                _ => continue,
            };
            if place.replace(unquoted(value)?).is_some() {
                return None;
            }
        }
        Some(hop)
    }
}

/// A value without its quotes. None that we look for has anything to escape.
fn unquoted(value: &str) -> Option<&str> {
    let value = match value.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"')?,
        None => value,
    };
    (!value.contains(['"', '\\'])).then_some(value)
}

/// The address in the `node` of RFC 7239 section 6, or in an entry of `X-Forwarded-For`, where IPv6 mostly has no brackets.
/// `None` for `unknown`, for names like `_hidden`, and for what is neither.
fn node(text: &str) -> Option<IpAddr> {
    let (address, port) = if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        (IpAddr::V6(address.parse::<Ipv6Addr>().ok()?), port)
    } else if text.matches(':').count() == 1 {
        let (address, port) = text.split_at(text.find(':')?);
        (IpAddr::V4(address.parse::<Ipv4Addr>().ok()?), port)
    } else {
        (text.parse().ok()?, "")
    };
    let is_port = |port: &str| {
        port.parse::<u16>().is_ok()
            || port.strip_prefix('_').is_some_and(|name| {
                !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
            })
    };
    (port.is_empty() || port.strip_prefix(':').is_some_and(is_port)).then(|| address.to_canonical())
}

fn scheme(text: &str) -> Option<Scheme> {
    [Scheme::HTTPS, Scheme::HTTP].into_iter().find(|known| text.eq_ignore_ascii_case(known.as_str()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// Header lines, each `name: value`.
    fn headers(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(": ").expect("the test's own header");
            let name: HeaderName = name.parse().expect("the test's own name");
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("the test's own value"));
        }
        headers
    }

    fn trusted() -> Vec<IpNet> {
        ["10.0.0.0/8", "2001:db8:f::/48"].map(|net| net.parse().expect("the test's own network")).into()
    }

    fn check_from(peer: &str, lines: &[&str], expected: &str) {
        let peer = peer.parse().expect("the test's own address");
        let client = client_address(peer, &headers(lines), &trusted());
        assert_eq!(client.to_string(), expected, "{peer} {lines:?}");
    }

    /// What a proxy at 10.0.0.1 says.
    fn check(lines: &[&str], expected: &str) {
        check_from("10.0.0.1", lines, expected);
    }

    fn check_proto(peer: &str, lines: &[&str], expected: Option<&str>) {
        let peer = peer.parse().expect("the test's own address");
        let scheme = forwarded_proto(peer, &headers(lines), &trusted());
        assert_eq!(scheme.as_ref().map(Scheme::as_str), expected, "{peer} {lines:?}");
    }

    #[test]
    fn nobody_but_a_trusted_peer_is_believed() {
        for lines in [&["x-forwarded-for: 192.0.2.1"], &["forwarded: for=192.0.2.1"]] {
            check_from("203.0.113.9", lines, "203.0.113.9");
            check_from("2001:db8::9", lines, "2001:db8::9");
            check_from("::ffff:203.0.113.9", lines, "203.0.113.9");
            check_from("10.0.0.1", lines, "192.0.2.1");
            check_from("::ffff:10.0.0.1", lines, "192.0.2.1");
            check_from("2001:db8:f::1", lines, "192.0.2.1");
        }
        check(&[], "10.0.0.1");
        let everybody = headers(&["x-forwarded-for: 192.0.2.1"]);
        assert_eq!(client_address([10, 0, 0, 1].into(), &everybody, &[]).to_string(), "10.0.0.1");
    }

    #[test]
    fn the_first_from_the_right_that_is_no_proxy_is_the_client() {
        check(&["x-forwarded-for: 192.0.2.1, 10.0.0.3, 10.0.0.2"], "192.0.2.1");
        check(&["x-forwarded-for: 192.0.2.1", "x-forwarded-for: 10.0.0.3,10.0.0.2"], "192.0.2.1");
        check(&["forwarded: for=192.0.2.1, for=10.0.0.3", "forwarded: for=10.0.0.2"], "192.0.2.1");
        // Nobody but proxies: the farthest.
        check(&["x-forwarded-for: 10.0.0.3, 10.0.0.2"], "10.0.0.3");
    }

    #[test]
    fn what_a_client_writes_itself_is_left_of_what_is_read() {
        // It says that it is somebody else, a proxy, or many.
        check(&["x-forwarded-for: 192.0.2.66, 203.0.113.9"], "203.0.113.9");
        check(&["x-forwarded-for: 10.9.9.9, 203.0.113.9, 10.0.0.2"], "203.0.113.9");
        check(&["x-forwarded-for: 192.0.2.66", "x-forwarded-for: 203.0.113.9"], "203.0.113.9");
        check(&["forwarded: for=192.0.2.66, for=203.0.113.9"], "203.0.113.9");
        // It writes what cannot be read, to spoil what comes after.
        check(&["x-forwarded-for: \u{e9}\", 203.0.113.9"], "203.0.113.9");
        check(&["x-forwarded-for: ,,;\\, 203.0.113.9"], "203.0.113.9");
        check(&["forwarded: for=\"192.0.2.66, for=203.0.113.9"], "203.0.113.9");
        check(&["forwarded: for=\"192.0.2.66\\, for=203.0.113.9"], "203.0.113.9");
        check(&["forwarded: \u{e9}\", for=\"203.0.113.9:80\""], "203.0.113.9");
        check(&["forwarded: for=\"", "forwarded: for=203.0.113.9"], "203.0.113.9");
        // Its Host, which a proxy repeats in quotes, looks like another element.
        check(&[r#"forwarded: for=203.0.113.9;host="x\", for=192.0.2.66;host=\"y""#], "203.0.113.9");
        check(&[r#"forwarded: for=203.0.113.9;host="x, for=192.0.2.66;by=y""#], "203.0.113.9");
        check(&[r#"forwarded: host="for=192.0.2.66;\\";for=203.0.113.9"#], "203.0.113.9");
    }

    #[test]
    fn what_cannot_be_read_ends_at_the_last_that_could() {
        for entry in [
            "",
            "unknown",
            "_hidden",
            "unix:",
            "192.0.2",
            "192.0.2.1:port",
            "192.0.2.1:99999",
            "[::1",
            "::1]",
        ] {
            check(&[&format!("x-forwarded-for: 192.0.2.66, {entry}")], "10.0.0.1");
            check(&[&format!("x-forwarded-for: 192.0.2.66, {entry}, 10.0.0.2")], "10.0.0.2");
            check(&[&format!("forwarded: for=192.0.2.66, for=\"{entry}\", for=10.0.0.2")], "10.0.0.2");
        }
        for element in [
            "",
            "by=192.0.2.1",
            "for",
            "for=a;for=192.0.2.1",
            "for=\"192.0.2.1",
            "for=192.0.2.1\"",
            "192.0.2.1",
        ] {
            check(&[&format!("forwarded: for=192.0.2.66, {element}")], "10.0.0.1");
        }
        check(&[r#"forwarded: for="192.0.2.\1""#], "10.0.0.1");
    }

    #[test]
    fn every_form_of_an_address_is_read() {
        for (entry, expected) in [
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1:4711", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("[::ffff:192.0.2.1]:80", "192.0.2.1"),
            ("192.0.2.1:_http-a.b", "192.0.2.1"),
        ] {
            check(&[&format!("x-forwarded-for:   {entry} ")], expected);
            check(&[&format!("forwarded: proto=https;For=\"{entry}\";by=_x; ")], expected);
            // Not as the RFC has it, but seen.
            check(&[&format!("forwarded: by=_x; FOR={entry}")], expected);
        }
    }

    #[test]
    fn of_both_headers_x_forwarded_for_is_read() {
        check(&["forwarded: for=192.0.2.66", "x-forwarded-for: 203.0.113.9"], "203.0.113.9");
        // Also if it says nothing: what it leaves open is not for the other to fill.
        check(&["forwarded: for=192.0.2.66", "x-forwarded-for: unknown"], "10.0.0.1");
        check(&["forwarded: for=192.0.2.66", "x-forwarded-for: 10.0.0.2"], "10.0.0.2");
    }

    #[test]
    fn only_a_trusted_peer_tells_the_scheme() {
        for lines in [&["x-forwarded-proto: https"], &["forwarded: for=192.0.2.1;proto=HTTPS"]] {
            check_proto("10.0.0.1", lines, Some("https"));
            check_proto("::ffff:10.0.0.1", lines, Some("https"));
            check_proto("203.0.113.9", lines, None);
        }
        check_proto("10.0.0.1", &[], None);
        check_proto("10.0.0.1", &["x-forwarded-proto: http"], Some("http"));
        check_proto("10.0.0.1", &["x-forwarded-proto: ftp"], None);
        check_proto("10.0.0.1", &["forwarded: for=192.0.2.1"], None);
    }

    #[test]
    fn the_scheme_is_the_one_that_a_trusted_proxy_wrote() {
        check_proto("10.0.0.1", &["x-forwarded-proto: https, http"], Some("http"));
        check_proto("10.0.0.1", &["x-forwarded-proto: https", "x-forwarded-proto: http"], Some("http"));
        check_proto("10.0.0.1", &["x-forwarded-proto: \u{e9}, http"], Some("http"));
        check_proto("10.0.0.1", &["x-forwarded-proto: ", "forwarded: proto=https"], None);
        // By `Forwarded` it is known which proxy the client came to.
        let chain =
            "forwarded: for=192.0.2.66;proto=http, for=203.0.113.9;proto=https, for=10.0.0.2;proto=http";
        check_proto("10.0.0.1", &[chain], Some("https"));
        check_proto("10.0.0.1", &["forwarded: proto=http, for=_hidden;proto=\"https\""], Some("https"));
        check_proto("10.0.0.1", &["forwarded: proto=https, for=192.0.2.1"], None);
        check_proto("10.0.0.1", &["forwarded: proto=https, proto=\"htt"], None);
    }
}
