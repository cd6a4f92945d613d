//! What a plugin calls: the functions of the host's table. They run on the plugin's threads.
//!
//! | unsafe | why it holds | test that pins it |
//! |---|---|---|
//! | `of`: the context pointer | made by `Mailbox::host` from an `Arc` that outlives the plugin's last thread | `a_loaded_library_is_mapped_and_an_unloaded_one_is_not` |
//!
//! None may panic: a panic cannot leave an `extern "C"` function, so it would end the process.

#![expect(unsafe_code, reason = "the pointer that plugins hand back")]

use std::{
    ffi::c_void,
    os::fd::AsRawFd,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, PoisonError, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use abi_stable::{
    prefix_type::WithMetadata,
    std_types::{RSlice, RStr, RVec},
};
use plugin_api::abi::{self, Event, HostTable, HostTableRef, LogRecord};
use serde::Deserialize;
use tracing::level_filters::LevelFilter;

use super::{Answer, Call, Mailbox, Notice, Queue, Stage, lock};
use crate::{
    load::{
        call::{About, Notifications, Tasks},
        exchange::{Exchange, Put},
        manifest::MANIFEST_MAX,
    },
    observe::{self, PLUGIN},
    trace::{self, Kind, Said},
};

/// Largest reply, in bytes.
const REPLY_MAX: usize = 16 << 20;
/// Largest parameters of a notification or a question, in bytes: some dozens may wait to be passed on.
const PARAMS_MAX: usize = 256 << 10;
/// Longest message of a record, and longest fields, in bytes.
const TEXT_MAX: usize = 64 << 10;
/// A reply seldom is longer, and then its buffer grows.
const REPLY_USUAL: usize = 256;

fn of<'a>(context: *const c_void) -> &'a Mailbox {
    // SAFETY: `Mailbox::host` made the pointer from an `Arc` of which `instance` keeps one until the plugin's last
    // thread has ended, or for ever if it cannot be sure of that.
    unsafe { &*context.cast::<Mailbox>() }
}

extern "C" fn wake_fd(context: *const c_void) -> i32 {
    of(context).wake.as_raw_fd()
}

extern "C" fn next(context: *const c_void, wait_ms: i64, event: &mut Event) -> bool {
    let mailbox = of(context);
    let mut queue = lock(&mailbox.queue);
    if queue.events.is_empty() {
        let empty = |queue: &mut Queue| queue.events.is_empty();
        if wait_ms == abi::ARM {
            queue.armed = true;
        } else if wait_ms > 0 {
            let wait = Duration::from_millis(wait_ms.unsigned_abs());
            let waited = mailbox.posted.wait_timeout_while(queue, wait, empty);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        } else if wait_ms != abi::PEEK {
            queue = mailbox.posted.wait_while(queue, empty).unwrap_or_else(PoisonError::into_inner);
        }
    }
    let Some(message) = queue.events.pop_front() else { return false };
    drop(queue);
    event.kind = message.kind;
    event.call = message.call;
    event.code = message.code;
    event.name_len = message.name_len;
    event.data = message.data.into();
    if message.kind == abi::CALL {
        event.out = RVec::with_capacity(REPLY_USUAL);
    }
    true
}

extern "C" fn ready(context: *const c_void, manifest: RSlice<'_, u8>) -> u32 {
    let mailbox = of(context);
    if manifest.len() > MANIFEST_MAX && mailbox.ready.load(Relaxed) {
        return abi::DROPPED;
    }
    if mailbox.ready.swap(true, Relaxed) {
        return mailbox.announce(manifest.to_vec());
    }
    mailbox.say(Stage::Ready(manifest.to_vec()));
    abi::DELIVERED
}

extern "C" fn info(context: *const c_void, call: u64, out: &mut RVec<u8>) -> bool {
    let json = match lock(&of(context).calls).get(&call) {
        Some(Call::Awaited { options, .. }) => serde_json::to_vec(&options.facts).unwrap_or_default(),
        _ => return false,
    };
    *out = json.into();
    true
}

extern "C" fn reply(context: *const c_void, call: u64, status: u32, out: RVec<u8>) -> u32 {
    #[derive(Deserialize)]
    struct Fault {
        #[serde(default = "internal_error")]
        code: i32,
        #[serde(default)]
        message: String,
        data: Option<serde_json::Value>,
    }
    // JSON-RPC 2.0 section 5.1.
    fn internal_error() -> i32 {
        -32603
    }
    let answer = if out.len() > REPLY_MAX {
        Answer::TooLarge(out.len())
    } else if status == abi::RESULT {
        // A move: the buffer is the one that came with the call. A plugin's own would be copied.
        Answer::Result(out.into_vec())
    } else {
        let unreadable =
            |_| Fault { code: internal_error(), message: "the plugin gave no reason".into(), data: None };
        let fault: Fault = serde_json::from_slice(&out).unwrap_or_else(unreadable);
        match status {
            abi::PANICKED => Answer::Panicked(fault.message),
            _ => Answer::Error { code: fault.code, message: fault.message, data: fault.data },
        }
    };
    let outcome = if matches!(answer, Answer::TooLarge(_)) { abi::DROPPED } else { abi::DELIVERED };
    if of(context).answer(call, answer) { outcome } else { abi::CLOSED }
}

/// The exchange of a call somebody waits for.
fn exchange(mailbox: &Mailbox, call: u64) -> Option<Arc<Exchange>> {
    match lock(&mailbox.calls).get(&call) {
        Some(Call::Awaited { exchange, .. }) => Some(exchange.clone()),
        _ => None,
    }
}

fn outcome(put: Put) -> u32 {
    match put {
        Put::Taken => abi::DELIVERED,
        Put::Full => abi::DROPPED,
        Put::Ended => abi::CLOSED,
    }
}

extern "C" fn notify(context: *const c_void, call: u64, method: RStr<'_>, params: RSlice<'_, u8>) -> u32 {
    let (mailbox, method) = (of(context), method.as_str());
    if params.len() > PARAMS_MAX {
        return abi::DROPPED;
    }
    // Who changes a list does so in a call, but it is not about that call.
    if call == 0 || !matches!(method, "notifications/progress" | "notifications/message") {
        let Ok(params) = serde_json::from_slice(params.as_slice()) else { return abi::DROPPED };
        return mailbox.notice(Notice::Notification { method: method.to_owned(), params });
    }
    match lock(&mailbox.calls).get(&call) {
        None | Some(Call::Cancelled(_)) => return abi::CLOSED,
        Some(Call::Awaited { options, .. }) if options.notifications == Notifications::Dropped => {
            return abi::DROPPED;
        }
        Some(Call::Awaited { .. }) => {}
    }
    exchange(mailbox, call)
        .map_or(abi::CLOSED, |exchange| outcome(exchange.notify(method, params.as_slice())))
}

extern "C" fn request(
    context: *const c_void,
    call: u64,
    key: RStr<'_>,
    method: RStr<'_>,
    params: RSlice<'_, u8>,
) -> u32 {
    let mailbox = of(context);
    let known = match lock(&mailbox.calls).get(&call) {
        Some(Call::Awaited { options, .. }) => options.answers.get(key.as_str()).cloned(),
        _ => return abi::CLOSED,
    };
    if let Some(answer) = known {
        mailbox.answer_question(call, key.as_str(), &answer);
        return abi::DELIVERED;
    }
    let Some(exchange) = exchange(mailbox, call) else { return abi::CLOSED };
    outcome(exchange.ask(key.as_str(), method.as_str(), params.as_slice()))
}

extern "C" fn parked(context: *const c_void, call: u64) {
    let mailbox = of(context);
    // An answer on its way will wake it; it says so again when it has had that.
    let answered = lock(&mailbox.queue).events.iter().any(|m| m.kind == abi::ANSWER && m.call == call);
    if let Some(exchange) = exchange(mailbox, call).filter(|_| !answered) {
        exchange.parked();
    }
}

extern "C" fn set_state(context: *const c_void, call: u64, state: RSlice<'_, u8>) -> u32 {
    exchange(of(context), call).map_or(abi::CLOSED, |exchange| outcome(exchange.keep(state.as_slice())))
}

extern "C" fn into_task(context: *const c_void, call: u64, options: RSlice<'_, u8>) -> bool {
    let mailbox = of(context);
    let allowed = match lock(&mailbox.calls).get_mut(&call) {
        // Once: whoever asks again is told that it is one.
        Some(Call::Awaited { options, .. }) => std::mem::replace(&mut options.tasks, Tasks::Refused),
        _ => return false,
    };
    let Some(exchange) = exchange(mailbox, call) else { return false };
    if allowed == Tasks::Allowed {
        exchange.became_task(options.as_slice());
    }
    exchange.is_task()
}

extern "C" fn dropped(context: *const c_void, call: u64) {
    // Awaited only if the plugin lost it: its future ended without an answer.
    of(context).answer(call, Answer::Gone);
}

extern "C" fn log(context: *const c_void, record: &LogRecord<'_>) {
    // A thread-local of the plugin may log while it is destroyed, and then those of our subscriber, which are
    // not made for that, may be gone already. Its panic is told by the panic hook; the record is lost, but not to
    // the trace as well.
    if record.kind == abi::LOG_EVENT {
        let _ = catch_unwind(AssertUnwindSafe(|| pass_on(of(context), record)));
    }
    let _ = catch_unwind(AssertUnwindSafe(|| trace(of(context), record)));
}

/// Has a record become part of its call's trace, if that is recorded.
fn trace(mailbox: &Mailbox, record: &LogRecord<'_>) {
    let kind = match record.kind {
        abi::LOG_EVENT => Kind::Event,
        abi::LOG_SPAN_BEGAN => Kind::Began,
        abi::LOG_SPAN_ENDED => Kind::Ended,
        _ => return,
    };
    if record.call == 0 || trace::level() == 0 {
        return;
    }
    let inside = match lock(&mailbox.calls).get(&record.call) {
        Some(Call::Awaited { options, .. }) => options.facts.trace.clone(),
        _ => None,
    };
    if let Some(inside) = inside {
        inside.say(&Said {
            kind,
            level: record.level,
            span: record.span,
            parent: record.parent,
            target: record.target.as_str(),
            text: record.message.as_str(),
            fields: record.fields.as_slice(),
        });
    }
}

fn pass_on(mailbox: &Mailbox, record: &LogRecord<'_>) {
    let server = mailbox.server.as_str();
    let [from, message] = [record.target.as_str(), record.message.as_str()].map(cut);
    // See `LAST_WORDS` of plugin-api: the process is about to end, and this is why.
    let is_last = record.level == 1 && from == "stderr";
    // What nobody would see takes no room of what somebody would, and is not counted as logged.
    if !observe::hears_plugins(record.level) {
        if is_last {
            observe::tell_last_words(server, message);
        }
        return;
    }
    let now = Instant::now();
    let admission = match is_last {
        true => mailbox.flood.count_only(record.level),
        false => mailbox.flood.admit(record.level, message.len() + record.fields.len().min(TEXT_MAX), now),
    };
    if let Some(dropped) = admission.dropped {
        mailbox.warn_of_flood(dropped);
    }
    if !admission.is_logged {
        return;
    }
    let call = match lock(&mailbox.calls).get(&record.call) {
        Some(Call::Awaited { options, .. }) => Some(About::of(options)),
        Some(Call::Cancelled(about)) => Some(about.clone()),
        None => None,
    };
    let request_id = call.as_ref().map(|about| &*about.request_id);
    // As in the line that tells the end of the call.
    let (tool, method, subject) = match &call {
        None | Some(About { method: "", .. }) => (None, None, None),
        Some(About { method: "tools/call", subject, .. }) => (Some(&**subject), None, None),
        Some(About { method, subject, .. }) => (None, Some(*method), Some(&**subject)),
    };
    // What is cut is JSON no more, and then it is left out.
    let fields = record.fields.as_slice().get(..TEXT_MAX.min(record.fields.len())).unwrap_or_default();
    let fields = &*String::from_utf8_lossy(fields);
    macro_rules! emit {
        ($level:ident) => {
            tracing::$level!(
                target: PLUGIN, server, tool, method, subject, from, fields, request_id, "{message}"
            )
        };
    }
    match record.level {
        0 | 1 => emit!(error),
        2 => emit!(warn),
        3 => emit!(info),
        4 => emit!(debug),
        _ => emit!(trace),
    }
}

/// As much of `text` as is logged.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_MAX)]
}

extern "C" fn max_level(_: *const c_void) -> u32 {
    // What is only for traces, the log's own filter keeps out of the log.
    trace::level().max(log_level())
}

fn log_level() -> u32 {
    match LevelFilter::current().into_level() {
        None => 0,
        Some(tracing::Level::ERROR) => 1,
        Some(tracing::Level::WARN) => 2,
        Some(tracing::Level::INFO) => 3,
        Some(tracing::Level::DEBUG) => 4,
        Some(tracing::Level::TRACE) => 5,
    }
}

extern "C" fn thread(context: *const c_void, what: u32, tid: i32) {
    let mut census = of(context).census();
    match what {
        abi::THREAD_SPAWNING => census.thread_spawning(),
        abi::THREAD_STARTED => census.thread_started(tid),
        abi::THREAD_FAILED => census.thread_failed(),
        _ => {}
    }
}

extern "C" fn thread_key(context: *const c_void, key: u32, made: bool) {
    of(context).census().key(key, made);
}

extern "C" fn heap(context: *const c_void, bytes: u64) {
    let mailbox = of(context);
    if mailbox.heap.grew_to(bytes) {
        let server = mailbox.server.as_str();
        // Logging may panic while thread-locals are destroyed, see `log`.
        let _ = catch_unwind(AssertUnwindSafe(|| tracing::warn!(server, bytes, "server's heap is large")));
    }
}

extern "C" fn mapping(context: *const c_void, at: usize, len: usize, made: bool) {
    let mut census = of(context).census();
    if made {
        census.mapped(at, len);
    } else {
        census.unmapped(at, len);
    }
}

pub(super) const TABLE: HostTableRef = {
    const WITH_METADATA: &WithMetadata<HostTable> = &WithMetadata::new(HostTable {
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
    });
    HostTableRef(WITH_METADATA.static_as_prefix())
};
