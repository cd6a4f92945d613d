//! `GET /admin/status`: all that an operator wants to know at a glance, for the status page and for whoever else asks.
//!
//! In:   what is served now, what of it has gone wrong, the calls of late.
//! Out:  JSON: what `/servers` tells operators, and beside it tools, faults, lines to copy, calls and the last reload.
//! Fails: 401 and 403 as `/admin/reload`; that, and not every look, is recorded in the audit log.
//! Never: arguments or answers of calls, values of gateway.toml that may be secret.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use axum::{
    Extension,
    extract::{Request, State},
    response::Response,
};
use http::request::Parts;
use serde_json::{Map, Value, json};

use super::{
    Gateway, Phase, Problem, Reload,
    asked::Asked,
    body,
    caller::{Visitor, turned_away},
    negotiate::{Form, form},
    pages,
    router::Place,
    seen::Late,
    snippet::{self, Shows},
    ui,
};
use crate::{
    config::Scope,
    load::{Fault, Instance, ToolSpec, milliseconds},
    mount::{Mount, Mounted},
    observe::rfc_3339_millis,
};

/// `GET /` on the listener of `[admin]`: to browsers the page, to everybody else what it shows.
pub(super) async fn page_beside(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    if form(request.headers()) == Form::Html {
        let (parts, _) = request.into_parts();
        return ui::shell(&parts.headers, Some(&gateway.beside(&parts)));
    }
    answer(&gateway, Place::Admin, request).await
}

/// `GET /admin/status`.
pub(super) async fn status(
    State(gateway): State<Arc<Gateway>>,
    Extension(place): Extension<Place>,
    request: Request,
) -> Response {
    answer(&gateway, place, request).await
}

async fn answer(gateway: &Gateway, place: Place, request: Request) -> Response {
    let asked = Asked::of(&request);
    let (parts, _) = request.into_parts();
    match Visitor::of(gateway, &parts).await {
        Ok(visitor) => match refuse_others(&visitor) {
            Ok(()) => {
                let mut response = body::json(told(gateway, place, &parts, &visitor).to_string());
                pages::private(&mut response);
                response
            }
            Err(problem) => turned_away(gateway, &asked, &parts, Some(&visitor), problem),
        },
        Err(problem) => turned_away(gateway, &asked, &parts, None, problem),
    }
}

/// Where nobody is asked everybody may look, as at `/servers`.
fn refuse_others(visitor: &Visitor) -> Result<(), Problem> {
    if visitor.is_operator() { Ok(()) } else { visitor.require(&[Scope::ADMIN]) }
}

fn told(gateway: &Gateway, place: Place, parts: &Parts, visitor: &Visitor) -> Value {
    let (served, now, started) = (&visitor.served, SystemTime::now(), gateway.started());
    let reload = gateway.reloads().last();
    let base = match place {
        Place::Main => gateway.dialled(parts),
        Place::Admin => gateway.beside(parts),
        Place::Control => gateway.base_url(),
    };
    let server = |mounted: &Mounted| {
        let name = &mounted.entry().name;
        let shows = Shows::of(&served.settings.auth, served.access(name).guard());
        server(mounted, reload.as_deref(), &base, shows)
    };
    let mut told = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "phase": gateway.phase().word(),
        "time": time(now),
        "started": time(started),
        "uptime_ms": milliseconds(now.duration_since(started).unwrap_or_default()),
        "file": served.settings.file,
        "auth": served.settings.auth.is_on(),
        "principal": visitor.principal.id(),
        "listener": place.word(),
        "base": base,
        "pages": pages_told(gateway),
        "calls_open": gateway.calls_open(),
        "servers": served.table.servers.iter().map(server).collect::<Vec<_>>(),
        "calls": calls(gateway),
    });
    let audit = &served.settings.audit;
    if audit.is_on() {
        told["audit"] = json!({"failing": audit.is_failing(), "lines_lost": audit.lost()});
    }
    if let Some(reload) = reload {
        told["reload"] = reload.json();
    }
    told
}

/// Which pages there are, by the listener that they are at.
fn pages_told(gateway: &Gateway) -> Value {
    let mut told = json!({"main": pages::paths(gateway)});
    if gateway.has_admin_listener() {
        told["admin"] = pages::FOR_OPERATORS.into_iter().chain(["/", "/servers"]).collect();
    }
    told
}

fn server(mounted: &Mounted, reload: Option<&Reload>, base: &str, shows: Shows) -> Value {
    let mut told = pages::server_for_operators(mounted, reload);
    told["shows"] = shows.word().into();
    if let Some(instance) = mounted.instance() {
        told["calls_open"] = instance.calls_open().into();
        told["faults"] = faults(instance);
        told["quarantines"] = instance.health().quarantines().into();
        told["log_dropped"] = instance.log_dropped().into();
        told["floods_log"] = instance.floods_log(Instant::now()).into();
    }
    if let Mounted::Serving(mount) = mounted {
        offered(&mut told, mount, base, shows);
    }
    told
}

/// Those of this generation, by kind.
fn faults(instance: &Instance) -> Value {
    let counted = Fault::ALL.into_iter().map(|fault| (fault, instance.health().faults(fault)));
    let counted = counted.filter(|(_, times)| *times > 0);
    Value::Object(counted.map(|(fault, times)| (fault.code().to_owned(), times.into())).collect())
}

/// Adds what a server that serves offers, and how to get at it.
fn offered(told: &mut Value, mount: &Mount, base: &str, shows: Shows) {
    let (entry, manifest) = (mount.instance.entry(), &mount.manifest);
    let prefix = entry.prefix.as_str();
    told["title"] = manifest.title.as_deref().into();
    told["version"] = manifest.version.as_str().into();
    told["mcp"] = format!("{base}{prefix}/mcp").into();
    told["tools"] = mount.tools.iter().map(|offered| tool(&offered.spec, prefix)).collect();
    // What it lists call by call is not to be had without a call.
    told["tools_are_dynamic"] = manifest.is_dynamic("tools/list").into();
    let clients = snippet::connect(entry.name.as_str(), &format!("{base}{prefix}/mcp"), shows);
    let mut lines: Vec<Value> =
        clients.iter().map(|(client, place, text)| line(client, place, text)).collect();
    if let Some(first) = mount.tools.first() {
        lines.push(line("curl", "in a shell", &snippet::curl_line(base, prefix, &first.spec, shows)));
    }
    told["connect"] = lines.into();
}

fn line(client: &str, place: &str, text: &str) -> Value {
    json!({"client": client, "place": place, "text": text})
}

/// What a form for a tool is made from. Names are those of MCP, where it has one.
fn tool(spec: &ToolSpec, prefix: &str) -> Value {
    let mut told = Map::from_iter([
        ("name".to_owned(), spec.name.as_str().into()),
        ("inputSchema".to_owned(), Value::Object(spec.input_schema.clone())),
        ("has_output_schema".to_owned(), spec.output_schema.is_some().into()),
        ("path".to_owned(), format!("{prefix}/tools/{}", spec.name).into()),
    ]);
    let texts = [("title", &spec.title), ("description", &spec.description)];
    for (name, text) in texts.into_iter().filter_map(|(name, text)| Some((name, text.as_deref()?))) {
        told.insert(name.to_owned(), text.into());
    }
    if let Some(annotations) = &spec.annotations {
        told.insert("annotations".to_owned(), Value::Object(annotations.clone()));
    }
    Value::Object(told)
}

/// The calls of late, newest first; failures on their own too, since what went well would soon push them out.
fn calls(gateway: &Gateway) -> Value {
    let (recent, failures) = gateway.seen().recent.told();
    let all = |calls: Vec<Late>| calls.iter().map(late).collect::<Vec<_>>();
    json!({"recent": all(recent), "failures": all(failures)})
}

fn late(call: &Late) -> Value {
    let mut told = json!({"time": time(call.time), "server": call.server.as_str(), "method": call.method});
    let about = if call.method == "tools/call" { "tool" } else { "subject" };
    if let Some(trace_id) = call.trace_id {
        told["trace_id"] = trace_id.to_string().into();
    }
    if !call.subject.is_empty() {
        told[about] = call.subject.as_str().into();
    }
    told["door"] = call.door.into();
    told["outcome"] = call.outcome.word().into();
    told["elapsed_ms"] = (call.elapsed.as_micros() as f64 / 1000.0).into();
    told["request_id"] = call.request_id.as_str().into();
    told["principal"] = call.principal.id().into();
    told
}

fn time(at: SystemTime) -> String {
    rfc_3339_millis(at).into_iter().map(char::from).collect()
}

impl Phase {
    fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Leaving => "leaving",
            Self::Draining => "draining",
        }
    }
}

impl Place {
    fn word(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Admin => "admin",
            Self::Control => "control",
        }
    }
}

impl Shows {
    fn word(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Key => "key",
            Self::Token => "token",
        }
    }
}
