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
    sync::{PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use abi_stable::{
    prefix_type::WithMetadata,
    std_types::{RSlice, RStr, RVec},
};
use plugin_api::abi::{self, Event, HostTable, HostTableRef, LogRecord};
use serde::Deserialize;
use tracing::level_filters::LevelFilter;

use super::{Answer, Call, Mailbox, Message, Queue, Stage, lock};

/// Largest reply, in bytes.
const REPLY_MAX: usize = 16 << 20;
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
    // What a plugin offers cannot change yet, and manifests that nobody reads are not to pile up.
    if mailbox.ready.swap(true, Relaxed) {
        return abi::DROPPED;
    }
    mailbox.say(Stage::Ready(manifest.to_vec()));
    abi::DELIVERED
}

extern "C" fn info(context: *const c_void, call: u64, out: &mut RVec<u8>) -> bool {
    let json = match lock(&of(context).calls).get(&call) {
        Some(Call::Awaited { facts, .. }) => serde_json::to_vec(facts).unwrap_or_default(),
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

extern "C" fn notify(context: *const c_void, call: u64, method: RStr<'_>, params: RSlice<'_, u8>) -> u32 {
    let calls = lock(&of(context).calls);
    let notifications = match calls.get(&call) {
        Some(Call::Awaited { notifications, .. }) => notifications.clone(),
        // About the server as a whole: nobody has subscribed to anything.
        _ if call == 0 => None,
        _ => return abi::CLOSED,
    };
    drop(calls);
    let Some(notifications) = notifications else { return abi::DROPPED };
    match notifications.try_send((method.as_str().to_owned(), params.to_vec())) {
        Ok(()) => abi::DELIVERED,
        Err(_) => abi::DROPPED,
    }
}

extern "C" fn request(
    context: *const c_void,
    call: u64,
    key: RStr<'_>,
    _method: RStr<'_>,
    _params: RSlice<'_, u8>,
) -> u32 {
    let mailbox = of(context);
    if !matches!(lock(&mailbox.calls).get(&call), Some(Call::Awaited { .. })) {
        return abi::CLOSED;
    }
    // No door can ask a client anything yet, so this one cannot either.
    let mut data = key.as_str().as_bytes().to_vec();
    let name_len = data.len() as u32;
    data.extend_from_slice(b"null");
    mailbox.post(Message { kind: abi::ANSWER, call, code: abi::UNSUPPORTED, name_len, data });
    abi::DELIVERED
}

extern "C" fn parked(_: *const c_void, _: u64) {
    // Every request has its answer at once, so there is never a reason to suspend the call.
}

extern "C" fn set_state(_: *const c_void, _: u64, _: RSlice<'_, u8>) -> u32 {
    // A call is never suspended, so its state would never be read.
    abi::DROPPED
}

extern "C" fn into_task(_: *const c_void, _: u64, _: RSlice<'_, u8>) -> bool {
    // No client is told that it may declare tasks.
    false
}

extern "C" fn dropped(context: *const c_void, call: u64) {
    // Awaited only if the plugin lost it: its future ended without an answer.
    of(context).answer(call, Answer::Gone);
}

extern "C" fn log(context: *const c_void, record: &LogRecord<'_>) {
    if record.kind != abi::LOG_EVENT {
        return;
    }
    // A thread-local of the plugin may log while it is destroyed, and then those of our subscriber, which are
    // not made for that, may be gone already. Its panic is told by the panic hook; the record is lost.
    let _ = catch_unwind(AssertUnwindSafe(|| pass_on(of(context), record)));
}

fn pass_on(mailbox: &Mailbox, record: &LogRecord<'_>) {
    let span = match lock(&mailbox.calls).get(&record.call) {
        Some(Call::Awaited { span, .. }) => span.clone(),
        _ => tracing::Span::none(),
    };
    let _inside = span.enter();
    let (server, from, message) = (mailbox.server.as_str(), record.target.as_str(), record.message.as_str());
    let fields = String::from_utf8_lossy(record.fields.as_slice());
    macro_rules! emit {
        ($level:ident) => {
            tracing::$level!(target: "gateway::plugin", server, from, %fields, "{message}")
        };
    }
    match record.level {
        1 => emit!(error),
        2 => emit!(warn),
        3 => emit!(info),
        4 => emit!(debug),
        _ => emit!(trace),
    }
}

extern "C" fn max_level(_: *const c_void) -> u32 {
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
        mapping,
    });
    HostTableRef(WITH_METADATA.static_as_prefix())
};
