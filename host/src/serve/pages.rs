//! The gateway's own pages: what exists, what state it is in, what the problem codes mean.

use std::{fmt::Write, sync::Arc};

use axum::{
    body::Body,
    extract::{Path, Request, State},
    response::Response,
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::{
    Gateway, Phase, Refused, Reload,
    asked::Asked,
    body,
    caller::{Visitor, turned_away},
    html::{self, Escaped},
    negotiate::{Form, form},
    problem::Problem,
    served::Served,
    ui,
};
use crate::{
    load::milliseconds,
    mount::{Document, Failure, Mounted, ProblemCode},
};

/// The pages beside those of the documentation, in the order in which they are listed.
const PATHS: [&str; 6] = ["/", "/servers", "/openapi.json", "/docs", "/redoc", "/problems"];

/// Those that `[admin] listen` moves to a listener of its own.
pub(super) const FOR_OPERATORS: [&str; 4] = ["/healthz", "/livez", "/readyz", "/metrics"];

/// The pages of the main listener.
pub(super) fn paths(gateway: &Gateway) -> Vec<&'static str> {
    let mut paths = PATHS.to_vec();
    if !gateway.has_admin_listener() {
        let last = paths.len() - 1;
        paths.splice(last..last, FOR_OPERATORS);
    }
    paths
}

/// `GET /`: what exists, as far as whoever asks may know; to browsers the status page, if it is not on another listener.
pub(super) async fn index(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let asked = Asked::of(&request);
    let (parts, _) = request.into_parts();
    if form(&parts.headers) == Form::Html && !gateway.has_admin_listener() {
        // It holds nothing, so nobody is asked; what it shows, it asks for.
        return ui::shell(&parts.headers, None);
    }
    let visitor = match Visitor::of(&gateway, &parts).await {
        Ok(visitor) => visitor,
        Err(problem) => return turned_away(&gateway, &asked, &parts, None, problem),
    };
    let (served, pages) = (visitor.served.clone(), paths(&gateway));
    let seen = seen(&served, &visitor);
    let mut response = if form(&parts.headers) == Form::Html {
        let reload = gateway.reloads().last().filter(|_| visitor.is_operator());
        html::page("gateway", &index_html(&seen, &pages, reload.as_deref()))
    } else {
        let servers: Vec<Value> =
            seen.iter().map(|mounted| server(&served, &visitor, mounted, None)).collect();
        let index = json!({
            "name": "gateway",
            "version": env!("CARGO_PKG_VERSION"),
            "servers": servers,
            "pages": pages,
        });
        body::json(index.to_string())
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    private(&mut response);
    response
}

/// The servers that `visitor` may know of, in file order.
fn seen<'a>(served: &'a Served, visitor: &Visitor) -> Vec<&'a Mounted> {
    served.table.servers.iter().filter(|mounted| visitor.sees(mounted.entry())).collect()
}

/// What one caller gets is not for the next, whatever a cache in between makes of the headers that tell them apart.
pub(super) fn private(response: &mut Response) {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
}

fn index_html(servers: &[&Mounted], pages: &[&str], reload: Option<&Reload>) -> String {
    let mut page = String::from("<h1>gateway</h1>\n<h2>Servers</h2>\n<dl>\n");
    for mounted in servers {
        let entry = mounted.entry();
        let (name, prefix) = (Escaped(entry.name.as_str()), Escaped(entry.prefix.as_str()));
        let state = match mounted.failure() {
            Some(failure) if failure.retry_in.is_some() => {
                format!("{}: {}", failure.state(), Escaped(&failure.reason))
            }
            Some(failure) => format!("failed: <code>{}</code>", failure.code),
            None => "running".into(),
        };
        // Writing into a `String` cannot fail.
        let _ = writeln!(page, "<dt><a href=\"{prefix}\">{name}</a></dt><dd>{state}</dd>");
    }
    page.push_str("</dl>\n");
    let refused: Vec<&Refused> = reload.iter().flat_map(|reload| &reload.refused).collect();
    if !refused.is_empty() {
        page.push_str("<h2>On the disk, but not served</h2>\n<ul>\n");
        for refused in refused {
            let _ = writeln!(page, "<li>{}</li>", Escaped(&refused.to_string()));
        }
        page.push_str("</ul>\n");
    }
    page.push_str("<h2>Pages</h2>\n<ul>\n");
    for path in &pages[1..] {
        let _ = writeln!(page, "<li><a href=\"{path}\">{path}</a></li>");
    }
    page.push_str("</ul>\n");
    page
}

/// `GET /servers`: every server with its state; to operators also why one does not serve, and what on the disk does not.
pub(super) async fn servers(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let asked = Asked::of(&request);
    let (parts, _) = request.into_parts();
    match Visitor::of(&gateway, &parts).await {
        Ok(visitor) => match visitor.refuse_if_blind() {
            Ok(()) => servers_told(&gateway, &visitor.served, &visitor),
            Err(problem) => turned_away(&gateway, &asked, &parts, Some(&visitor), problem),
        },
        Err(problem) => turned_away(&gateway, &asked, &parts, None, problem),
    }
}

fn servers_told(gateway: &Gateway, served: &Served, visitor: &Visitor) -> Response {
    let reload = gateway.reloads().last().filter(|_| visitor.is_operator());
    let servers = seen(served, visitor);
    let servers: Vec<Value> =
        servers.iter().map(|mounted| server(served, visitor, mounted, reload.as_deref())).collect();
    let mut told = json!({"servers": servers});
    if let Some(reload) = reload {
        told["reload"] = reload.json();
    }
    let mut response = body::json(told.to_string());
    private(&mut response);
    response
}

/// What a caller gets to know of a server that it may use.
fn server(served: &Served, visitor: &Visitor, mounted: &Mounted, reload: Option<&Reload>) -> Value {
    if visitor.is_operator() {
        return server_for_operators(mounted, reload);
    }
    let (entry, failure) = (mounted.entry(), mounted.failure());
    let state = failure.as_ref().map_or("running", Failure::state);
    let mut server = json!({"name": entry.name.as_str(), "prefix": entry.prefix.as_str(), "state": state});
    if let Mounted::Serving(mount) = mounted {
        let view = served.access(&entry.name).view(mount, &visitor.principal);
        server["tools"] = view.tools.len().into();
    }
    server
}

pub(super) fn server_for_operators(mounted: &Mounted, reload: Option<&Reload>) -> Value {
    let entry = mounted.entry();
    let plugin = entry.plugin.file_name().map(|name| name.to_string_lossy().into_owned());
    let mut server = json!({
        "name": entry.name.as_str(),
        "prefix": entry.prefix.as_str(),
        "plugin": plugin.unwrap_or_default(),
        "required": entry.required,
        "state": "running",
    });
    if entry.discovered {
        server["discovered"] = true.into();
    }
    if let Some(instance) = mounted.instance() {
        server["generation"] = instance.generation().into();
        server["sha256"] = instance.digest().to_string().into();
        server["heap_bytes"] = instance.heap_bytes().into();
        if let Some(stalled) = instance.stalled_for() {
            server["stalled_for_ms"] = milliseconds(stalled).into();
        }
    }
    if let Mounted::Serving(mount) = mounted {
        server["tools"] = mount.tools.len().into();
    }
    if let Some(failure) = mounted.failure() {
        server["state"] = failure.state().into();
        server["code"] = failure.code.into();
        server["reason"] = failure.reason.into();
        if let Some(retry_in) = failure.retry_in {
            server["retry_in_ms"] = milliseconds(retry_in).into();
        }
    }
    if let Some(refused) = reload.and_then(|reload| reload.refused_of(entry.name.as_str())) {
        server["refused"] = json!({"code": refused.code, "reason": refused.reason});
    }
    server
}

/// `GET /healthz`, `GET /livez`: the process answers.
pub(super) async fn alive() -> Response {
    body::json(r#"{"status":"ok"}"#)
}

/// `GET /readyz`: whether every required server serves; to operators also which do not.
pub(super) async fn ready(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let visitor = Visitor::or_nobody(&gateway, &parts).await;
    readiness(gateway.phase(), &gateway.served().table.servers, visitor.is_operator())
}

fn readiness(phase: Phase, servers: &[Mounted], names_failed: bool) -> Response {
    let failed: Vec<(&Mounted, Value)> = servers
        .iter()
        .filter_map(|mounted| {
            let (entry, failure) = (mounted.entry(), mounted.failure()?);
            let failed = json!({
                "name": entry.name.as_str(), "code": failure.code, "required": entry.required});
            Some((mounted, failed))
        })
        .collect();
    let status = match phase {
        Phase::Starting => "starting",
        Phase::Leaving | Phase::Draining => "draining",
        Phase::Serving if failed.iter().any(|(mounted, _)| keeps_from_serving(mounted)) => "failed",
        Phase::Serving => "ready",
    };
    let failed: Vec<Value> = failed.into_iter().map(|(_, failed)| failed).collect();
    let told = match names_failed {
        true => json!({"status": status, "failed": failed}),
        false => json!({"status": status}),
    };
    let mut response = body::json(told.to_string());
    if status != "ready" {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

/// A quarantined server does so only until its time is over: then it needs a call as a retry, and none comes to a gateway
/// that says it is not ready.
fn keeps_from_serving(mounted: &Mounted) -> bool {
    let awaits_retry = |failure: &Failure| failure.retry_in.is_some_and(|left| left.is_zero());
    mounted.entry().required && mounted.failure().is_some_and(|failure| !awaits_retry(&failure))
}

/// `GET /openapi.json`: the document of every server, as far as whoever asks may use it.
pub(super) async fn openapi(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let asked = Asked::of(&request);
    let (parts, _) = request.into_parts();
    match Visitor::of(&gateway, &parts).await {
        Ok(visitor) => match visitor.refuse_if_blind() {
            Ok(()) => document(&visitor.served.document(&visitor.principal), &parts.headers),
            Err(problem) => turned_away(&gateway, &asked, &parts, Some(&visitor), problem),
        },
        Err(problem) => turned_away(&gateway, &asked, &parts, None, problem),
    }
}

/// An OpenAPI document, or 304 if the client has it.
pub(super) fn document(document: &Document, headers: &HeaderMap) -> Response {
    let mut response = match is_known(headers, &document.etag) {
        true => not_modified(),
        false => body::json(document.body.clone()),
    };
    let headers = response.headers_mut();
    let tag = HeaderValue::from_str(&document.etag).expect("a tag is hexadecimal digits in quotes");
    headers.insert(header::ETAG, tag);
    private(&mut response);
    response
}

/// Whether the client has what bears this tag.
pub(super) fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    let mut lines = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|tags| tags.to_str().ok());
    lines.any(|tags| {
        tags.split(',').map(str::trim).any(|tag| {
            // The weak comparison, which RFC 9110 prescribes here.
            tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag
        })
    })
}

pub(super) fn not_modified() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response
}

/// `GET /problems`: every code.
pub(super) async fn problems() -> Response {
    let codes: Vec<Value> = ProblemCode::all().map(explain).collect();
    body::json(json!({"problems": codes}).to_string())
}

/// `GET /problems/<code>`: one code.
pub(super) async fn problem(
    State(gateway): State<Arc<Gateway>>,
    Path(word): Path<String>,
    request: Request,
) -> Response {
    match ProblemCode::all().find(|code| code.as_str() == word) {
        Some(code) => body::json(explain(code).to_string()),
        None => {
            let codes: Vec<Value> = ProblemCode::all().map(|code| code.as_str().into()).collect();
            Problem::new(ProblemCode::UnknownPath, "there is no problem of that name")
                .with("available", codes)
                .answer(&gateway, &Asked::of(&request))
        }
    }
}

fn explain(code: ProblemCode) -> Value {
    json!({
        "type": format!("/problems/{}", code.as_str()),
        "code": code.as_str(),
        "status": code.status(),
        "title": code.title(),
        "meaning": code.help(),
    })
}
