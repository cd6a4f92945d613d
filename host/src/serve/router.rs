//! Which request goes where. The gateway's own pages are routes; everything else is looked up in the mount table by one
//! fallback, because mounts come and go while axum's routes cannot.

use std::sync::Arc;

use axum::{
    Extension, Router,
    body::Body,
    extract::{Request, State},
    middleware,
    response::Response,
    routing::get,
};
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header, request::Parts};
use serde_json::{Value, json};

use super::{
    Gateway, Phase,
    admin::{self, Entrance},
    admit,
    asked::Asked,
    auth::metadata,
    body,
    call::nearest,
    caller::{Caller, Rules, Visitor},
    docs,
    held::{held, until},
    mcp::{Listens, McpDoor},
    metrics,
    negotiate::{Form, form},
    pages,
    problem::Problem,
    rest, server_page,
    snippet::Shows,
    status, ui,
};
use crate::{
    config::Prefix,
    mount::{Mount, Mounted, ProblemCode},
};

/// Where a router answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The main listener; `[admin] listen` says whether what is for operators is there as well.
    Main,
    /// The listener of `[admin]`.
    Admin,
    /// The control socket.
    Control,
}

/// Everything that is answered at `place`.
pub(super) fn router(gateway: &Arc<Gateway>, place: Place) -> Router {
    let entrance = if place == Place::Control { Entrance::Socket } else { Entrance::Network };
    let mut router = Router::new().route("/servers", get(pages::servers));
    if place != Place::Main || !gateway.has_admin_listener() {
        router = router.merge(for_operators());
    }
    if place == Place::Main {
        router = router
            .route("/", get(pages::index))
            .route("/openapi.json", get(pages::openapi))
            .route("/problems", get(pages::problems))
            .route("/problems/{code}", get(pages::problem))
            .route(metadata::PATH, get(metadata::metadata))
            .route(&format!("{}/{{*path}}", metadata::PATH), get(metadata::metadata))
            .merge(docs::routes().with_state(()))
            .fallback(below_prefixes);
    } else {
        router = router.fallback(nothing_here);
    }
    if place == Place::Admin {
        router = router.route("/", get(status::page_beside));
    }
    if place == Place::Admin || (place == Place::Main && !gateway.has_admin_listener()) {
        router = router.merge(ui::routes());
    }
    router
        .method_not_allowed_fallback(not_a_get)
        .layer(middleware::from_fn_with_state(gateway.clone(), admit::admit))
        .layer(Extension(entrance))
        .layer(Extension(place))
        .with_state(gateway.clone())
}

fn for_operators() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/healthz", get(pages::alive))
        .route("/livez", get(pages::alive))
        .route("/readyz", get(pages::ready))
        .route("/metrics", get(metrics::metrics))
        .route("/admin/status", get(status::status))
        .merge(admin::routes())
}

/// Beside the main listener there are no servers.
async fn nothing_here(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let asked = Asked::of(&request);
    let detail = format!("nothing is served at `{}`", shortened(asked.uri.path()));
    let available: Vec<&str> =
        ["/servers", "/admin/status", "/admin/reload"].into_iter().chain(pages::FOR_OPERATORS).collect();
    Problem::new(ProblemCode::UnknownPath, detail).with("available", available).answer(&gateway, &asked)
}

/// Every page of the gateway is for reading.
async fn not_a_get(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let asked = Asked::of(&request);
    match asked.method {
        Method::OPTIONS => options(READ),
        _ => not_allowed(&asked.method, READ).answer(&gateway, &asked),
    }
}

const READ: &str = "GET, HEAD, OPTIONS";
pub(super) const CALL: &str = "POST, OPTIONS";
const ENDPOINT: &str = "GET, HEAD, POST, DELETE, OPTIONS";

pub(super) fn options(allow: &'static str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

pub(super) fn not_allowed(method: &Method, allow: &'static str) -> Problem {
    let method: String = method.as_str().chars().take(32).collect();
    Problem::new(ProblemCode::MethodNotAllowed, format!("`{method}` is not among {allow}"))
        .header(header::ALLOW, HeaderValue::from_static(allow))
}

/// What a path below a prefix names.
#[derive(Debug, PartialEq, Eq)]
enum Target<'a> {
    Endpoint,
    Tools,
    Tool(&'a str),
    OpenApi,
    Nothing,
}

fn target(rest: &str) -> Target<'_> {
    match rest {
        "" | "/" | "/mcp" => Target::Endpoint,
        "/tools" => Target::Tools,
        "/openapi.json" => Target::OpenApi,
        _ => match rest.strip_prefix("/tools/") {
            Some(tool) if !tool.is_empty() => Target::Tool(tool),
            _ => Target::Nothing,
        },
    }
}

/// Whether `path` is where a server, running or not, speaks MCP.
pub(super) fn is_endpoint(gateway: &Gateway, path: &str) -> bool {
    gateway.served().table.find(path).is_some_and(|(_, rest)| target(rest) == Target::Endpoint)
}

async fn below_prefixes(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let asked = Asked::of(&request);
    match dispatch(&gateway, request).await {
        Ok(response) => response,
        Err(problem) => problem.answer(&gateway, &asked),
    }
}

async fn dispatch(gateway: &Arc<Gateway>, request: Request) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    // The path is copied out of the request, which the MCP door takes as a whole.
    let uri = parts.uri.clone();
    let Some(Located { mounted, door, rest, rules }) = locate(gateway, &parts, uri.path()) else {
        return Err(unknown(gateway, &parts).await);
    };
    let target = target(rest);
    let allow = match target {
        Target::Endpoint => ENDPOINT,
        Target::Tool(_) => CALL,
        Target::Tools | Target::OpenApi | Target::Nothing => READ,
    };
    if parts.method == Method::OPTIONS {
        return Ok(options(allow));
    }
    let caller = Caller::of(gateway, &mut parts, mounted.entry(), rules, rest).await?;
    let (Mounted::Serving(whole), Some(door)) = (&mounted, door) else { return Err(unavailable(&mounted)) };
    let mount = caller.access.view(whole, &caller.principal);
    let reads = [Method::GET, Method::HEAD].contains(&parts.method);
    let is_asking = caller.access.is_asking();
    let answer = match target {
        Target::Nothing => Err(nothing_below(&mount, rest)),
        Target::Tools if reads => Ok(tool_list(&mount)),
        Target::OpenApi if reads => {
            let ways = gateway.served().ways(&mount.instance.entry().name);
            Ok(pages::document(&mount.document(ways), &parts.headers))
        }
        Target::Tool(tool) if parts.method == Method::POST => {
            rest::answer(gateway, &mount, &caller, tool, &parts, body).await
        }
        Target::Endpoint => endpoint(gateway, &mount, door, caller, parts, body).await,
        _ => Err(not_allowed(&parts.method, allow)),
    };
    answer.map(|mut response| {
        // Unless it says so itself: what one caller gets is not for the next.
        if is_asking && reads && !response.headers().contains_key(header::CACHE_CONTROL) {
            pages::private(&mut response);
        }
        response
    })
}

/// What is at a path. Held until the answer is made, so that it is not unloaded before.
struct Located<'p> {
    mounted: Mounted,
    /// `None`: it does not serve.
    door: Option<Arc<McpDoor>>,
    /// What remains of the path below the prefix.
    rest: &'p str,
    /// Who is let in.
    rules: Rules,
}

fn locate<'p>(gateway: &Gateway, parts: &Parts, path: &'p str) -> Option<Located<'p>> {
    let served = gateway.served();
    let (mounted, rest) = served.table.find(path)?;
    let door = match mounted {
        Mounted::Serving(mount) => served.door(mount),
        _ => None,
    };
    let rules = Rules::of(&served, parts, mounted.entry());
    Some(Located { mounted: mounted.clone(), door, rest, rules })
}

async fn endpoint(
    gateway: &Arc<Gateway>,
    mount: &Mount,
    door: Arc<McpDoor>,
    caller: Caller,
    mut parts: Parts,
    body: Body,
) -> Result<Response, Problem> {
    let wanted = form(&parts.headers);
    let open = match (&parts.method, wanted) {
        (&Method::HEAD, _) | (&Method::GET, Form::Html | Form::Json) => {
            let shows = Shows::of(&gateway.served().settings.auth, caller.access.guard());
            return Ok(about(mount, wanted, &gateway.dialled(&parts), shows));
        }
        (&Method::GET | &Method::DELETE, _) => None,
        (&Method::POST, _) => Some(gateway.begin_call()?),
        _ => return Err(not_allowed(&parts.method, ENDPOINT)),
    };
    let body = match parts.method {
        Method::POST => body::read(&parts.headers, body, gateway.body_limit()).await?,
        _ => Bytes::new(),
    };
    let is_get = parts.method == Method::GET;
    parts.extensions.insert(caller.clone());
    let mut response = door.handle(gateway, parts, body).await?;
    let is_stream = is_get || response.extensions_mut().remove::<Listens>().is_some();
    if is_stream && response.status().is_success() {
        // What such a stream tells is for who may still ask. Calls go on: they were allowed when they began.
        let disowned = gateway.clone().disowned(caller);
        let counted = door.begin_stream();
        response = response.map(|body| held(until(body, disowned), counted));
    }
    // Open, and the door with it, until the last byte of the answer is on its way, or the client is gone.
    Ok(response.map(|body| held(body, open.map(|open| (open, door)))))
}

fn about(mount: &Mount, wanted: Form, base: &str, shows: Shows) -> Response {
    let mut response = match wanted {
        Form::Html => server_page::html(mount, base, shows),
        Form::Json | Form::EventStream => server_page::json(mount, base, shows),
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    response
}

fn tool_list(mount: &Mount) -> Response {
    let entry = mount.instance.entry();
    let tools: Vec<_> = mount.tools.iter().map(|tool| &tool.spec.wire).collect();
    let list = json!({"server": entry.name.as_str(), "prefix": entry.prefix.as_str(), "tools": tools});
    body::json(list.to_string())
}

fn unavailable(mounted: &Mounted) -> Problem {
    let name = mounted.entry().name.as_str();
    let reason = mounted.failure().map_or("failed", |failure| failure.code);
    Problem::new(
        ProblemCode::PluginUnavailable,
        format!("server `{name}` does not serve: `{reason}`; `/servers` says more"),
    )
    .with("server", name)
    .with("reason", reason)
    .retry_after(30)
}

fn nothing_below(mount: &Mount, rest: &str) -> Problem {
    let prefix = mount.instance.entry().prefix.as_str();
    let tools = mount.tools.iter().map(|tool| format!("/tools/{}", tool.spec.name));
    let fixed = ["/mcp", "/tools", "/openapi.json"].map(str::to_owned);
    let paths: Vec<String> = fixed.into_iter().chain(tools).collect();
    // A tool's bare name, as in `/greet/echoHai`, is the likeliest slip.
    let bare = format!("/tools{rest}");
    let near = paths.iter().find(|path| **path == bare).cloned();
    let near = near.or_else(|| nearest(rest, paths.iter().map(String::as_str)));
    let available: Vec<Value> = paths.iter().map(|path| format!("{prefix}{path}").into()).collect();
    not_found(
        ProblemCode::UnknownPath,
        &format!("nothing is served at `{prefix}{}`", shortened(rest)),
        near.map(|near| format!("{prefix}{near}")),
    )
    .with("available", available)
}

/// No server's prefix: is it a server that the client wants, or a page of the gateway? It hears of what it may see.
async fn unknown(gateway: &Gateway, parts: &Parts) -> Problem {
    if gateway.phase() == Phase::Starting {
        return Phase::Starting.problem();
    }
    let path = parts.uri.path();
    let visitor = Visitor::or_nobody(gateway, parts).await;
    let servers = &visitor.served.table.servers;
    let seen = servers.iter().map(Mounted::entry).filter(|entry| visitor.sees(entry));
    let prefixes: Vec<&str> = seen.map(|entry| entry.prefix.as_str()).collect();
    let near = prefixes.iter().find_map(|prefix| {
        let depth = prefix.matches('/').count();
        let candidate: Vec<&str> = path.split('/').skip(1).take(depth).collect();
        nearest(&candidate.join("/"), std::iter::once(&prefix[1..])).map(|near| format!("/{near}"))
    });
    let first = path.split('/').nth(1).unwrap_or_default();
    let like_a_server = ["/mcp", "/tools", "/openapi.json"].iter().any(|end| path.ends_with(end));
    if !Prefix::RESERVED.contains(&first) && (near.is_some() || like_a_server || path.contains("/tools/")) {
        let detail = format!("no server is mounted at `{}`", shortened(path));
        return not_found(ProblemCode::UnknownServer, &detail, near).with("available", prefixes);
    }
    let pages = pages::paths(gateway);
    let named = pages.iter().map(|page| &page[1..]).filter(|name| !name.is_empty());
    let near = nearest(path.trim_matches('/'), named).map(|near| format!("/{near}"));
    let available: Vec<&str> = pages.iter().copied().chain(prefixes).collect();
    let detail = format!("nothing is served at `{}`", shortened(path));
    not_found(ProblemCode::UnknownPath, &detail, near).with("available", available)
}

fn not_found(code: ProblemCode, detail: &str, near: Option<String>) -> Problem {
    let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    Problem::new(code, format!("{detail}{near}"))
}

fn shortened(path: &str) -> String {
    path.chars().take(200).collect()
}

#[cfg(test)]
mod tests;
