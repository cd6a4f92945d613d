//! A plugin and a host of this test's, over the real contract: questions, cancellation, notices, in one conversation.

use std::{
    collections::VecDeque,
    ffi::c_void,
    io::Write,
    os::unix::net::UnixStream,
    sync::{Mutex, OnceLock, PoisonError},
};

use abi_stable::{
    prefix_type::PrefixTypeTrait,
    std_types::{RSlice, RStr, RVec},
};
use serde_json::{Value, json};

use super::*;
use crate::{
    TaskOptions,
    abi::{HostTable, LogRecord},
    prelude::*,
};

/// The host: what it was told, and what it has yet to say.
struct Fake {
    events: Mutex<VecDeque<Event>>,
    told: Mutex<Vec<String>>,
    wake: (UnixStream, UnixStream),
}

/// The functions of the table find it here rather than behind their pointer, which would be unsafe to follow.
static FAKE: OnceLock<Fake> = OnceLock::new();

fn fake() -> &'static Fake {
    FAKE.get_or_init(|| {
        let wake = UnixStream::pair().expect("two sockets");
        wake.0.set_nonblocking(true).expect("a socket can be that");
        Fake { events: Mutex::default(), told: Mutex::default(), wake }
    })
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn say(kind: u32, call: u64, code: u32, name: &str, body: Value) {
    let mut event = Event::empty();
    (event.kind, event.call, event.code, event.name_len) = (kind, call, code, name.len() as u32);
    event.data = format!("{name}{body}").into_bytes().into();
    lock(&fake().events).push_back(event);
    (&fake().wake.1).write_all(&[1]).expect("the other end is open");
}

fn told(text: String) {
    lock(&fake().told).push(text);
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

extern "C" fn wake_fd(_: *const c_void) -> i32 {
    fake().wake.0.as_raw_fd()
}
extern "C" fn next(_: *const c_void, _: i64, event: &mut Event) -> bool {
    lock(&fake().events).pop_front().map(|next| *event = next).is_some()
}
extern "C" fn ready(_: *const c_void, manifest: RSlice<'_, u8>) -> u32 {
    let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
    told(format!("ready {}", manifest["capabilities"]));
    abi::DELIVERED
}
extern "C" fn info(_: *const c_void, _: u64, out: &mut RVec<u8>) -> bool {
    out.extend_from_copy_slice(br#"{"requestId":"r","state":7}"#);
    true
}
extern "C" fn reply(_: *const c_void, call: u64, status: u32, out: RVec<u8>) -> u32 {
    told(format!("reply {call} {status} {}", text(&out)));
    abi::DELIVERED
}
extern "C" fn notify(_: *const c_void, call: u64, method: RStr<'_>, params: RSlice<'_, u8>) -> u32 {
    told(format!("notify {call} {method} {}", text(&params)));
    abi::DELIVERED
}
extern "C" fn request(
    _: *const c_void,
    call: u64,
    key: RStr<'_>,
    method: RStr<'_>,
    _: RSlice<'_, u8>,
) -> u32 {
    told(format!("request {call} {key} {method}"));
    abi::DELIVERED
}
extern "C" fn parked(_: *const c_void, call: u64) {
    told(format!("parked {call}"));
    match call {
        1 => say(
            abi::ANSWER,
            1,
            abi::ACCEPTED,
            "name",
            json!({ "action": "accept", "content": { "name": "Ada" } }),
        ),
        _ => say(abi::CANCEL, call, abi::SUSPENDED, "", Value::Null),
    }
}
extern "C" fn set_state(_: *const c_void, call: u64, state: RSlice<'_, u8>) -> u32 {
    told(format!("state {call} {}", text(&state)));
    abi::DELIVERED
}
extern "C" fn into_task(_: *const c_void, call: u64, options: RSlice<'_, u8>) -> bool {
    told(format!("task {call} {}", text(&options)));
    true
}
extern "C" fn dropped(_: *const c_void, call: u64) {
    told(format!("dropped {call}"));
    say(abi::NOTIFY, 0, 0, "resources/subscribe", json!({ "uri": "test://a" }));
}
extern "C" fn log(_: *const c_void, _: &LogRecord<'_>) {}
extern "C" fn max_level(_: *const c_void) -> u32 {
    0
}
extern "C" fn thread(_: *const c_void, _: u32, _: i32) {}
extern "C" fn thread_key(_: *const c_void, _: u32, _: bool) {}
extern "C" fn heap(_: *const c_void, _: u64) {}
extern "C" fn mapping(_: *const c_void, _: usize, _: usize, _: bool) {}

fn host() -> Host {
    let table = HostTable {
        wake_fd,
        next,
        ready,
        info,
        reply,
        notify,
        request,
        parked,
        set_state,
        into_task,
        dropped,
        log,
        max_level,
        thread,
        thread_key,
        heap,
        mapping,
    };
    let table = table.leak_into_prefix();
    Host { size: size_of::<Host>() as u32, flags: 0, context: std::ptr::null(), table, reserved: [0; 2] }
}

#[derive(Deserialize, JsonSchema)]
struct Name {
    name: String,
}

async fn greet(ctx: Ctx, _: NoArgs) -> Result<Reply> {
    let before = ctx.state::<u32>()?.unwrap_or_default();
    ctx.set_state(&(before + 1))?;
    let Name { name } = ctx.elicit("name", "Who are you?").await?.accepted()?;
    ctx.into_task(TaskOptions::new().ttl(Duration::from_secs(60)));
    Ok(Reply::new().text(name))
}

#[test]
fn questions_cancellation_and_notices_cross_the_contract() {
    let plugin = Plugin::new().tool("greet", "Greets.", greet);
    let notifier = plugin.notifier();
    let plugin = plugin.on_subscribe(move |uri| {
        notifier.resource_updated(&uri);
        say(abi::STOP, 0, 0, "", Value::Null);
        async { Ok(()) }
    });
    say(abi::CALL, 1, 0, "tools/call", json!({ "name": "greet", "arguments": {} }));
    say(abi::CALL, 2, 0, "tools/call", json!({ "name": "greet", "arguments": {} }));
    let package = Package { name: "test", version: "0.0.0" };
    let served = runtime(1).expect("a runtime").block_on(serve(host(), package, plugin));
    served.expect("it stops when told to");

    let told = lock(&fake().told);
    let of = |call: &str| -> Vec<&str> {
        told.iter().filter(|line| line.split(' ').nth(1) == Some(call)).map(String::as_str).collect()
    };
    assert_eq!(told[0], r#"ready {"tools":{},"resources":{"subscribe":true}}"#);
    assert_eq!(
        of("1"),
        [
            "state 1 8",
            "request 1 name elicitation/create",
            "parked 1",
            r#"task 1 {"ttlMs":60000}"#,
            r#"reply 1 0 {"content":[{"type":"text","text":"Ada"}],"isError":false}"#,
        ]
    );
    assert_eq!(of("2"), ["state 2 8", "request 2 name elicitation/create", "parked 2", "dropped 2"]);
    assert_eq!(of("0"), [r#"notify 0 notifications/resources/updated {"uri":"test://a"}"#]);
}
