//! The plugin's `tracing`, handed to the gateway's: each library has its own dispatcher, so records cross as text.

use std::{
    cell::RefCell,
    collections::HashMap,
    fmt::Debug,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use abi_stable::std_types::{RSlice, RStr};
use serde_json::{Map, Value};
use tracing::{
    Event, Id, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};
use tracing_core::span::Current;

use crate::abi::{Host, LOG_EVENT, LOG_SPAN_BEGAN, LOG_SPAN_ENDED, LogRecord};

tokio::task_local! {
    /// The call the current task works on.
    pub(super) static CALL: u64;
}
thread_local! {
    /// The spans entered on this thread, innermost last.
    static ENTERED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// A subscriber that passes every record on to the host.
pub(super) struct ToHost {
    host: Host,
    next_span: AtomicU64,
    spans: Mutex<HashMap<u64, Span>>,
}

struct Span {
    handles: usize,
    /// The call it began in, 0 if none: it may end elsewhere.
    call: u64,
    parent: u64,
    metadata: &'static Metadata<'static>,
    fields: Map<String, Value>,
}

/// One record, about to be sent.
struct Record<'a> {
    kind: u32,
    call: u64,
    span: u64,
    parent: u64,
    message: &'a str,
    fields: &'a Map<String, Value>,
}

impl ToHost {
    pub(super) fn new(host: Host) -> Self {
        Self { host, next_span: AtomicU64::new(1), spans: Mutex::default() }
    }

    fn spans(&self) -> MutexGuard<'_, HashMap<u64, Span>> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, metadata: &Metadata<'_>, record: &Record<'_>) {
        let fields = serde_json::to_vec(record.fields).unwrap_or_default();
        let record = LogRecord {
            kind: record.kind,
            line: metadata.line().unwrap_or(0),
            call: record.call,
            span: record.span,
            parent: record.parent,
            fields: RSlice::from_slice(&fields),
            file: RStr::from_str(metadata.file().unwrap_or_default()),
            ..plain(level(*metadata.level()), metadata.target(), record.message)
        };
        (self.host.table.log())(self.host.context, &record);
    }
}

/// An event that lies in no span and has no fields, in the call of the current task.
fn plain<'a>(level: u32, target: &'a str, message: &'a str) -> LogRecord<'a> {
    LogRecord {
        size: size_of::<LogRecord<'_>>() as u32,
        kind: LOG_EVENT,
        level,
        line: 0,
        call: CALL.try_with(|call| *call).unwrap_or(0),
        span: 0,
        parent: 0,
        target: RStr::from_str(target),
        message: RStr::from_str(message),
        fields: RSlice::from_slice(b"{}"),
        file: RStr::from_str(""),
        reserved: [0; 4],
    }
}

/// The least severe level that is heard: 0 none, 1 error … 5 trace.
pub(super) fn max_level(host: &Host) -> u32 {
    (host.table.max_level())(host.context)
}

/// Logs what did not come by way of `tracing`. Allocates nothing.
pub(super) fn say(host: &Host, level: u32, target: &str, message: &str) {
    (host.table.log())(host.context, &plain(level, target, message));
}

fn level(level: Level) -> u32 {
    match level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

/// The spans entered on this thread. None where its thread-locals are gone: a destructor may log.
fn entered<R: Default>(f: impl FnOnce(&mut Vec<u64>) -> R) -> R {
    ENTERED.try_with(|entered| f(&mut entered.borrow_mut())).unwrap_or_default()
}

/// How much less its records matter than they say: rmcp tells at `INFO` of every connection, and a mounted rmcp
/// server has one for every call.
fn quieter(target: &str) -> u32 {
    u32::from(cfg!(feature = "rmcp") && target.starts_with("rmcp::"))
}

fn innermost() -> u64 {
    entered(|entered| entered.last().copied().unwrap_or(0))
}

impl ToHost {
    /// The call the current task works on. What a call spawns is no such task, but may be in a span of the call's.
    fn call(&self, span: u64) -> u64 {
        let spawned = || self.spans().get(&span).map_or(0, |span| span.call);
        CALL.try_with(|call| *call).unwrap_or_else(|_| spawned())
    }
}

impl Subscriber for ToHost {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        level(*metadata.level()) + quieter(metadata.target()) <= max_level(&self.host)
    }

    fn register_callsite(&self, _: &'static Metadata<'static>) -> tracing::subscriber::Interest {
        // The level may change at any time.
        tracing::subscriber::Interest::sometimes()
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> Id {
        let id = self.next_span.fetch_add(1, Relaxed);
        let metadata = attributes.metadata();
        let parent = match attributes.parent() {
            Some(parent) => parent.into_u64(),
            None if attributes.is_root() => 0,
            None => innermost(),
        };
        let mut seen = Fields::default();
        attributes.record(&mut seen);
        let (call, message, fields) = (self.call(parent), metadata.name(), &seen.fields);
        let record = Record { kind: LOG_SPAN_BEGAN, call, span: id, parent, message, fields };
        self.send(metadata, &record);
        self.spans().insert(id, Span { handles: 1, call, parent, metadata, fields: seen.fields });
        Id::from_u64(id)
    }

    fn record(&self, id: &Id, values: &span::Record<'_>) {
        let mut seen = Fields::default();
        values.record(&mut seen);
        if let Some(span) = self.spans().get_mut(&id.into_u64()) {
            span.fields.extend(seen.fields);
        }
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut seen = Fields::default();
        {
            let spans = self.spans();
            entered(|entered| {
                for span in entered.iter().filter_map(|id| spans.get(id)) {
                    seen.fields.extend(span.fields.clone());
                }
            });
        }
        event.record(&mut seen);
        let span = match event.parent() {
            Some(parent) => parent.into_u64(),
            None if event.is_root() => 0,
            None => innermost(),
        };
        let record = Record {
            kind: LOG_EVENT,
            call: self.call(span),
            span,
            parent: 0,
            message: &seen.message,
            fields: &seen.fields,
        };
        self.send(event.metadata(), &record);
    }

    fn enter(&self, id: &Id) {
        entered(|entered| entered.push(id.into_u64()));
    }

    fn exit(&self, id: &Id) {
        entered(|entered| {
            if let Some(at) = entered.iter().rposition(|e| *e == id.into_u64()) {
                entered.remove(at);
            }
        });
    }

    fn current_span(&self) -> Current {
        let innermost = innermost();
        let metadata = self.spans().get(&innermost).map(|span| span.metadata);
        metadata.map_or_else(Current::none, |metadata| Current::new(Id::from_u64(innermost), metadata))
    }

    fn clone_span(&self, id: &Id) -> Id {
        if let Some(span) = self.spans().get_mut(&id.into_u64()) {
            span.handles += 1;
        }
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        let id = id.into_u64();
        let ended = {
            let mut spans = self.spans();
            match spans.get_mut(&id) {
                Some(span) if span.handles > 1 => {
                    span.handles -= 1;
                    None
                }
                _ => spans.remove(&id),
            }
        };
        let Some(span) = ended else { return false };
        let Span { call, parent, metadata, ref fields, .. } = span;
        let message = metadata.name();
        self.send(metadata, &Record { kind: LOG_SPAN_ENDED, call, span: id, parent, message, fields });
        true
    }
}

/// Collects a record's fields.
#[derive(Default)]
struct Fields {
    fields: Map<String, Value>,
    message: String,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        self.fields.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            self.put(field, format!("{value:?}").into());
        }
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message = value.to_owned();
        } else {
            self.put(field, value.into());
        }
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}
