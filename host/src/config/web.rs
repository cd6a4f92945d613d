//! Host names and origins as browsers send them.

use std::net::IpAddr;

use http::uri::Authority;
use ipnet::IpNet;

use super::Refusal;

/// A host name, or one with a port, in lower case.
pub(super) fn parse_host(text: &str) -> Result<String, Refusal> {
    let remedy = if text.contains("://") {
        "leave out the scheme and the path, e.g. \"gateway.example.com\""
    } else if text.contains('*') {
        "write each name in full, e.g. \"gateway.example.com\""
    } else {
        "write a name or a name and a port, e.g. \"gateway.example.com:8443\""
    };
    authority(text)
        .map(|host| host.to_ascii_lowercase())
        .ok_or_else(|| Refusal::of(text, "is not a host", remedy))
}

/// `scheme://host` or `scheme://host:port`, in lower case and without a port that the scheme implies.
pub(super) fn parse_origin(text: &str) -> Result<String, Refusal> {
    let refuse = |remedy: &str| Err(Refusal::of(text, "is not an origin", remedy));
    if text.contains('*') {
        return refuse("write each origin in full, e.g. \"https://app.example.com\"");
    }
    let lower = text.to_ascii_lowercase();
    let Some((scheme @ ("http" | "https"), rest)) = lower.split_once("://") else {
        return refuse("write scheme and host, e.g. \"https://app.example.com\"");
    };
    let implied = if scheme == "https" { ":443" } else { ":80" };
    let Some(host) = authority(rest) else {
        return match rest.split_once('/') {
            Some((host, _)) if authority(host).is_some() => {
                refuse(&format!("leave out the path: \"{scheme}://{host}\""))
            }
            _ => refuse("write scheme and host, e.g. \"https://app.example.com\""),
        };
    };
    Ok(format!("{scheme}://{}", host.strip_suffix(implied).unwrap_or(host)))
}

/// An address, or a network in CIDR notation.
pub(super) fn parse_network(text: &str) -> Result<IpNet, Refusal> {
    let address = || text.parse::<IpAddr>().map(|ip| IpNet::from(ip.to_canonical())).ok();
    // Addresses are compared in their own clothes.
    let network = || text.parse().ok().filter(|network: &IpNet| !network.to_string().starts_with("::ffff:"));
    address().or_else(network).ok_or_else(|| {
        Refusal::of(text, "is not a network", "write an address or a network, e.g. \"10.0.0.0/8\"")
    })
}

/// The URL of an authorization server or of something of its: `https`, or `http` on this machine. As it is written, because
/// issuers are compared letter by letter.
pub(super) fn parse_issuer_url(text: &str) -> Result<String, Refusal> {
    let refuse = |remedy: &str| Err(Refusal::of(text, "is not the URL of an authorization server", remedy));
    let example = "write its URL as its tokens name it, e.g. \"https://login.example.com/realms/main\"";
    let Some((scheme @ ("http" | "https"), rest)) = text.split_once("://") else { return refuse(example) };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority(host).is_none() || rest.contains(['?', '#']) || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return refuse(example);
    }
    if scheme == "http" && !is_on_this_machine(host) {
        return refuse("use https: keys that come in the clear can be anybody's");
    }
    Ok(text.to_owned())
}

fn is_on_this_machine(host: &str) -> bool {
    let parsed: Option<Authority> = host.parse().ok();
    let name = parsed.as_ref().map(|authority| authority.host().trim_matches(['[', ']'])).unwrap_or_default();
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// `text` if it is a host, with or without a port, and nothing else.
fn authority(text: &str) -> Option<&str> {
    let parsed: Authority = text.parse().ok()?;
    let host = parsed.host();
    let inside = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let is_address = host.starts_with('[') && host.ends_with(']');
    let is_name = !host.is_empty() && host.chars().all(inside);
    let port = text.strip_prefix(host)?;
    let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    ((is_name || is_address) && is_port).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(found: Result<String, Refusal>, expected: Result<&str, &str>) {
        let found = found.map_err(|refusal| refusal.to_string());
        assert_eq!(found.as_deref().map_err(String::as_str), expected);
    }

    #[test]
    fn a_host_is_a_name_with_or_without_a_port() {
        check(parse_host("Gateway.example.com"), Ok("gateway.example.com"));
        check(parse_host("box:8443"), Ok("box:8443"));
        check(parse_host("[::1]:80"), Ok("[::1]:80"));
        let remedy = "write a name or a name and a port, e.g. \"gateway.example.com:8443\"";
        for bad in ["", "a b", "a/b", "me@box", "box:", "box:99999", "::1", "é.example"] {
            check(parse_host(bad), Err(&format!("`{bad}` is not a host; {remedy}")));
        }
        check(
            parse_host("https://box"),
            Err(
                "`https://box` is not a host; leave out the scheme and the path, e.g. \"gateway.example.com\"",
            ),
        );
        check(
            parse_host("*.example.com"),
            Err("`*.example.com` is not a host; write each name in full, e.g. \"gateway.example.com\""),
        );
    }

    #[test]
    fn an_authorization_server_is_reached_by_https_or_on_this_machine() {
        for good in [
            "https://login.example.com",
            "https://x.example/realms/Main/",
            "http://127.0.0.1:9000/a",
            "http://[::1]:1",
        ] {
            check(parse_issuer_url(good), Ok(good));
        }
        let what = "is not the URL of an authorization server";
        let remedy = "write its URL as its tokens name it, e.g. \"https://login.example.com/realms/main\"";
        for bad in [
            "",
            "login.example.com",
            "ftp://x.example",
            "https://x.example/a?b",
            "https://u@x.example",
            "https:///a",
        ] {
            check(parse_issuer_url(bad), Err(&format!("`{bad}` {what}; {remedy}")));
        }
        let remedy = "use https: keys that come in the clear can be anybody's";
        check(parse_issuer_url("http://x.example"), Err(&format!("`http://x.example` {what}; {remedy}")));
    }

    #[test]
    fn a_network_is_an_address_with_or_without_a_length() {
        let check = |text, expected: Result<&str, String>| {
            let expected = expected.as_ref().map(|text| *text).map_err(String::as_str);
            check(parse_network(text).map(|network| network.to_string()), expected);
        };
        check("10.0.0.0/8", Ok("10.0.0.0/8"));
        check("192.0.2.7", Ok("192.0.2.7/32"));
        check("::1", Ok("::1/128"));
        check("::ffff:192.0.2.7", Ok("192.0.2.7/32"));
        let remedy = "write an address or a network, e.g. \"10.0.0.0/8\"";
        for bad in ["proxy", "10.0.0.0/33", "", "::ffff:10.0.0.0/104"] {
            check(bad, Err(format!("`{bad}` is not a network; {remedy}")));
        }
    }

    #[test]
    fn an_origin_is_a_scheme_and_a_host() {
        check(parse_origin("https://App.example.com"), Ok("https://app.example.com"));
        check(parse_origin("https://app.example.com:443"), Ok("https://app.example.com"));
        check(parse_origin("http://localhost:5173"), Ok("http://localhost:5173"));
        let remedy = "write scheme and host, e.g. \"https://app.example.com\"";
        for bad in ["", "null", "app.example.com", "ftp://box", "https://", "https://me@box"] {
            check(parse_origin(bad), Err(&format!("`{bad}` is not an origin; {remedy}")));
        }
        check(
            parse_origin("https://box/app"),
            Err("`https://box/app` is not an origin; leave out the path: \"https://box\""),
        );
        check(
            parse_origin("https://*.example.com"),
            Err("`https://*.example.com` is not an origin; write each origin in full, e.g. \
                 \"https://app.example.com\""),
        );
    }
}
