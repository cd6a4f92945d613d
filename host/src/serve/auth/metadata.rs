//! OAuth 2.0 Protected Resource Metadata (RFC 9728): where a client that has been refused learns who issues tokens.
//!
//! In:   the path after `/.well-known/oauth-protected-resource`.
//! Out:  the document of a server that takes tokens, or of the gateway itself if one does; to everybody, of any origin.
//! Never: of a server that takes none: clients read a 404 there as "no OAuth".

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::Response,
};
use http::{HeaderValue, header};
use serde_json::json;

use super::{Authority, Resource};
use crate::{
    mount::ProblemCode,
    serve::{Gateway, asked::Asked, body, problem::Problem},
};

/// RFC 9728 section 3.
pub(in crate::serve) const PATH: &str = "/.well-known/oauth-protected-resource";

/// Where the metadata of `resource` is.
pub(super) fn url(base: &str, resource: Resource<'_>) -> String {
    format!("{base}{PATH}{}{}", resource.prefix, resource.endpoint)
}

/// `GET /.well-known/oauth-protected-resource[/<prefix>[/mcp]]`.
pub(in crate::serve) async fn metadata(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let asked = Asked::of(&request);
    let path = asked.uri.path().strip_prefix(PATH).unwrap_or_default();
    match document(&gateway, path) {
        Some(document) => {
            let mut response = body::json(document.to_string());
            let headers = response.headers_mut();
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
            response
        }
        None => Problem::new(ProblemCode::UnknownPath, "nothing there takes tokens").answer(&gateway, &asked),
    }
}

fn document(gateway: &Gateway, path: &str) -> Option<serde_json::Value> {
    let served = gateway.served();
    let authority = &served.authority;
    if ["", "/"].contains(&path) {
        // There is something to find only if some server sends clients looking.
        let takes = |resource: Resource<'_>| authority.takes_tokens(resource);
        served.any_resource(takes).then_some(())?;
        return describe(authority, Resource::gateway(""), "gateway");
    }
    let (mounted, rest) = served.table.find(path)?;
    let entry = mounted.entry();
    let access = served.access(&entry.name);
    // The document is of the URL that its own is made from (RFC 9728 section 3.3).
    let endpoint = if rest == "/mcp" { rest } else { "" };
    let resource = Resource::server(&entry.prefix, endpoint, access.guard(), access.needs());
    let is_endpoint = ["", "/", "/mcp"].contains(&rest);
    (is_endpoint && authority.takes_tokens(resource))
        .then(|| describe(authority, resource, entry.name.as_str()))?
}

fn describe(authority: &Authority, resource: Resource<'_>, name: &str) -> Option<serde_json::Value> {
    let issuers: Vec<&str> = authority.auth.issuers.iter().map(|issuer| issuer.url.as_str()).collect();
    let scopes: Vec<&str> = resource.needs.split(' ').filter(|scope| !scope.is_empty()).collect();
    Some(json!({
        "resource": format!("{}{}{}", authority.public_url.as_deref()?, resource.prefix, resource.endpoint),
        "authorization_servers": issuers,
        "scopes_supported": scopes,
        "bearer_methods_supported": ["header"],
        "resource_name": name,
    }))
}
