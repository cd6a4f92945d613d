//! `/metrics`: which numbers there are, under which names.

use http::Request;
use insta::assert_snapshot;
use tests::{Answer, Gateway, config, server};

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

/// How much memory a plugin has taken depends on the compiler.
fn without_heaps(told: &str) -> String {
    let line = |line: &str| match line.rsplit_once(' ') {
        Some((series, _)) if series.starts_with("gateway_server_heap_bytes{") => format!("{series} […]"),
        _ => line.to_owned(),
    };
    told.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn every_server_is_told_in_numbers() {
    let gateway = gateway().await;
    let answer = scrape(&gateway, "*/*").await;
    assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert_snapshot!(without_heaps(&answer.body), @r#"
    # HELP gateway_server_up Whether the server runs. One that is quarantined does.
    # TYPE gateway_server_up gauge
    gateway_server_up{server="greet"} 1
    gateway_server_up{server="panics"} 1
    gateway_server_up{server="declined"} 0
    gateway_server_up{server="late"} 0
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
    # HELP gateway_calls_open Calls under way, at every door.
    # TYPE gateway_calls_open gauge
    gateway_calls_open 0
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
    let samples =
        |text: &str| text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
    let (here, there): (Vec<String>, Vec<String>) =
        (samples(&answer.body), samples(&scrape(&gateway, "text/plain").await.body));
    assert_eq!(here, there);
}
