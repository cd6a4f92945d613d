//! `/metrics`: which numbers there are, under which names.

use anyhow::Result;
use http::Request;
use insta::assert_snapshot;
use rmcp::model::SubscriptionFilter;
use serde_json::json;
use tests::{Answer, Gateway, admin_key, config, key, server, until};

use super::mcp::{legacy, modern};

async fn scrape(gateway: &Gateway, accept: &str) -> Answer {
    let request = Request::get("/metrics").header("accept", accept).body(String::new()).expect("a request");
    gateway.send(request).await.expect("an answer")
}

/// One server that serves, one that is quarantined, one that did not start, and one whose library was kept.
async fn gateway() -> Gateway {
    let panics = server("panics", "panics_in_call") + "quarantine_after = 2\nquarantine = \"1h\"\n";
    let declined = server("declined", "declines_start") + "settings.reason = \"it is Sunday\"\n";
    let late = server("late", "never_ready") + "start_timeout = \"2s\"\n";
    let gateway = Gateway::with_config(&(config(&["greet"]) + &panics + &declined + &late)).await;
    for _ in 0..2 {
        gateway.post("/panics/tools/panic", r#"{"when":"at_once"}"#).await;
    }
    gateway
}

/// Families whose values depend on the machine, the compiler or the moment.
const VARYING: [&str; 4] =
    ["gateway_server_heap_bytes", "mcp_tool_call_duration_seconds_sum", "process_", "gateway_connections"];

/// Without values that differ from run to run, and of histograms without the buckets but the last.
fn masked(told: &str) -> String {
    let line = |line: &str| {
        let (series, value) = line.rsplit_once(' ')?;
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        if name.ends_with("_bucket") && !labels.contains("le=\"+Inf\"") {
            return None;
        }
        let is_varying = VARYING.iter().any(|family| name.starts_with(family));
        let value = if is_varying && !line.starts_with('#') { "[…]" } else { value };
        let hash = labels.split_once("sha256=\"").and_then(|(_, hash)| hash.split_once('"'));
        Some(format!(
            "{} {value}",
            hash.map_or_else(|| series.to_owned(), |(hash, _)| series.replace(hash, "[…]"))
        ))
    };
    told.lines().filter_map(line).collect::<Vec<_>>().join("\n")
}

/// What is told of one series, if it is told of.
fn value(told: &str, series: &str) -> Option<f64> {
    let line = told.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    Some(line.parse().expect("a number"))
}

#[tokio::test]
async fn every_server_and_every_call_is_told_in_numbers() {
    let gateway = gateway().await;
    let answer = scrape(&gateway, "*/*").await;
    assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert_snapshot!(masked(&answer.body), @r#"
    # HELP mcp_tool_calls_total Calls of the tool that are over, however they ended.
    # TYPE mcp_tool_calls_total counter
    mcp_tool_calls_total{server="greet",tool="echoHai"} 0
    mcp_tool_calls_total{server="panics",tool="panic"} 2
    # HELP mcp_tool_call_results_total Calls of the tool that are over, by how they ended.
    # TYPE mcp_tool_call_results_total counter
    mcp_tool_call_results_total{server="greet",tool="echoHai",outcome="ok"} 0
    mcp_tool_call_results_total{server="panics",tool="panic",outcome="ok"} 0
    mcp_tool_call_results_total{server="panics",tool="panic",outcome="plugin_panicked"} 2
    # HELP mcp_tool_calls_in_flight Calls of the tool under way.
    # TYPE mcp_tool_calls_in_flight gauge
    mcp_tool_calls_in_flight{server="greet",tool="echoHai"} 0
    mcp_tool_calls_in_flight{server="panics",tool="panic"} 0
    # HELP mcp_tool_call_duration_seconds How long calls of the tool took, less what they waited for their client. Tasks and calls that were refused are not timed.
    # TYPE mcp_tool_call_duration_seconds histogram
    mcp_tool_call_duration_seconds_sum{server="panics",tool="panic"} […]
    mcp_tool_call_duration_seconds_count{server="panics",tool="panic"} 2
    mcp_tool_call_duration_seconds_bucket{le="+Inf",server="panics",tool="panic"} 2
    # HELP gateway_method_calls_total Calls of the plugin by other methods that are over, by how they ended.
    # TYPE gateway_method_calls_total counter
    # HELP gateway_method_call_duration_seconds How long calls by other methods took.
    # TYPE gateway_method_call_duration_seconds histogram
    # HELP mcp_requests_total Messages to the server's MCP endpoint, by method; `_answer`: to a question.
    # TYPE mcp_requests_total counter
    # HELP gateway_build_info Which gateway this is.
    # TYPE gateway_build_info gauge
    gateway_build_info{version="0.1.0"} 1
    # HELP gateway_server_up Whether the server runs. One that is quarantined does.
    # TYPE gateway_server_up gauge
    gateway_server_up{server="greet"} 1
    gateway_server_up{server="panics"} 1
    gateway_server_up{server="declined"} 0
    gateway_server_up{server="late"} 0
    # HELP gateway_server_info Which plugin the server is, and of which file.
    # TYPE gateway_server_info gauge
    gateway_server_info{server="greet",plugin="greet",version="0.1.0",sha256="[…]"} 1
    gateway_server_info{server="panics",plugin="panics_in_call",version="0.1.0",sha256="[…]"} 1
    # HELP gateway_server_generation Which loading of this process the server is.
    # TYPE gateway_server_generation gauge
    gateway_server_generation{server="greet"} 1
    gateway_server_generation{server="panics"} 2
    # HELP gateway_server_heap_bytes Memory that the plugin's Rust code has allocated.
    # TYPE gateway_server_heap_bytes gauge
    gateway_server_heap_bytes{server="greet"} […]
    gateway_server_heap_bytes{server="panics"} […]
    # HELP gateway_server_stalled_seconds For how long the plugin has taken no message of those sent to it; 0 up to one second.
    # TYPE gateway_server_stalled_seconds gauge
    gateway_server_stalled_seconds{server="greet"} 0.0
    gateway_server_stalled_seconds{server="panics"} 0.0
    # HELP gateway_server_quarantined Whether calls are refused because too many went wrong.
    # TYPE gateway_server_quarantined gauge
    gateway_server_quarantined{server="greet"} 0
    gateway_server_quarantined{server="panics"} 1
    # HELP gateway_server_faults_total Calls that went wrong by the plugin's doing.
    # TYPE gateway_server_faults_total counter
    gateway_server_faults_total{server="greet",kind="plugin_panicked"} 0
    gateway_server_faults_total{server="greet",kind="bad_plugin_result"} 0
    gateway_server_faults_total{server="greet",kind="tool_timeout"} 0
    gateway_server_faults_total{server="greet",kind="call_lost"} 0
    gateway_server_faults_total{server="panics",kind="plugin_panicked"} 2
    gateway_server_faults_total{server="panics",kind="bad_plugin_result"} 0
    gateway_server_faults_total{server="panics",kind="tool_timeout"} 0
    gateway_server_faults_total{server="panics",kind="call_lost"} 0
    # HELP gateway_server_quarantines_total How often the server was quarantined, renewals included.
    # TYPE gateway_server_quarantines_total counter
    gateway_server_quarantines_total{server="greet"} 0
    gateway_server_quarantines_total{server="panics"} 1
    # HELP gateway_server_unloads_total How libraries ended: gone, or kept and why.
    # TYPE gateway_server_unloads_total counter
    gateway_server_unloads_total{server="declined",result="gone",reason=""} 1
    gateway_server_unloads_total{server="late",result="kept",reason="start_timeout"} 1
    # HELP gateway_libraries_kept Libraries of this process that stayed mapped after their end.
    # TYPE gateway_libraries_kept gauge
    gateway_libraries_kept 1
    # HELP gateway_plugin_log_records_total What the plugin logged and printed, by level.
    # TYPE gateway_plugin_log_records_total counter
    gateway_plugin_log_records_total{server="greet",level="error"} 0
    gateway_plugin_log_records_total{server="greet",level="warn"} 0
    gateway_plugin_log_records_total{server="greet",level="info"} 0
    gateway_plugin_log_records_total{server="greet",level="debug"} 0
    gateway_plugin_log_records_total{server="greet",level="trace"} 0
    gateway_plugin_log_records_total{server="panics",level="error"} 2
    gateway_plugin_log_records_total{server="panics",level="warn"} 0
    gateway_plugin_log_records_total{server="panics",level="info"} 0
    gateway_plugin_log_records_total{server="panics",level="debug"} 0
    gateway_plugin_log_records_total{server="panics",level="trace"} 0
    # HELP gateway_plugin_log_dropped_total What the plugin wanted to log beyond its log_max_per_second, which is lost.
    # TYPE gateway_plugin_log_dropped_total counter
    gateway_plugin_log_dropped_total{server="greet"} 0
    gateway_plugin_log_dropped_total{server="panics"} 0
    # HELP gateway_calls_open Calls under way, at every door.
    # TYPE gateway_calls_open gauge
    gateway_calls_open 0
    # HELP mcp_sessions Sessions of clients of 2025 that are open.
    # TYPE mcp_sessions gauge
    mcp_sessions{server="greet"} 0
    mcp_sessions{server="panics"} 0
    # HELP mcp_streams Streams of changes that are open.
    # TYPE mcp_streams gauge
    mcp_streams{server="greet"} 0
    mcp_streams{server="panics"} 0
    # HELP mcp_tasks Tasks that run.
    # TYPE mcp_tasks gauge
    mcp_tasks{server="greet"} 0
    mcp_tasks{server="panics"} 0
    # HELP gateway_connections Connections that are served, at all listeners.
    # TYPE gateway_connections gauge
    gateway_connections […]
    # HELP gateway_http_responses_total Answers to HTTP requests, by status.
    # TYPE gateway_http_responses_total counter
    gateway_http_responses_total{status="500"} 2
    # HELP gateway_limit_decisions_total Calls and sessions for which there was room, or not, by `[limits]`.
    # TYPE gateway_limit_decisions_total counter
    gateway_limit_decisions_total{limit="calls_max",decision="allowed"} 2
    gateway_limit_decisions_total{limit="calls_max",decision="refused"} 0
    gateway_limit_decisions_total{limit="server_calls_max",decision="allowed"} 2
    gateway_limit_decisions_total{limit="server_calls_max",decision="refused"} 0
    gateway_limit_decisions_total{limit="sessions_max",decision="allowed"} 0
    gateway_limit_decisions_total{limit="sessions_max",decision="refused"} 0
    # HELP gateway_rate_decisions_total Calls that a `[[limits.rate]]` has let through, or not.
    # TYPE gateway_rate_decisions_total counter
    # HELP gateway_reloads_total Looks at gateway.toml and the libraries since the start, by what came of them.
    # TYPE gateway_reloads_total counter
    gateway_reloads_total{outcome="applied"} 0
    gateway_reloads_total{outcome="unchanged"} 0
    gateway_reloads_total{outcome="refused"} 0
    # HELP gateway_reload_in_effect 1: all that was on the disk at the last look is served; 0: something was refused, or waits for a restart.
    # TYPE gateway_reload_in_effect gauge
    gateway_reload_in_effect 1
    # HELP gateway_reload_refused What the last look has refused, by the code of the reason.
    # TYPE gateway_reload_refused gauge
    # HELP process_cpu_seconds_total Processor time of the process, in seconds.
    # TYPE process_cpu_seconds_total counter
    process_cpu_seconds_total […]
    # HELP process_resident_memory_bytes Memory that is in use.
    # TYPE process_resident_memory_bytes gauge
    process_resident_memory_bytes […]
    # HELP process_virtual_memory_bytes Address space that is in use.
    # TYPE process_virtual_memory_bytes gauge
    process_virtual_memory_bytes […]
    # HELP process_threads Threads, those of plugins among them.
    # TYPE process_threads gauge
    process_threads […]
    # HELP process_open_fds Open file descriptors.
    # TYPE process_open_fds gauge
    process_open_fds […]
    # HELP process_max_fds Most file descriptors that may be open.
    # TYPE process_max_fds gauge
    process_max_fds […]
    # HELP process_start_time_seconds When the process was started, in seconds since 1970.
    # TYPE process_start_time_seconds gauge
    process_start_time_seconds […]
    "#);
}

#[tokio::test]
async fn open_metrics_is_the_same_in_the_other_format() {
    let gateway = gateway().await;
    let answer = scrape(&gateway, "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3").await;
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(answer.headers["content-type"], media_type);
    assert!(answer.body.ends_with("\n# EOF\n"), "{}", answer.body);
    assert!(answer.body.contains("# TYPE gateway_server_faults counter\n"), "{}", answer.body);
    // That it was asked once is told when it is asked again.
    let samples = |text: &str| -> Vec<String> {
        let samples = masked(text);
        let samples =
            samples.lines().filter(|line| !line.starts_with('#') && !line.contains("status=\"200\""));
        samples.map(str::to_owned).collect()
    };
    assert_eq!(samples(&answer.body), samples(&scrape(&gateway, "text/plain").await.body));
}

#[tokio::test]
async fn each_call_is_counted_by_how_it_ended() {
    let text = config(&["greet", "math", "everything"])
        + &server("late", "never_returns")
        + "call_timeout = \"50ms\"\n"
        + "[[limits.rate]]\nname = \"bye\"\nkey = \"server\"\nrate = \"1/h\"\nservers = [\"bye\"]\n"
        + &server("bye", "bye");
    let gateway = Gateway::with_config(&text).await;
    for (path, body) in [
        ("/greet/tools/echoHai", r#"{"userName":"Ada"}"#),
        ("/greet/tools/echoHai", r#"{"userName":1}"#),
        ("/greet/tools/echoHai", r#"{"userName":"#),
        ("/greet/tools/echoBye", "{}"),
        ("/everything/tools/test_error_handling", "{}"),
        ("/everything/tools/test_elicitation", r#"{"message":"who?"}"#),
        ("/late/tools/wait", "{}"),
        ("/bye/tools/echoBye", r#"{"userName":"Ada"}"#),
        ("/bye/tools/echoBye", r#"{"userName":"Ada"}"#),
    ] {
        gateway.post(path, body).await;
    }
    let read =
        json!({"jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": {"uri": "test://none"}});
    gateway.post("/everything", read.to_string()).await;
    let told = scrape(&gateway, "*/*").await.body;
    let families =
        ["mcp_tool_call_results_total{", "gateway_method_calls_total{", "gateway_rate_decisions_total{"];
    let of_interest =
        |line: &&str| families.iter().any(|family| line.starts_with(family)) && !line.ends_with(" 0");
    assert_snapshot!(told.lines().filter(of_interest).collect::<Vec<_>>().join("\n"), @r#"
    mcp_tool_call_results_total{server="greet",tool="echoHai",outcome="ok"} 1
    mcp_tool_call_results_total{server="greet",tool="echoHai",outcome="malformed_json"} 1
    mcp_tool_call_results_total{server="greet",tool="echoHai",outcome="invalid_arguments"} 1
    mcp_tool_call_results_total{server="greet",tool="_unknown",outcome="unknown_tool"} 1
    mcp_tool_call_results_total{server="everything",tool="test_elicitation",outcome="client_input_required"} 1
    mcp_tool_call_results_total{server="everything",tool="test_error_handling",outcome="tool_error"} 1
    mcp_tool_call_results_total{server="late",tool="wait",outcome="tool_timeout"} 1
    mcp_tool_call_results_total{server="bye",tool="echoBye",outcome="ok"} 1
    mcp_tool_call_results_total{server="bye",tool="echoBye",outcome="rate_limited"} 1
    gateway_method_calls_total{server="everything",method="resources/read",outcome="invalid_arguments"} 1
    gateway_rate_decisions_total{rate="bye",decision="allowed"} 1
    gateway_rate_decisions_total{rate="bye",decision="refused"} 1
    "#);
    assert_eq!(value(&told, "mcp_tool_calls_total{server=\"greet\",tool=\"echoHai\"}"), Some(3.0));
    // One that was refused before it was one is not timed.
    let timed =
        |server| format!("mcp_tool_call_duration_seconds_count{{server=\"{server}\",tool=\"echoBye\"}}");
    assert_eq!(value(&told, &timed("bye")), Some(1.0));
}

#[tokio::test]
async fn names_that_clients_make_up_are_in_no_series() {
    let gateway = Gateway::with_config(&config(&["greet"])).await;
    let series = async || {
        let told = scrape(&gateway, "*/*").await.body;
        told.lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned()))
            .collect::<Vec<_>>()
    };
    let call = async |number: u32| {
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": format!("m{number}"), "arguments": {}}});
        gateway.post("/greet", message.to_string()).await;
        gateway
            .post("/greet", json!({"jsonrpc": "2.0", "id": 1, "method": format!("x/{number}")}).to_string())
            .await;
        gateway.post(&format!("/greet/tools/r{number}"), "{}").await;
        gateway.get(&format!("/p{number}")).await;
    };
    call(0).await;
    let before = series().await;
    for number in 1..250 {
        call(number).await;
    }
    assert_eq!(series().await, before);
    let told = scrape(&gateway, "*/*").await.body;
    assert_eq!(value(&told, "mcp_tool_calls_total{server=\"greet\",tool=\"_unknown\"}"), Some(500.0));
    assert_eq!(value(&told, "mcp_requests_total{server=\"greet\",method=\"_other\"}"), Some(250.0));
}

#[tokio::test]
async fn a_server_that_is_mounted_no_more_is_in_no_series_and_one_that_stays_goes_on_to_count() {
    let gateway = Gateway::with_config(&config(&["greet", "bye"])).await;
    for path in ["/greet/tools/echoHai", "/bye/tools/echoBye"] {
        gateway.post(path, r#"{"userName":"Ada"}"#).await;
    }
    assert!(scrape(&gateway, "*/*").await.body.contains("server=\"bye\""));
    gateway.files().replace("gateway.toml", config(&["greet"]));
    until("bye is gone", async || {
        !scrape(&gateway, "*/*").await.body.contains("mcp_tool_calls_total{server=\"bye\"")
    })
    .await;
    gateway.event_where("server unloaded", |event| event["server"] == "bye").await;
    let told = scrape(&gateway, "*/*").await.body;
    assert!(!told.contains("server=\"bye\""), "{told}");
    assert_eq!(value(&told, "mcp_tool_calls_total{server=\"greet\",tool=\"echoHai\"}"), Some(1.0));
}

#[tokio::test]
async fn calls_under_way_sessions_and_streams_are_told() -> Result<()> {
    let gateway = Gateway::start(&["everything", "holds_calls"]).await;
    let told = async |series: &str| value(&scrape(&gateway, "*/*").await.body, series);
    let in_flight = "mcp_tool_calls_in_flight{server=\"holds_calls\",tool=\"hold\"}";
    let (sessions, streams) = ("mcp_sessions{server=\"everything\"}", "mcp_streams{server=\"everything\"}");

    let held = gateway.post("/holds_calls/tools/hold", json!({"directory": gateway.folder()}).to_string());
    let meanwhile = async {
        gateway.event("holding").await;
        let open = told(in_flight).await;
        std::fs::write(gateway.folder().join("release"), "").expect("a file");
        open
    };
    assert_eq!(tokio::join!(held, meanwhile).1, Some(1.0));
    assert_eq!(told(in_flight).await, Some(0.0));

    let session = super::mcp::client(gateway.url("/everything"), legacy()).await?;
    assert_eq!(told(sessions).await, Some(1.0));
    // The session has a stream of its own by and by.
    until("the session has its stream", async || told(streams).await == Some(1.0)).await;
    let stateless = super::mcp::client(gateway.url("/everything"), modern()).await?;
    let stream = stateless.listen(SubscriptionFilter::builder().tools_list_changed().build()).await?;
    assert_eq!((told(sessions).await, told(streams).await), (Some(1.0), Some(2.0)));
    drop((stream, stateless));
    session.cancel().await?;
    until("all of it is closed", async || {
        (told(sessions).await, told(streams).await) == (Some(0.0), Some(0.0))
    })
    .await;
    Ok(())
}

#[tokio::test]
async fn who_was_let_in_and_who_was_not_is_told_by_what_they_have_shown() {
    let (admin, ci, other) = (admin_key(), key("ci", &["greet"]), key("other", &["bye"]));
    let text = config(&["greet"]) + &admin.table + &ci.table + &other.table;
    let gateway = Gateway::with_config(&text).await.asked_with(&admin);
    for shown in
        [ci.bearer(), other.bearer(), "Bearer mgw_wrong".into(), "Bearer a.b.c".into(), String::new()]
    {
        let request = Request::post("/greet/tools/echoHai").header("content-type", "application/json");
        let request = request.header("authorization", shown).body(r#"{"userName":"Ada"}"#.to_owned());
        gateway.send(request.expect("a request")).await.expect("an answer");
    }
    let told = scrape(&gateway, "*/*").await.body;
    let decisions = told.lines().filter(|line| line.starts_with("gateway_auth_decisions_total{"));
    assert_snapshot!(decisions.filter(|line| !line.ends_with(" 0")).collect::<Vec<_>>().join("\n"), @r#"
    gateway_auth_decisions_total{credential="none",decision="unauthorized"} 1
    gateway_auth_decisions_total{credential="key",decision="allowed"} 2
    gateway_auth_decisions_total{credential="key",decision="unauthorized"} 1
    gateway_auth_decisions_total{credential="key",decision="forbidden"} 1
    gateway_auth_decisions_total{credential="token",decision="unauthorized"} 1
    "#);
}

#[tokio::test]
async fn calls_are_not_counted_where_the_operator_does_not_want_it() {
    let gateway = Gateway::with_config(&(config(&["greet"]) + "[metrics]\ncalls = false\n")).await;
    gateway.post("/greet/tools/echoHai", r#"{"userName":"Ada"}"#).await;
    assert!(!scrape(&gateway, "*/*").await.body.contains("mcp_tool_calls"));
    gateway.files().replace("gateway.toml", config(&["greet"]));
    until("they are counted", async || scrape(&gateway, "*/*").await.body.contains("mcp_tool_calls")).await;
    gateway.post("/greet/tools/echoHai", r#"{"userName":"Ada"}"#).await;
    let told = scrape(&gateway, "*/*").await.body;
    assert_eq!(value(&told, "mcp_tool_calls_total{server=\"greet\",tool=\"echoHai\"}"), Some(1.0));
}
