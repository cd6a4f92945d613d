//! Everything that crosses between the gateway and a plugin, and nothing else.
//!
//! The rules, which keep an old plugin loadable by a new gateway and the reverse (`ABI.md` has the reasons):
//! - Function tables ([`PluginModule`], [`HostTable`]) are prefix types: append-only, checked by layout.
//! - Structs begin with their size and end in reserved words, which are zero until a later version reads them by
//!   methods: the declaration itself never changes, because layouts of structs have to be equal.
//! - Numbers are open sets: an unknown kind, status or reason is ignored (a reply ends its call all the same).
//! - Buffers handed to a plugin, and those it writes results into, are the host's memory. What a plugin passes
//!   to a host function is borrowed for the duration of that call and copied if it is kept.
//! - No plugin code runs on a thread of the host: the host never calls a plugin, except for the three functions
//!   of [`PluginModule`], each on a thread made for it.

#![expect(unsafe_code, reason = "the host's pointer has to cross threads")]

use std::ffi::c_void;

use abi_stable::{
    StableAbi,
    library::RootModule,
    sabi_types::VersionStrings,
    std_types::{RSlice, RStr, RString, RVec},
};

/// Name of the exported `LibHeader` from which a plugin's module is reached.
pub const ROOT_SYMBOL: &str = "gateway_plugin_root";
/// ELF section that says what the file is, so that it can be read without running anything; see [`Descriptor`].
pub const DESCRIPTOR_SECTION: &str = ".gateway.plugin";
/// First line of the descriptor; the number is the version of its format.
pub const DESCRIPTOR_MAGIC: &str = "gateway-plugin 1";
/// Version of this interface, which is the version of this crate.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a plugin exports.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginModuleRef, prefix_fields = PluginModulePrefix)))]
#[sabi(missing_field(panic))]
pub struct PluginModule {
    /// Writes a JSON object into `out`, a buffer of the host: `name`, `version`, `title`, `settingsSchema`, and
    /// `tools` if they are the same whatever the settings. Starts nothing; `host` is there because a plugin may
    /// make threads and keys by accident, and for its log. `false`: `out` holds the reason, text.
    pub describe: extern "C" fn(host: &Host, out: &mut RVec<u8>) -> bool,
    /// The plugin's program: serves its mailbox until [`STOP`], on a thread the host made for it.
    /// `false`: it failed, and why is in `error`, a string of the host.
    pub main: extern "C" fn(host: &Host, start: &Start<'_>, error: &mut RString) -> bool,
    /// Frees what the plugin's statics still own; answers how many blocks. Called once, after the plugin's last
    /// thread has ended; no other code of the plugin runs afterwards but the library's own destructors.
    #[sabi(last_prefix_field)]
    pub reclaim: extern "C" fn() -> usize,
}

impl RootModule for PluginModuleRef {
    abi_stable::declare_root_module_statics! {PluginModuleRef}
    const BASE_NAME: &'static str = "gateway_plugin";
    const NAME: &'static str = "gateway_plugin";
    const VERSION_STRINGS: VersionStrings = abi_stable::package_version_strings!();
}

/// What a plugin's `main` starts with. Borrowed for the duration of `main`.
#[repr(C)]
#[derive(StableAbi)]
pub struct Start<'a> {
    /// `size_of` this struct as the host knows it.
    pub size: u32,
    /// How many workers the plugin's own runtime should have.
    pub threads: u32,
    /// The `name` of the server's table in gateway.toml.
    pub server: RStr<'a>,
    /// Where it is mounted, e.g. `/greet`.
    pub prefix: RStr<'a>,
    /// Its settings, a JSON object that fits the settings schema.
    pub settings: RSlice<'a, u8>,
    /// Version of the gateway, for logs.
    pub gateway_version: RStr<'a>,
    /// Zero.
    pub reserved: [u64; 4],
}

/// The host as a plugin sees it: the host's code and memory, valid until `main` has returned and every thread of
/// the plugin has ended.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct Host {
    /// `size_of` this struct as the host knows it.
    pub size: u32,
    /// Zero.
    pub flags: u32,
    /// First argument of every function in `table`.
    pub context: *const c_void,
    /// What the host can do.
    pub table: HostTableRef,
    /// Zero.
    pub reserved: [u64; 2],
}

// SAFETY: `context` is only ever handed back to the functions of `table`, which DESIGN's contract allows to be
// called from any thread of the plugin (`next` from one at a time); the host's side holds `Sync` data.
unsafe impl Send for Host {}
// SAFETY: as for `Send`: every function takes `context` by value and the data behind it is `Sync`.
unsafe impl Sync for Host {}

/// What the host offers a plugin. Every function may be called from any thread of the plugin, `next` from one
/// at a time.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = HostTableRef, prefix_fields = HostTablePrefix)))]
#[sabi(missing_field(panic))]
pub struct HostTable {
    /// An eventfd that becomes readable when an armed mailbox gets an event; open until `main` has returned.
    pub wake_fd: extern "C" fn(context: *const c_void) -> i32,
    /// Takes the next event. `wait_ms`: [`PEEK`], [`ARM`], a time in milliseconds, or negative for ever.
    /// `false`: there is none.
    pub next: extern "C" fn(context: *const c_void, wait_ms: i64, event: &mut Event) -> bool,
    /// "I serve": the manifest, a JSON object. Again when it changes. Answers [`DELIVERED`], or [`DROPPED`] if there
    /// is no room: say it again later.
    pub ready: extern "C" fn(context: *const c_void, manifest: RSlice<'_, u8>) -> u32,
    /// Writes what is known about a call into `out` (a buffer of the host afterwards), a JSON object:
    /// `protocolVersion`, `clientInfo`, `clientCapabilities`, `progressToken`, `logLevel`, `requestId`, and as they
    /// come `principal` (`{"id": ".."}`), `scopes`, `trace` (`{"traceparent": "..", "tracestate": ".."}`), `state`, `deadlineMs`. Absent members are unknown. `false`:
    /// no such call.
    pub info: extern "C" fn(context: *const c_void, call: u64, out: &mut RVec<u8>) -> bool,
    /// Ends a call. `status`: [`RESULT`] with the method's result, [`ERROR`] or [`PANICKED`] with
    /// `{code, message, data}`. `out` is best the buffer that came with the call. Answers [`DELIVERED`], [`DROPPED`]
    /// if it is larger than this gateway takes (the call has ended all the same), or [`CLOSED`] if nobody waits.
    pub reply: extern "C" fn(context: *const c_void, call: u64, status: u32, out: RVec<u8>) -> u32,
    /// Sends a notification: about a call, or with 0 about the server. Answers [`DELIVERED`], [`DROPPED`] or
    /// [`CLOSED`].
    pub notify:
        extern "C" fn(context: *const c_void, call: u64, method: RStr<'_>, params: RSlice<'_, u8>) -> u32,
    /// Asks the client something during a call; the answer is an [`ANSWER`] event with the same `key`, which is
    /// unique within the call. Answers [`DELIVERED`], [`DROPPED`] if it is too large or too many wait, or [`CLOSED`].
    pub request: extern "C" fn(
        context: *const c_void,
        call: u64,
        key: RStr<'_>,
        method: RStr<'_>,
        params: RSlice<'_, u8>,
    ) -> u32,
    /// The call waits for answers to its requests and for nothing else.
    pub parked: extern "C" fn(context: *const c_void, call: u64),
    /// Keeps JSON that a replay of the call finds in its info. Answers [`DELIVERED`], [`DROPPED`] if it is too large or
    /// no JSON, or [`CLOSED`].
    pub set_state: extern "C" fn(context: *const c_void, call: u64, state: RSlice<'_, u8>) -> u32,
    /// Goes on in the background as a task; `options` is a JSON object. `false`: stay a call.
    pub into_task: extern "C" fn(context: *const c_void, call: u64, options: RSlice<'_, u8>) -> bool,
    /// The future of a cancelled call is gone.
    pub dropped: extern "C" fn(context: *const c_void, call: u64),
    /// A record of the plugin's `tracing`, borrowed.
    pub log: extern "C" fn(context: *const c_void, record: &LogRecord<'_>),
    /// The least severe level worth a call of `log`: 0 none, 1 error … 5 trace. May change at any time.
    pub max_level: extern "C" fn(context: *const c_void) -> u32,
    /// Bookkeeping for a clean unload: a thread of the plugin. `what`: [`THREAD_SPAWNING`] and its siblings.
    pub thread: extern "C" fn(context: *const c_void, what: u32, tid: i32),
    /// Bookkeeping for a clean unload: a pthread key was made, or deleted.
    pub thread_key: extern "C" fn(context: *const c_void, key: u32, made: bool),
    /// How many bytes the plugin's heap has by now. Said as it grows and shrinks, from inside the plugin's allocator:
    /// the host allocates nothing of the plugin's in here.
    pub heap: extern "C" fn(context: *const c_void, bytes: u64),
    /// Bookkeeping for a clean unload: memory was mapped, or unmapped.
    #[sabi(last_prefix_field)]
    pub mapping: extern "C" fn(context: *const c_void, at: usize, len: usize, made: bool),
}

/// [`HostTable::next`]: at once.
pub const PEEK: i64 = i64::MIN;
/// [`HostTable::next`]: at once; if there is nothing, the wake fd becomes readable with the next event.
pub const ARM: i64 = 0;

/// One message from the host. The plugin makes one with [`Event::empty`], the host fills it.
#[repr(C)]
#[derive(StableAbi)]
pub struct Event {
    /// `size_of` this struct as the plugin knows it; the host writes no further.
    pub size: u32,
    /// [`CALL`] and its siblings; 0 is nothing. Unknown kinds are to be ignored.
    pub kind: u32,
    /// The call it belongs to; 0 for none.
    pub call: u64,
    /// [`ANSWER`]: a status such as [`ACCEPTED`]. [`CANCEL`]: a reason such as [`BY_CLIENT`].
    pub code: u32,
    /// How many bytes of `data` are the name.
    pub name_len: u32,
    /// The name ([`CALL`], [`NOTIFY`]: the method; [`ANSWER`]: the request's key), then the body (parameters or
    /// value, JSON). One buffer, so that an event costs one allocation. Memory of the host.
    pub data: RVec<u8>,
    /// [`CALL`]: where the answer goes. Memory of the host; growing it uses the host's allocator.
    pub out: RVec<u8>,
    /// Zero.
    pub reserved: [u64; 4],
}

impl Event {
    /// An event to be filled.
    pub fn empty() -> Self {
        Self {
            size: size_of::<Self>() as u32,
            kind: 0,
            call: 0,
            code: 0,
            name_len: 0,
            data: RVec::new(),
            out: RVec::new(),
            reserved: [0; 4],
        }
    }

    /// The name; empty if the host broke its promise that it is UTF-8.
    pub fn name(&self) -> &str {
        let bytes = self.data.as_slice().get(..self.name_len as usize).unwrap_or_default();
        str::from_utf8(bytes).unwrap_or_default()
    }

    /// The body, JSON.
    pub fn body(&self) -> &[u8] {
        self.data.as_slice().get(self.name_len as usize..).unwrap_or_default()
    }
}

/// Event: a call of a method; to be ended with [`HostTable::reply`], or after [`CANCEL`] with
/// [`HostTable::dropped`].
pub const CALL: u32 = 1;
/// Event: the answer to a request of a call.
pub const ANSWER: u32 = 2;
/// Event: nobody waits for the call any more.
pub const CANCEL: u32 = 3;
/// Event: something a plugin may care about, e.g. that a client subscribed.
pub const NOTIFY: u32 = 4;
/// Event: `main` is to return. What follows is of no interest.
pub const STOP: u32 = 5;

/// Status of an answer: the client gave it.
pub const ACCEPTED: u32 = 1;
/// Status of an answer: the user said no.
pub const DECLINED: u32 = 2;
/// Status of an answer: the user made no choice.
pub const CANCELLED: u32 = 3;
/// Status of an answer: this client cannot be asked that.
pub const UNSUPPORTED: u32 = 4;
/// Status of an answer: the client took too long.
pub const TIMED_OUT: u32 = 5;

/// Reason of a cancellation: the client cancelled, or went away.
pub const BY_CLIENT: u32 = 1;
/// Reason of a cancellation: the call ran longer than the server's `call_timeout`.
pub const BY_TIMEOUT: u32 = 2;
/// Reason of a cancellation: the call will be replayed when the client has answered its requests.
pub const SUSPENDED: u32 = 3;
/// Reason of a cancellation: the server is being stopped.
pub const DRAINING: u32 = 4;

/// Status of a reply: the method's result.
pub const RESULT: u32 = 0;
/// Status of a reply: a JSON-RPC error.
pub const ERROR: u32 = 1;
/// Status of a reply: the code panicked.
pub const PANICKED: u32 = 2;

/// It goes where it should.
pub const DELIVERED: u32 = 0;
/// Nobody wants it, or there is no room.
pub const DROPPED: u32 = 1;
/// The call is over.
pub const CLOSED: u32 = 2;

/// About to make a thread.
pub const THREAD_SPAWNING: u32 = 0;
/// The thread runs; `tid` is its kernel id.
pub const THREAD_STARTED: u32 = 1;
/// The thread could not be made.
pub const THREAD_FAILED: u32 = 2;

/// One event or span of a plugin's `tracing`. Borrowed for the duration of [`HostTable::log`].
#[repr(C)]
#[derive(StableAbi)]
pub struct LogRecord<'a> {
    /// `size_of` this struct as the plugin knows it.
    pub size: u32,
    /// [`LOG_EVENT`], [`LOG_SPAN_BEGAN`] or [`LOG_SPAN_ENDED`].
    pub kind: u32,
    /// 1 error, 2 warn, 3 info, 4 debug, 5 trace.
    pub level: u32,
    /// Line in `file`, 0 if unknown.
    pub line: u32,
    /// The call this belongs to, 0 if none.
    pub call: u64,
    /// The span: the record's own if it is about a span, else the one the event lies in; 0 if none.
    pub span: u64,
    /// A span's parent, 0 if none.
    pub parent: u64,
    /// `tracing` target, usually a module path.
    pub target: RStr<'a>,
    /// An event's message or a span's name.
    pub message: RStr<'a>,
    /// The fields, a JSON object; for an event those of its open spans too, for a span that ended all it ever had.
    pub fields: RSlice<'a, u8>,
    /// Source file, empty if unknown.
    pub file: RStr<'a>,
    /// Zero.
    pub reserved: [u64; 4],
}

/// A record about an event.
pub const LOG_EVENT: u32 = 0;
/// A record about a span that began.
pub const LOG_SPAN_BEGAN: u32 = 1;
/// A record about a span that ended.
pub const LOG_SPAN_ENDED: u32 = 2;

/// What a descriptor says. All of it is text without line breaks.
#[derive(Debug, Clone, Copy)]
pub struct Descriptor<'a> {
    /// Package name of the plugin.
    pub name: &'a str,
    /// Package version of the plugin.
    pub version: &'a str,
    /// Version of plugin-api the plugin was built with.
    pub plugin_api: &'a str,
    /// `unwind` or `abort`.
    pub panic: &'a str,
}

impl<'a> Descriptor<'a> {
    const KEYS: [&'static str; 4] = ["name", "version", "plugin-api", "panic"];

    const fn parts(&self) -> [&'a str; 17] {
        let [k1, k2, k3, k4] = Self::KEYS;
        let Self { name, version, plugin_api, panic } = *self;
        [
            DESCRIPTOR_MAGIC,
            "\n",
            k1,
            "=",
            name,
            "\n",
            k2,
            "=",
            version,
            "\n",
            k3,
            "=",
            plugin_api,
            "\n",
            k4,
            "=",
            panic,
        ]
    }

    /// Length of [`Descriptor::bytes`].
    pub const fn encoded_len(&self) -> usize {
        let parts = self.parts();
        let (mut len, mut i) = (0, 0);
        while i < parts.len() {
            len += parts[i].len();
            i += 1;
        }
        len
    }

    /// The content of section `.gateway.plugin`: the magic line, then one `key=value` line per fact.
    pub const fn bytes<const LEN: usize>(&self) -> [u8; LEN] {
        let (parts, mut bytes) = (self.parts(), [0; LEN]);
        let (mut at, mut i) = (0, 0);
        while i < parts.len() {
            let (part, mut j) = (parts[i].as_bytes(), 0);
            while j < part.len() {
                bytes[at] = part[j];
                at += 1;
                j += 1;
            }
            i += 1;
        }
        bytes
    }

    /// Reads a descriptor. Lines with unknown keys are ignored. `None`: it is not one.
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut lines = text.trim_end_matches('\0').lines();
        if lines.next() != Some(DESCRIPTOR_MAGIC) {
            return None;
        }
        let mut values = [None; 4];
        for (key, value) in lines.filter_map(|line| line.split_once('=')) {
            if let Some(at) = Self::KEYS.iter().position(|k| *k == key) {
                values[at] = Some(value);
            }
        }
        let [Some(name), Some(version), Some(plugin_api), Some(panic)] = values else { return None };
        Some(Self { name, version, plugin_api, panic })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_what_was_tagged() {
        assert_eq!([CALL, ANSWER, CANCEL, NOTIFY, STOP], [1, 2, 3, 4, 5]);
        assert_eq!([ACCEPTED, DECLINED, CANCELLED, UNSUPPORTED, TIMED_OUT], [1, 2, 3, 4, 5]);
        assert_eq!([BY_CLIENT, BY_TIMEOUT, SUSPENDED, DRAINING], [1, 2, 3, 4]);
        assert_eq!([RESULT, ERROR, PANICKED], [0, 1, 2]);
        assert_eq!([DELIVERED, DROPPED, CLOSED], [0, 1, 2]);
        assert_eq!([THREAD_SPAWNING, THREAD_STARTED, THREAD_FAILED], [0, 1, 2]);
        assert_eq!([LOG_EVENT, LOG_SPAN_BEGAN, LOG_SPAN_ENDED], [0, 1, 2]);
        assert_eq!([PEEK, ARM], [i64::MIN, 0]);
        assert_eq!((ROOT_SYMBOL, DESCRIPTOR_SECTION), ("gateway_plugin_root", ".gateway.plugin"));
        assert_eq!(DESCRIPTOR_MAGIC, "gateway-plugin 1");
    }

    #[test]
    fn a_descriptor_reads_back_what_was_written() {
        const SAID: Descriptor<'_> =
            Descriptor { name: "greet", version: "0.1.0", plugin_api: "1.0.0", panic: "unwind" };
        const BYTES: [u8; SAID.encoded_len()] = SAID.bytes();
        let read = Descriptor::parse(str::from_utf8(&BYTES).expect("text")).expect("a descriptor");
        assert_eq!(
            (read.name, read.version, read.plugin_api, read.panic),
            ("greet", "0.1.0", "1.0.0", "unwind")
        );
    }

    #[test]
    fn a_descriptor_of_another_format_is_none() {
        assert!(
            Descriptor::parse("gateway-plugin 2\nname=a\nversion=1\nplugin-api=1.0.0\npanic=abort").is_none()
        );
        assert!(Descriptor::parse("gateway-plugin 1\nname=a").is_none());
    }
}
