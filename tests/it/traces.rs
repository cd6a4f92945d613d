//! Traces and metrics as a collector gets them: whose span is below whose, what they tell, and that nothing waits for them.

use std::{fs, path::Path};

use http::Request;
use insta::assert_snapshot;
use serde_json::{Value, json};
use tests::{
    Answer, Collector, Folder, Gateway,
    collector::{All, attribute},
    command, config, server, until,
};

/// The client's span.
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// A proxy's, of another trace.
const OTHER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A gateway that sends what it tells to `collector` soon.
async fn traced(collector: &Collector, text: &str, variables: &[(&str, &str)]) -> Gateway {
    let folder = Folder::empty();
    folder.replace("gateway.toml", text);
    let mut command = command(folder.path());
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint()).env("OTEL_BSP_SCHEDULE_DELAY", "20");
    command.envs(variables.iter().copied());
    Gateway::of_command(command, folder).await
}

fn steps() -> String {
    config(&["tells_its_steps"])
}

async fn rest(gateway: &Gateway, tool: &str, arguments: Value, headers: &[(&str, &str)]) -> Answer {
    let mut request =
        Request::post(format!("/tells_its_steps/tools/{tool}")).header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    gateway.send(request.body(arguments.to_string()).expect("a request")).await.expect("an answer")
}

/// A request of 2026-07-28.
async fn modern(gateway: &Gateway, method: &str, mut params: Value, headers: &[(&str, &str)]) -> Answer {
    let name = params["name"].as_str().or(params["uri"].as_str()).unwrap_or_default().to_owned();
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = "2026-07-28".into();
    params["_meta"]["io.modelcontextprotocol/clientInfo"] = json!({ "name": "t", "version": "1" });
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
    let body = json!({ "jsonrpc": "2.0", "id": "r-1", "method": method, "params": params });
    let mut request = Request::post("/tells_its_steps/mcp")
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", method);
    if !name.is_empty() {
        request = request.header("mcp-name", name);
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    gateway.send(request.body(body.to_string()).expect("a request")).await.expect("an answer")
}

/// A message of 2025, in `session` if there is one.
async fn legacy(gateway: &Gateway, message: Value, session: Option<&str>) -> Answer {
    let mut request = Request::post("/tells_its_steps/mcp")
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream");
    if let Some(session) = session {
        request = request.header("mcp-session-id", session).header("mcp-protocol-version", "2025-11-25");
    }
    gateway.send(request.body(message.to_string()).expect("a request")).await.expect("an answer")
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The value of an attribute of the span of that name.
fn of(all: &All, span: &str, name: &str) -> Option<String> {
    let found = all.spans.iter().find(|found| found.name == span);
    found.and_then(|found| attribute(&found.attributes, name))
}

#[tokio::test]
async fn a_rest_call_is_below_its_clients_span_and_the_plugins_spans_below_it() {
    let collector = Collector::start().await;
    let gateway = traced(&collector, &steps(), &[]).await;
    let headers = [("traceparent", PARENT), ("tracestate", "vendor=1")];
    let answer = rest(&gateway, "steps", json!({}), &headers).await;
    assert_snapshot!(collector.listing(3).await, @r"
    tools/call steps SERVER trace 1 below ?
        client.address=127.0.0.1
        gateway.door=rest
        gateway.generation=1
        gateway.request_id=[…]
        gateway.server=tells_its_steps
        gen_ai.operation.name=execute_tool
        gen_ai.tool.name=steps
        mcp.method.name=tools/call
        network.transport=tcp
      - looked up level=INFO target=tells_its_steps
      look up trace 1
          level=INFO
          rows=3
          table=users
          target=tells_its_steps
        - asked cache=cold level=INFO target=tells_its_steps
        - spawned level=INFO target=tells_its_steps
        parse trace 1
            level=INFO
            line=7
            target=tells_its_steps
          - odd, and gone over column=3 level=WARN target=tells_its_steps
    ");

    let all = collector.all();
    let call = all.spans.iter().find(|span| span.name == "tools/call steps").expect("the call's");
    assert_eq!(
        (hex(&call.trace_id), hex(&call.parent_span_id)),
        (PARENT[3..35].into(), PARENT[36..52].into())
    );
    // The plugin can have what it asks of others go on below the call.
    let told: Value =
        serde_json::from_str(answer.json()["content"][0]["text"].as_str().expect("text")).expect("JSON");
    let own = format!("00-{}-{}-01", hex(&call.trace_id), hex(&call.span_id));
    assert_eq!(told, json!({ "traceparent": own, "tracestate": "vendor=1" }));
    let line = gateway.event("call finished").await;
    assert_eq!((&line["trace_id"], &line["outcome"]), (&json!(PARENT[3..35]), &json!("ok")));
    let resource = all.resource.expect("who sends");
    assert_eq!(attribute(&resource.attributes, "service.name").as_deref(), Some("gateway"));
}

#[tokio::test]
async fn a_2026_call_is_below_the_span_in_its_body_and_linked_to_the_one_in_its_headers() {
    let collector = Collector::start().await;
    let gateway = traced(&collector, &steps(), &[]).await;
    let params = json!({ "name": "steps", "arguments": {}, "_meta": { "traceparent": PARENT } });
    modern(&gateway, "tools/call", params, &[("traceparent", OTHER)]).await;
    assert_snapshot!(collector.listing(3).await, @r"
    tools/call steps SERVER trace 1 below ?
        link: trace 2
        client.address=127.0.0.1
        gateway.door=mcp
        gateway.generation=1
        gateway.request_id=[…]
        gateway.server=tells_its_steps
        gen_ai.operation.name=execute_tool
        gen_ai.tool.name=steps
        jsonrpc.request.id=r-1
        mcp.method.name=tools/call
        mcp.protocol.version=2026-07-28
        network.transport=tcp
      - looked up level=INFO target=tells_its_steps
      look up trace 1
          level=INFO
          rows=3
          table=users
          target=tells_its_steps
        - asked cache=cold level=INFO target=tells_its_steps
        - spawned level=INFO target=tells_its_steps
        parse trace 1
            level=INFO
            line=7
            target=tells_its_steps
          - odd, and gone over column=3 level=WARN target=tells_its_steps
    ");
    let all = collector.all();
    let call = all.spans.iter().find(|span| span.name == "tools/call steps").expect("the call's");
    assert_eq!(
        (hex(&call.trace_id), hex(&call.parent_span_id)),
        (PARENT[3..35].into(), PARENT[36..52].into())
    );
    assert_eq!(hex(&call.links[0].span_id), OTHER[36..52]);
}

#[tokio::test]
async fn every_request_of_a_2025_session_has_a_span() {
    let collector = Collector::start().await;
    let gateway = traced(&collector, &steps(), &[]).await;
    let hello = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } } });
    let answer = legacy(&gateway, hello, None).await;
    let session = answer.headers["mcp-session-id"].to_str().expect("ASCII").to_owned();
    let session = Some(session.as_str());
    legacy(&gateway, json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }), session).await;
    legacy(&gateway, json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list" }), session).await;
    let call = json!({ "jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": { "name": "fail", "arguments": {},
        "_meta": { "traceparent": PARENT } } });
    legacy(&gateway, call, session).await;
    let prompt =
        json!({ "jsonrpc": "2.0", "id": 4, "method": "prompts/get", "params": { "name": "greeting" } });
    legacy(&gateway, prompt, session).await;
    legacy(&gateway, json!({ "jsonrpc": "2.0", "id": 5, "method": "made/up/by/a/client" }), session).await;
    assert_snapshot!(collector.listing(7).await, @r"
    initialize SERVER trace 1
        gateway.door=mcp
        gateway.request_id=[…]
        gateway.server=tells_its_steps
        jsonrpc.request.id=1
        mcp.method.name=initialize
        network.transport=tcp
    notifications/initialized SERVER trace 2
        gateway.door=mcp
        gateway.request_id=[…]
        gateway.server=tells_its_steps
        mcp.method.name=notifications/initialized
        mcp.protocol.version=2025-11-25
        mcp.session.id=[…]
        network.transport=tcp
    tools/list SERVER trace 3
        gateway.door=mcp
        gateway.request_id=[…]
        gateway.server=tells_its_steps
        jsonrpc.request.id=2
        mcp.method.name=tools/list
        mcp.protocol.version=2025-11-25
        mcp.session.id=[…]
        network.transport=tcp
    tools/call fail SERVER ERROR trace 4 below ?
        client.address=127.0.0.1
        error.type=tool_error
        gateway.door=mcp
        gateway.generation=1
        gateway.request_id=[…]
        gateway.server=tells_its_steps
        gen_ai.operation.name=execute_tool
        gen_ai.tool.name=fail
        jsonrpc.request.id=3
        mcp.method.name=tools/call
        mcp.protocol.version=2025-11-25
        mcp.session.id=[…]
        network.transport=tcp
      try ERROR trace 4
          level=INFO
          target=tells_its_steps
        - no luck level=ERROR target=tells_its_steps
    prompts/get greeting SERVER trace 5
        client.address=127.0.0.1
        gateway.door=mcp
        gateway.generation=1
        gateway.request_id=[…]
        gateway.server=tells_its_steps
        gen_ai.prompt.name=greeting
        jsonrpc.request.id=4
        mcp.method.name=prompts/get
        mcp.protocol.version=2025-11-25
        mcp.session.id=[…]
        network.transport=tcp
    _OTHER SERVER ERROR trace 6
        error.type=-32601
        gateway.door=mcp
        gateway.request_id=[…]
        gateway.server=tells_its_steps
        jsonrpc.request.id=5
        mcp.method.name=_OTHER
        mcp.protocol.version=2025-11-25
        mcp.session.id=[…]
        network.transport=tcp
    ");
}

#[tokio::test]
async fn what_clients_make_up_is_in_no_name() {
    let collector = Collector::start().await;
    let gateway = traced(&collector, &steps(), &[]).await;
    for number in 0..3 {
        rest(&gateway, &format!("made_up_{number}"), json!({}), &[]).await;
    }
    let all = collector.until("three spans", |all| all.spans.len() == 3).await;
    let names: Vec<_> = all.spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["tools/call"; 3]);
    assert_eq!(of(&all, "tools/call", "gen_ai.tool.name").as_deref(), Some("made_up_0"));
    assert_eq!(of(&all, "tools/call", "error.type").as_deref(), Some("unknown_tool"));
}

async fn started(folder: &Path) {
    until("the call waits", async || folder.join("started").exists()).await;
}

#[tokio::test]
async fn calls_that_end_otherwise_say_how_and_so_do_the_spans_in_them() {
    let collector = Collector::start().await;
    let limited = server("tells_its_steps", "tells_its_steps") + "call_timeout = \"300ms\"\n";
    let gateway = traced(&collector, &(config(&[]) + &limited), &[]).await;
    let directory = gateway.folder().to_owned();
    let check = async |tool: &str, arguments: Value, error: &str, plugins: &str| {
        let name = format!("tools/call {tool}");
        rest(&gateway, tool, arguments, &[]).await;
        let all = collector.until(&name, |all| all.spans.iter().any(|span| span.name == name)).await;
        assert_eq!(of(&all, &name, "error.type").as_deref(), Some(error));
        let (call, own) = (
            all.spans.iter().find(|span| span.name == name),
            all.spans.iter().find(|span| span.name == plugins),
        );
        assert_eq!(call.expect("the call's").span_id, own.expect("the plugin's").parent_span_id, "{tool}");
    };
    check("panic", json!({}), "plugin_panicked", "about to panic").await;
    check("wait", json!({ "directory": directory }), "tool_timeout", "wait").await;
    assert_eq!(of(&collector.all(), "wait", "gateway.unfinished").as_deref(), Some("true"));
    check("fail", json!({}), "tool_error", "try").await;
    let panicking =
        collector.all().spans.into_iter().find(|span| span.name == "about to panic").expect("it came");
    assert_eq!(panicking.events[0].name, "panic: in a span");
}

#[tokio::test]
async fn what_the_log_leaves_out_is_in_the_trace_all_the_same() {
    let collector = Collector::start().await;
    let gateway = traced(&collector, &steps(), &[]).await;
    let quiet = steps().replace("[log]", "[log]\nfilter = \"warn\"");
    gateway.files().replace("gateway.toml", quiet);
    let applied = r#"gateway_reloads_total{outcome="applied"} 1"#;
    until("the log is quiet", async || gateway.get("/metrics").await.body.contains(applied)).await;
    let mark = gateway.mark();
    rest(&gateway, "steps", json!({}), &[]).await;
    let all = collector.until("three spans", |all| all.spans.len() == 3).await;
    let events = all.spans.iter().flat_map(|span| &span.events).map(|event| event.name.as_str());
    assert_eq!(events.collect::<Vec<_>>(), ["odd, and gone over", "asked", "spawned", "looked up"]);
    let logged = gateway.logged_since(mark);
    let messages: Vec<_> = logged.iter().map(|event| event["message"].as_str().unwrap_or_default()).collect();
    assert_eq!(messages, ["odd, and gone over"]);
}

#[tokio::test]
async fn a_call_whose_client_goes_away_says_so() {
    let collector = Collector::start().await;
    let gateway = traced(&collector, &steps(), &[]).await;
    let arguments = json!({ "directory": gateway.folder() });
    {
        let call = rest(&gateway, "wait", arguments, &[]);
        tokio::select! {
            answer = call => panic!("it is held: {answer:?}"),
            () = started(gateway.folder()) => {}
        }
    }
    assert_snapshot!(collector.listing(2).await, @r"
    tools/call wait SERVER ERROR trace 1
        client.address=127.0.0.1
        error.type=cancelled
        gateway.door=rest
        gateway.generation=1
        gateway.request_id=[…]
        gateway.server=tells_its_steps
        gen_ai.operation.name=execute_tool
        gen_ai.tool.name=wait
        mcp.method.name=tools/call
        network.transport=tcp
      wait trace 1
          gateway.unfinished=true
          level=INFO
          target=tells_its_steps
        - begun level=INFO target=tells_its_steps
    ");
}

#[tokio::test]
async fn a_plugin_that_is_replaced_or_stopped_with_open_spans_leaves_none() {
    let collector = Collector::start().await;
    let text = steps() + "[shutdown]\ndrain = \"100ms\"\n";
    let gateway = traced(&collector, &text, &[]).await;
    let arguments = json!({ "directory": gateway.folder() });
    let held = rest(&gateway, "wait", arguments, &[]);
    tokio::pin!(held);
    tokio::select! {
        answer = &mut held => panic!("it is held: {answer:?}"),
        () = started(gateway.folder()) => {}
    }
    // Another generation takes its place; the call goes on with its own.
    gateway.files().replace("gateway.toml", text.replace("[shutdown]", "threads = 2\n[shutdown]"));
    let generation = async || gateway.get("/servers").await.json()["servers"][0]["generation"].clone();
    until("the other generation serves", async || generation().await == 2).await;
    rest(&gateway, "steps", json!({}), &[]).await;
    fs::write(gateway.folder().join("release"), "").expect("it is ours");
    assert_eq!(held.await.status.as_u16(), 200);
    let all = collector.until("both", |all| all.spans.len() == 5).await;
    let generation = |name: &str| of(&all, name, "gateway.generation");
    assert_ne!(generation("tools/call wait"), generation("tools/call steps"));
    assert_eq!(of(&all, "wait", "gateway.unfinished"), None);
}

#[tokio::test]
async fn a_gateway_that_stops_sends_what_it_has() {
    let collector = Collector::start().await;
    let text = steps() + "[shutdown]\ndrain = \"100ms\"\n";
    // By itself it would send nothing for an hour.
    let gateway = traced(&collector, &text, &[("OTEL_BSP_SCHEDULE_DELAY", "3600000")]).await;
    let arguments = json!({ "directory": gateway.folder() });
    let stopped = async {
        started(gateway.folder()).await;
        gateway.signal("TERM");
    };
    let (answer, ()) = tokio::join!(rest(&gateway, "wait", arguments, &[]), stopped);
    assert_eq!(answer.json()["code"], "plugin_unavailable");
    let (code, _) = gateway.ended().await;
    assert_eq!(code, Some(1), "a call was cut off");
    assert_snapshot!(collector.listing(2).await, @r"
    tools/call wait SERVER ERROR trace 1
        client.address=127.0.0.1
        error.type=plugin_unavailable
        gateway.door=rest
        gateway.generation=1
        gateway.request_id=[…]
        gateway.server=tells_its_steps
        gen_ai.operation.name=execute_tool
        gen_ai.tool.name=wait
        mcp.method.name=tools/call
        network.transport=tcp
      wait trace 1
          gateway.unfinished=true
          level=INFO
          target=tells_its_steps
        - begun level=INFO target=tells_its_steps
    ");
}

#[tokio::test]
async fn a_sampler_that_takes_nothing_sends_nothing_and_the_trace_goes_on() {
    let collector = Collector::start().await;
    let gateway = traced(&collector, &steps(), &[("OTEL_TRACES_SAMPLER", "always_off")]).await;
    let answer = rest(&gateway, "steps", json!({}), &[("traceparent", PARENT)]).await;
    let text = answer.json()["content"][0]["text"].as_str().expect("text").to_owned();
    assert!(text.contains(&PARENT[3..35]) && text.contains("-00\""), "{text}");
    assert_eq!(gateway.event("call finished").await["trace_id"], PARENT[3..35]);
    gateway.signal("TERM");
    gateway.ended().await;
    assert!(collector.all().spans.is_empty());
}

#[tokio::test]
async fn a_parent_that_is_not_sampled_is_not_sampled_here() {
    let collector = Collector::start().await;
    let gateway = traced(&collector, &steps(), &[]).await;
    let not = format!("{}-00", &PARENT[..52]);
    rest(&gateway, "fail", json!({}), &[("traceparent", &not)]).await;
    rest(&gateway, "panic", json!({}), &[]).await;
    gateway.signal("TERM");
    gateway.ended().await;
    let names: Vec<_> = collector.all().spans.into_iter().map(|span| span.name).collect();
    assert_eq!(names, ["about to panic", "tools/call panic"]);
}

#[tokio::test]
async fn nothing_is_sent_unless_it_is_asked_for_and_the_clients_trace_is_known_all_the_same() {
    let gateway = Gateway::with_config(&steps()).await;
    let answer = rest(&gateway, "steps", json!({}), &[("traceparent", PARENT)]).await;
    let told: Value =
        serde_json::from_str(answer.json()["content"][0]["text"].as_str().expect("text")).expect("JSON");
    assert_eq!(told, json!({ "traceparent": PARENT }));
    let line = gateway.event("call finished").await;
    assert_eq!(line["trace_id"], PARENT[3..35]);
    let mark = gateway.mark();
    let answer = rest(&gateway, "steps", json!({}), &[("traceparent", "nonsense")]).await;
    assert_eq!(answer.json()["content"][0]["text"], "null");
    assert_eq!(gateway.event_since(mark, "call finished", |_| true).await.get("trace_id"), None);
}

#[tokio::test]
async fn a_collector_that_is_down_holds_nobody_up_and_is_told_once() {
    // Its port is free again.
    let endpoint = Collector::start().await.endpoint();
    let folder = Folder::empty();
    folder.replace("gateway.toml", steps());
    let mut command = command(folder.path());
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint).env("OTEL_BSP_SCHEDULE_DELAY", "1");
    let gateway = Gateway::of_command(command, folder).await;
    for _ in 0..100 {
        assert_eq!(rest(&gateway, "steps", json!({}), &[]).await.status.as_u16(), 200);
    }
    let told = gateway.event("collector does not take telemetry").await;
    assert_eq!((&told["level"], &told["signal"]), (&json!("WARN"), &json!("traces")));
    assert_eq!(told["endpoint"], format!("{endpoint}/v1/traces"));
    assert!(told["problem"].as_str().expect("why").contains("Connection refused"), "{told}");
    gateway.signal("TERM");
    let (code, log) = gateway.ended().await;
    assert_eq!(code, Some(0));
    let about_traces = |event: &&Value| {
        event["message"] == "collector does not take telemetry" && event["signal"] == "traces"
    };
    assert_eq!(log.iter().filter(about_traces).count(), 1);
}

#[tokio::test]
async fn variables_that_cannot_be_used_are_told_and_the_gateway_serves() {
    let folder = Folder::empty();
    folder.replace("gateway.toml", steps());
    let mut command = command(folder.path());
    command
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317")
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        .env("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/json");
    let gateway = Gateway::of_command(command, folder).await;
    assert_eq!(rest(&gateway, "fail", json!({}), &[]).await.status.as_u16(), 422);
    let mark = gateway.event("telemetry variable not used as it is").await;
    assert_snapshot!(mark["problem"].as_str().expect("what to do"), @"`grpc` is not spoken here, so nothing is sent; leave the variable out, or set `http/protobuf`, and name the collector's OTLP/HTTP endpoint, usually at port 4318");
    let fields = [("variable", "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL")];
    gateway.event_with("telemetry variable not used as it is", &fields).await;
}

#[tokio::test]
async fn durations_are_measured_by_what_is_offered() {
    let collector = Collector::start().await;
    let variables = [
        ("OTEL_TRACES_EXPORTER", "none"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "20"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s3cret"),
        ("OTEL_SERVICE_NAME", "our gateway"),
        // As in a container without certificates of authorities.
        ("SSL_CERT_FILE", "/nowhere"),
        ("SSL_CERT_DIR", "/nowhere"),
    ];
    let gateway = traced(&collector, &steps(), &variables).await;
    rest(&gateway, "steps", json!({}), &[]).await;
    rest(&gateway, "made_up", json!({}), &[]).await;
    modern(&gateway, "tools/call", json!({ "name": "fail", "arguments": {} }), &[]).await;
    modern(&gateway, "tools/list", json!({}), &[]).await;
    let all = collector.until("four series", |all| series(all).len() == 4).await;
    assert_snapshot!(series(&all).join("\n"), @r"
    1 s: error.type=tool_error gen_ai.operation.name=execute_tool gen_ai.tool.name=fail mcp.method.name=tools/call mcp.protocol.version=2026-07-28 network.transport=tcp
    1 s: error.type=unknown_tool gen_ai.operation.name=execute_tool mcp.method.name=tools/call network.transport=tcp
    1 s: gen_ai.operation.name=execute_tool gen_ai.tool.name=steps mcp.method.name=tools/call network.transport=tcp
    1 s: mcp.method.name=tools/list mcp.protocol.version=2026-07-28 network.transport=tcp
    ");
    assert_eq!(all.headers["api-key"], "s3cret");
    let resource = all.resource.expect("who sends");
    assert_eq!(attribute(&resource.attributes, "service.name").as_deref(), Some("our gateway"));
    assert!(all.spans.is_empty());
}

/// The series of the one metric.
fn series(all: &All) -> Vec<String> {
    use opentelemetry_proto::tonic::metrics::v1::metric::Data;
    let Some(metric) = all.metrics.iter().find(|metric| metric.name == "mcp.server.operation.duration")
    else {
        return Vec::new();
    };
    let Some(Data::Histogram(histogram)) = &metric.data else { panic!("{metric:?}") };
    let line = |point: &opentelemetry_proto::tonic::metrics::v1::HistogramDataPoint| {
        assert_eq!(point.explicit_bounds.len(), 14, "the conventions' buckets");
        let mut labels: Vec<_> = point
            .attributes
            .iter()
            .map(|label| format!("{}={}", label.key, tests::collector::text(label.value.as_ref())))
            .collect();
        labels.sort();
        format!("{} {}: {}", point.count, metric.unit, labels.join(" "))
    };
    let mut lines: Vec<_> = histogram.data_points.iter().map(line).collect();
    lines.sort();
    lines
}
