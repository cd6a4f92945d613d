//! The plugin's half of the contract: its `main`, the mailbox loop, panics, and [`export_plugin!`](crate::export_plugin).
//!
//! | unsafe | why it holds | test that pins it |
//! |---|---|---|
//! | `export`: the root header | made by abi_stable's own constructor for this very module type | `a_good_file_is_fine` |
//! | `drain`: reading the wake fd | the host keeps it open until `main` has returned | `a_plugin_serves_many_calls_at_once` |
//! | `hooks`, `heap`, `prints` | see the tables there | |

#![expect(unsafe_code, reason = "the plugin's half of the boundary; see the table")]

pub mod export;
pub mod heap;
pub mod hooks;
mod log;
mod prints;

use std::{
    any::Any,
    collections::HashMap,
    future::Future,
    io,
    os::fd::{AsRawFd, BorrowedFd},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use abi_stable::std_types::{RSlice, RString, RVec};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::{
    io::{Interest, unix::AsyncFd},
    runtime::{Builder, Runtime},
    sync::mpsc,
    task::JoinHandle,
};

use crate::{
    Ctx, Error, Plugin, Result,
    abi::{self, Event, Host, Start},
    ctx::{Call, CallEnd, Link, Watched},
    offer::Offer,
    schema, tool,
};

/// The host, from the first moment of `describe` or `main`. Hooks and the panic hook find it here.
static HOST: OnceLock<Host> = OnceLock::new();
/// How long calls may take to go away before the stop hooks run all the same.
const CALLS_STOP: Duration = Duration::from_secs(1);
/// How long background work of a plugin may go on after its stop hooks.
const RUNTIME_STOP: Duration = Duration::from_secs(2);
/// Events taken in one go before the calls they started get a turn.
const EVENTS_IN_A_ROW: usize = 64;
/// Notices that may wait for the plugin's hooks; further ones are lost, and logged.
const NOTICES_MAX: usize = 1024;

/// What the macro knows of the plugin's package.
#[derive(Clone, Copy)]
pub struct Package {
    /// Its name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
}

/// Body of [`abi::PluginModule::describe`].
pub fn describe<S>(host: &Host, package: Package, setup: fn(S) -> Result<Plugin>, out: &mut RVec<u8>) -> bool
where
    S: DeserializeOwned + JsonSchema + 'static,
{
    meet(host);
    let described = catch_unwind(|| {
        // Only a plugin without settings has the same tools whatever its settings.
        let none: Option<S> =
            (Box::new(crate::NoSettings {}) as Box<dyn Any>).downcast().ok().map(|none| *none);
        let built = none.and_then(|none| catch_unwind(AssertUnwindSafe(|| setup(none).ok())).ok().flatten());
        let mut described = json!({
            "name": package.name,
            "version": package.version,
            "settingsSchema": schema::of_input::<S>(),
            "tools": null,
        });
        if let (Some(plugin), Some(members)) = (built, described.as_object_mut()) {
            members.extend(plugin.offer.lists());
        }
        described
    });
    let (ok, text) = match described {
        Ok(described) => (true, described.to_string()),
        Err(payload) => (false, format!("panicked: {}", panic_text(payload))),
    };
    out.extend_from_copy_slice(text.as_bytes());
    prints::flush_std();
    prints::flush(host);
    ok
}

/// Makes the host known: to the hooks first, for everything else may make threads and keys.
fn meet(host: &Host) {
    if HOST.set(*host).is_err() {
        return;
    }
    hooks::report_early(host);
    // There can be no other: this library's `tracing` is its own.
    let _ = tracing::subscriber::set_global_default(log::ToHost::new(*host));
    std::panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(ToString::to_string);
        tracing::error!(at, "panic: {}", panic.payload_as_str().unwrap_or("(no message)"));
    }));
}

/// Body of [`abi::PluginModule::main`].
pub fn main<S>(
    host: &Host,
    start: &Start<'_>,
    error: &mut RString,
    package: Package,
    setup: fn(S) -> Result<Plugin>,
) -> bool
where
    S: DeserializeOwned,
{
    meet(host);
    let ran = catch_unwind(AssertUnwindSafe(|| run(*host, start, package, setup)));
    prints::flush(host);
    let reason = match ran {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => error.to_string(),
        Err(payload) => format!("panicked: {}", panic_text(payload)),
    };
    error.clear();
    error.push_str(&reason);
    false
}

fn run<S: DeserializeOwned>(
    host: Host,
    start: &Start<'_>,
    package: Package,
    setup: fn(S) -> Result<Plugin>,
) -> Result<()> {
    let settings = serde_json::from_slice(start.settings.as_slice())
        .map_err(|error| Error::new(format!("cannot use its settings: {error}")))?;
    let runtime = runtime(start.threads)?;
    let served = catch_unwind(AssertUnwindSafe(|| {
        let _inside = runtime.enter();
        setup(settings).and_then(|plugin| runtime.block_on(serve(host, package, plugin)))
    }));
    // After a panic too: merely dropped, the runtime would wait for blocking work without a limit.
    let stopping = Instant::now();
    runtime.shutdown_timeout(RUNTIME_STOP);
    // Work that did not end may have stdout locked, for ever.
    if stopping.elapsed() < RUNTIME_STOP {
        prints::flush_std();
    }
    served.unwrap_or_else(|payload| Err(Error::new(format!("panicked: {}", panic_text(payload)))))
}

fn runtime(threads: u32) -> io::Result<Runtime> {
    match threads {
        0 | 1 => Builder::new_current_thread().enable_io().enable_time().build(),
        n => Builder::new_multi_thread().worker_threads(n as usize).enable_io().enable_time().build(),
    }
}

async fn serve(host: Host, package: Package, mut plugin: Plugin) -> Result<()> {
    plugin.offer.notifier.connect(Link::Gateway(host));
    for hook in std::mem::take(&mut plugin.on_start) {
        hook().await?;
    }
    let on_stop = std::mem::take(&mut plugin.on_stop);
    let manifest = plugin.offer.manifest(package.name, package.version);
    (host.table.ready())(host.context, RSlice::from_slice(&manifest));
    let calls = Arc::new(Calls::default());
    let offer = Arc::new(plugin.offer);
    let (notices, waiting) = mpsc::channel(NOTICES_MAX);
    let hooks = tokio::spawn(run_hooks(offer.clone(), waiting));
    let served = take_events(host, offer, &calls, &notices).await;
    hooks.abort();
    calls.end_all().await;
    for hook in on_stop.into_iter().rev() {
        match Caught::new(hook()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "stop hook failed"),
            // The panic hook has logged it; the other hooks still run.
            Err(payload) => drop(panic_text(payload)),
        }
    }
    served
}

/// Runs the hooks for what the host gives notice of, in its order.
async fn run_hooks(offer: Arc<Offer>, mut notices: mpsc::Receiver<Event>) {
    while let Some(notice) = notices.recv().await {
        match Caught::new(offer.noticed(notice.name(), notice.body())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, notice = notice.name(), "hook failed"),
            // The panic hook has logged it.
            Err(payload) => drop(panic_text(payload)),
        }
    }
}

/// Takes events until STOP.
async fn take_events(
    host: Host,
    offer: Arc<Offer>,
    calls: &Arc<Calls>,
    notices: &mpsc::Sender<Event>,
) -> Result<()> {
    let fd = (host.table.wake_fd())(host.context);
    // SAFETY: the host keeps the descriptor open until `main` has returned, and `main` runs this future.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    // SAFETY: as above; and `fd` is neither closed nor registered elsewhere while `wake` lives.
    let wake = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?;
    let next = |wait: i64, event: &mut Event| (host.table.next())(host.context, wait, event);
    let mut in_a_row = 0;
    loop {
        let mut event = Event::empty();
        if in_a_row >= EVENTS_IN_A_ROW || !next(abi::PEEK, &mut event) {
            // What was started runs first: often there is more by then, and no wake-up is needed.
            in_a_row = 0;
            tokio::task::yield_now().await;
            if event.kind == 0 && !next(abi::ARM, &mut event) {
                wake.readable().await?.clear_ready();
                drain(fd)?;
                continue;
            }
        }
        in_a_row += 1;
        match event.kind {
            abi::CALL => calls.begin(host, offer.clone(), event),
            abi::ANSWER => calls.answer(&event),
            abi::CANCEL => calls.abort(event.call, CallEnd::from_reason(event.code)),
            abi::NOTIFY if notices.try_send(event).is_err() => {
                tracing::warn!("too many notices at once, one is lost");
            }
            abi::STOP => return Ok(()),
            // Kinds of later versions, and those whose senders know that this SDK does nothing with them.
            _ => {}
        }
    }
}

/// Resets the wake fd.
fn drain(fd: BorrowedFd<'_>) -> io::Result<()> {
    let mut count = [0u8; 8];
    // SAFETY: the descriptor is open, see `take_events`, and the buffer is as long as said.
    let read = unsafe { libc::read(fd.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    let error = io::Error::last_os_error();
    if read < 0 && error.kind() != io::ErrorKind::WouldBlock { Err(error) } else { Ok(()) }
}

/// The calls that run.
#[derive(Default)]
struct Calls(Mutex<Running>);

/// By id: the task, and what it shares with the mailbox loop.
type Running = HashMap<u64, (JoinHandle<()>, Arc<Call>)>;

impl Calls {
    fn lock(&self) -> std::sync::MutexGuard<'_, Running> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(self: &Arc<Self>, host: Host, offer: Arc<Offer>, mut event: Event) {
        let id = event.call;
        let out = std::mem::take(&mut event.out);
        let ctx = Ctx::new(id, Link::Gateway(host));
        let call = ctx.call.clone();
        let guard = Guard { calls: self.clone(), host, call: call.clone(), answered: false };
        let work = async move { offer.call(ctx, event.name(), event.body(), out).await };
        let work = log::CALL.scope(id, answer(host, guard, work));
        // Held across the spawn: the task removes itself, which must not come first.
        let mut running = self.lock();
        running.insert(id, (tokio::spawn(work), call));
    }

    fn answer(&self, event: &Event) {
        // Taken out first: answering wakes the call, whose guard takes the lock.
        let call = self.lock().get(&event.call).map(|(_, call)| call.clone());
        if let Some(call) = call {
            call.answer(event.name(), event.code, event.body());
        }
    }

    fn abort(&self, call: u64, end: CallEnd) {
        // Taken out first: aborting may drop the future here, and its guard takes the lock.
        let running = self.lock().remove(&call);
        if let Some((handle, call)) = running {
            call.ended(end);
            handle.abort();
        }
    }

    /// Cancels every call and waits until its future is gone: stop hooks run after the last call.
    async fn end_all(&self) {
        let all = std::mem::take(&mut *self.lock());
        for (handle, call) in all.values() {
            call.ended(CallEnd::Draining);
            handle.abort();
        }
        let gone = async {
            for (handle, _) in all.into_values() {
                // Ended or cancelled, either way it is gone.
                let _ = handle.await;
            }
        };
        if tokio::time::timeout(CALLS_STOP, gone).await.is_err() {
            tracing::warn!("calls still run while the plugin stops");
        }
    }
}

/// Runs a call to its reply.
async fn answer(host: Host, mut guard: Guard, work: impl Future<Output = tool::Answer>) {
    let (status, out) = match Watched::new(guard.call.clone(), Caught::new(work)).await {
        Ok(answer) => answer,
        Err(payload) => {
            let text = panic_text(payload);
            tool::fault(abi::PANICKED, tool::INTERNAL_ERROR, &text, RVec::new())
        }
    };
    guard.answered = true;
    let size = out.len();
    if (host.table.reply())(host.context, guard.call.id, status, out) == abi::DROPPED {
        tracing::error!(size, "the result is larger than the gateway takes");
    }
}

/// Tells the host when a call's future goes away without an answer.
struct Guard {
    calls: Arc<Calls>,
    host: Host,
    call: Arc<Call>,
    answered: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        // What is removed is dropped after the lock is given back.
        let _running = self.calls.lock().remove(&self.call.id);
        if self.answered {
            self.call.ended(CallEnd::Answered);
        } else {
            (self.host.table.dropped())(self.host.context, self.call.id);
        }
    }
}

/// A future whose panics, also those of its destructor, are values.
pub(crate) struct Caught<F>(Option<Pin<Box<F>>>);

impl<F: Future> Caught<F> {
    pub(crate) fn new(future: F) -> Self {
        Self(Some(Box::pin(future)))
    }
}

impl<F: Future> Future for Caught<F> {
    type Output = std::result::Result<F::Output, Box<dyn Any + Send>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(future) = self.0.as_mut() else { return Poll::Pending };
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        let output = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(output)) => Ok(output),
            Err(payload) => Err(payload),
        };
        let done = self.0.take();
        Poll::Ready(catch_unwind(AssertUnwindSafe(|| drop(done))).and(output))
    }
}

impl<F> Drop for Caught<F> {
    fn drop(&mut self) {
        let future = self.0.take();
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(future))) {
            // The panic hook has logged it.
            drop(panic_text(payload));
        }
    }
}

/// What a panic said. Its payload is dropped here, where another panic does no harm.
pub(crate) fn panic_text(payload: Box<dyn Any + Send>) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| payload.downcast_ref::<String>().cloned());
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(payload)));
    // A payload whose destructor panics with a payload whose destructor panics …: forgotten, not followed.
    std::mem::forget(dropped);
    text.unwrap_or_else(|| "(no message)".into())
}

#[cfg(test)]
mod tests;
