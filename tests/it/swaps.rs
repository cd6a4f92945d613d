//! One generation after the other at the same door: no call is lost, and whoever listens hears of what has changed.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use http::Request;
use rmcp::{
    ClientHandler, ClientServiceExt, RoleClient,
    model::{CallToolRequestParams, ServerNotification, SubscriptionFilter},
    service::{NotificationContext, SubscriptionEnd},
    transport::StreamableHttpClientTransport,
};
use serde_json::{Value, json};
use tests::{
    Answer, Folder, Gateway, admin_key, artifacts,
    process::mapped_libraries,
    traffic::{Swaps, Traffic},
};
use tokio::{sync::mpsc, time::timeout};

use super::mcp::{legacy, modern};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);

/// A gateway that serves `greet` from a file that can be replaced.
struct Swapped {
    gateway: Gateway,
    libraries: Folder,
}

impl Swapped {
    async fn start() -> Self {
        let libraries = Folder::empty();
        libraries.built(&["greet", "bye"]);
        let path = |name: &str| libraries.path().join(format!("plugins/{name}.so"));
        let gateway =
            Gateway::with_config(&config(&path("greet"), &path("bye"), "30s")).await.asked_with(&admin_key());
        Self { gateway, libraries }
    }

    fn library(&self, name: &str) -> PathBuf {
        self.libraries.path().join(format!("plugins/{name}.so"))
    }

    /// Puts a build of `greet` in the place of the one that is there, as installers do.
    fn install(&self, build: &str) {
        let new = self.library("new");
        fs::copy(artifacts().join(build), &new).expect("it was built");
        fs::rename(new, self.library("greet")).expect("it is ours");
    }

    fn call_timeout(&self, limit: &str) {
        let text = config(&self.library("greet"), &self.library("bye"), limit);
        fs::write(self.gateway.folder().join("gateway.toml"), text).expect("it is ours");
    }

    async fn reload(&self) -> Answer {
        let request = Request::post("/admin/reload");
        self.gateway.send(request.body(String::new()).expect("a request")).await.expect("an answer")
    }

    async fn generation(&self, server: &str) -> u64 {
        let servers = self.gateway.get("/servers").await.json();
        let rows = servers["servers"].as_array().cloned().unwrap_or_default();
        let row = rows.into_iter().find(|row| row["name"] == server).expect("it is listed");
        row["generation"].as_u64().expect("it runs")
    }
}

fn config(greet: &std::path::Path, bye: &std::path::Path, call_timeout: &str) -> String {
    format!(
        "listen = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\nfilter = \"info,host::serve=warn\"\n{}\
         [[server]]\nauth = \"none\"\nname = \"greet\"\nplugin = {greet:?}\nprefix = \"/greet\"\ncall_timeout = {call_timeout:?}\n\
         [[server]]\nauth = \"none\"\nname = \"bye\"\nplugin = {bye:?}\nprefix = \"/bye\"\n",
        admin_key().table
    )
}

const BUILDS: [&str; 2] = ["greet.so", "versions/greet_other_words.so"];
const OTHER_TABLE: &str = "versions/greet_other_table.so";

/// The small edition of `cargo xtask swaps`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_swaps_under_load_lose_no_call_and_leave_no_library() -> Result<()> {
    let swapped = Swapped::start().await;
    let swaps = Arc::new(Swaps::default());
    let traffic = Traffic::start(swapped.gateway.base(), 12, &swaps);
    let other = swapped.generation("bye").await;
    for number in 1..=40 {
        swaps.begin();
        swapped.install(BUILDS[number % 2]);
        let answer = swapped.reload().await;
        assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
        swaps.end();
    }
    for (door, seen) in traffic.stop().await? {
        assert_eq!(seen.failed, Vec::<String>::new(), "{door:?}");
        assert!(
            seen.answered.iter().all(|calls| *calls > 0),
            "{door:?}: both builds answered, {:?}",
            seen.answered
        );
    }
    assert_eq!(swapped.generation("bye").await, other, "nobody touched it");
    let two_mapped = async || mapped_libraries(swapped.gateway.pid()).len() <= 2;
    tests::until("the old libraries are gone", two_mapped).await;
    assert_eq!(mapped_libraries(swapped.gateway.pid()), ["bye.so", "greet.so"]);
    swapped.gateway.signal("TERM");
    let (code, log) = swapped.gateway.ended().await;
    let of =
        |message: &str| log.iter().filter(|event| event["message"] == message).cloned().collect::<Vec<_>>();
    assert_eq!(code, Some(0));
    assert_eq!(of("server unloaded").len(), 42);
    assert!(of("server unloaded").iter().all(|event| event["library"] == "gone"));
    assert!(log.iter().all(|event| event["level"] == "INFO"), "nothing to warn of");
    Ok(())
}

/// A client that counts what it is told of tools.
#[derive(Clone)]
struct Listener(mpsc::UnboundedSender<()>);

impl ClientHandler for Listener {
    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        let _ = self.0.send(());
    }
}

#[tokio::test]
async fn a_session_and_a_listening_stream_hear_of_exactly_what_has_changed_in_a_hundred_swaps() -> Result<()>
{
    let swapped = Swapped::start().await;
    let url = swapped.gateway.url("/greet");
    let (say, mut told) = mpsc::unbounded_channel();
    let transport = StreamableHttpClientTransport::from_uri(url.clone());
    let session = Listener(say).serve_with_lifecycle(transport, legacy()).await?;
    let stateless = ().serve_with_lifecycle(StreamableHttpClientTransport::from_uri(url), modern()).await?;
    let filter = SubscriptionFilter::builder().tools_list_changed().build();
    let mut stream = stateless.listen(filter).await?;
    let first = swapped.generation("greet").await;

    let (mut changes, mut has_other_table) = (0, false);
    for number in 1..=100 {
        // Nineteen times the tools are others; else only a setting is.
        let changes_tools = number % 5 == 0 && number < 100;
        if changes_tools {
            has_other_table = !has_other_table;
            swapped.install(if has_other_table { OTHER_TABLE } else { BUILDS[0] });
        } else {
            swapped.call_timeout(&format!("{number}s"));
        }
        assert_eq!(swapped.reload().await.status.as_u16(), 200);
        if changes_tools {
            timeout(LONG, told.recv()).await?.context("the session is told")?;
            let notification = timeout(LONG, stream.next()).await??;
            assert!(matches!(notification, Some(ServerNotification::ToolListChangedNotification(_))));
            let names: Vec<_> =
                session.list_all_tools().await?.iter().map(|tool| tool.name.to_string()).collect();
            let expected: &[&str] = if has_other_table { &["alsoHai", "echoHai"] } else { &["echoHai"] };
            assert_eq!(names, expected);
            changes += 1;
        }
    }
    assert_eq!(changes, 19);
    let generation = swapped.generation("greet").await;
    assert!(generation >= first + 100, "each of them was another generation: {first} {generation}");
    let arguments = json!({ "userName": "Ada" }).as_object().cloned().unwrap_or_default();
    let call = CallToolRequestParams::new("alsoHai").with_arguments(arguments);
    let result = session.call_tool(call).await?;
    assert_eq!(result.structured_content, Some(json!({ "result": "Good day, Ada!" })));

    swapped.gateway.signal("TERM");
    assert!(timeout(LONG, stream.next()).await??.is_none(), "nothing but the end comes after them");
    assert!(matches!(stream.end(), Some(SubscriptionEnd::Graceful(_))));
    assert!(told.try_recv().is_err(), "the session was told of nothing else");
    Ok(())
}

#[tokio::test]
async fn a_session_whose_server_moves_or_goes_ends_and_the_others_go_on() -> Result<()> {
    let swapped = Swapped::start().await;
    let stateless = ()
        .serve_with_lifecycle(
            StreamableHttpClientTransport::from_uri(swapped.gateway.url("/greet")),
            modern(),
        )
        .await?;
    let filter = SubscriptionFilter::builder().tools_list_changed().build();
    let mut stream = stateless.listen(filter.clone()).await?;
    let other =
        ().serve_with_lifecycle(
            StreamableHttpClientTransport::from_uri(swapped.gateway.url("/bye")),
            modern(),
        )
        .await?;
    let mut others = other.listen(filter).await?;

    let text = config(&swapped.library("greet"), &swapped.library("bye"), "30s");
    fs::write(
        swapped.gateway.folder().join("gateway.toml"),
        text.replace("prefix = \"/greet\"", "prefix = \"/hello\""),
    )?;
    let moved: Value = swapped.reload().await.json();
    assert_eq!(moved["changes"][0]["change"], "swapped");
    assert!(timeout(LONG, stream.next()).await??.is_none());
    assert!(matches!(stream.end(), Some(SubscriptionEnd::Graceful(_))));
    let unloaded = swapped.gateway.event_with("server unloaded", &[("server", "greet")]).await;
    assert_eq!(unloaded["library"], "gone");
    let greeted = swapped.gateway.post("/hello/tools/echoHai", r#"{"userName":"Ada"}"#).await;
    assert_eq!(greeted.body, r#"{"result":"Hello, Ada!"}"#);

    swapped.gateway.signal("TERM");
    assert!(timeout(LONG, others.next()).await??.is_none(), "it went on until now");
    Ok(())
}

/// A request of which only half has been sent.
struct Half {
    stream: TcpStream,
    rest: String,
}

impl Half {
    fn send(base: &str, path: &str, body: &str) -> Self {
        let address = base.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).expect("it listens");
        let (first, rest) = body.split_at(body.len() / 2);
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\naccept: application/json, \
             text/event-stream\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{first}",
            body.len()
        )
        .expect("it reads");
        Self { stream, rest: rest.to_owned() }
    }

    fn finish(mut self) -> String {
        self.stream.write_all(self.rest.as_bytes()).expect("it reads");
        let mut answer = String::new();
        self.stream.read_to_string(&mut answer).expect("it answers");
        answer
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_had_begun_is_answered_although_its_server_has_moved() -> Result<()> {
    let swapped = Swapped::start().await;
    let base = swapped.gateway.base();
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": { "name": "echoHai", "arguments": { "userName": "Ada" } } });
    let rest = Half::send(base, "/greet/tools/echoHai", r#"{"userName":"Ada"}"#);
    let mcp = Half::send(base, "/greet/mcp", &call.to_string());
    // Both count as calls as soon as the gateway has read their heads.
    tests::until("both have begun", async || {
        let open = |name: &str| format!("{name} 2");
        swapped.gateway.get("/metrics").await.body.contains(&open("gateway_calls_open"))
    })
    .await;

    let text = config(&swapped.library("greet"), &swapped.library("bye"), "30s");
    fs::write(
        swapped.gateway.folder().join("gateway.toml"),
        text.replace("prefix = \"/greet\"", "prefix = \"/hello\""),
    )?;
    assert_eq!(swapped.reload().await.status.as_u16(), 200);
    for half in [rest, mcp] {
        let answer = half.finish();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("Hello, Ada!"), "{answer}");
    }
    let unloaded = swapped.gateway.event_with("server unloaded", &[("server", "greet")]).await;
    assert_eq!(unloaded["library"], "gone");
    Ok(())
}
