//! What every request shares: the mount table, the `[http]` table, and how many calls are open.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use http::{request::Parts, uri::Scheme};
use tokio::{sync::Notify, time::timeout};

use super::{
    Peer,
    admit::{host_of, name_of},
    body::{Arriving, BodyLimit},
    caller::Caller,
    forwarded,
    mcp::Sealer,
    problem::Problem,
    reloads::Reloads,
    seen::{Seen, ServerTally},
    served::{Next, Served, Settings, Slot, Switched},
};
use crate::{
    config::ServerEntry,
    load::Instance,
    mount::{Mount, MountTable, Mounted, ProblemCode},
};

/// What every request shares. Called in this order: [`Gateway::new`], [`Gateway::install`], [`Gateway::switch`] as often as
/// something changes, [`Gateway::give_notice`], [`Gateway::begin_drain`], [`Gateway::wait_idle`], [`Gateway::close_sessions`].
#[derive(Debug)]
pub struct Gateway {
    /// Itself, for what goes on in the background.
    own: Weak<Self>,
    served: ArcSwap<Served>,
    /// Held by whoever replaces what is served: a manifest that a plugin announces and a reload that takes the plugin
    /// away must not undo each other.
    switching: Mutex<()>,
    sealer: Arc<Sealer>,
    /// What has been seen of calls and requests.
    seen: Arc<Seen>,
    started: SystemTime,
    reloads: Reloads,
    listen: SocketAddr,
    installed: AtomicBool,
    leaving: AtomicBool,
    draining: AtomicBool,
    calls: AtomicUsize,
    idle: Notify,
    /// Who is known has changed.
    known: Notify,
    /// What has arrived of bodies that are not whole.
    arriving: Arc<Arriving>,
}

/// Where the gateway is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// No mount table yet.
    Starting,
    /// It takes calls.
    Serving,
    /// It takes calls, and says that it will not for long.
    Leaving,
    /// It takes no more calls.
    Draining,
}

/// An open call. [`Gateway::wait_idle`] waits until every one of them is dropped: it goes with the answer's body.
#[derive(Debug)]
pub struct CallGuard(Arc<Gateway>);

impl Gateway {
    /// A gateway that is starting: it answers, but has no servers. `listen` is the address really bound.
    pub fn new(settings: Settings, listen: SocketAddr) -> Arc<Self> {
        let seen = Arc::<Seen>::default();
        Arc::new_cyclic(|own| Self {
            own: own.clone(),
            sealer: Arc::new(Sealer::new(settings.http.state_secret.as_ref())),
            served: ArcSwap::from_pointee(Served::nothing(settings, listen.ip(), seen.clone())),
            seen,
            started: SystemTime::now(),
            switching: Mutex::default(),
            reloads: Reloads::default(),
            listen,
            installed: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            calls: AtomicUsize::new(0),
            idle: Notify::new(),
            known: Notify::new(),
            arriving: Arc::default(),
        })
    }

    /// Serves `table` for a start. To be called in a runtime, as [`Self::switch`] is.
    pub fn install(&self, table: MountTable) {
        let settings = self.served().settings.clone();
        // Nothing was served before, and nobody has told it to stop.
        let _ = self.switch(table.servers.into_iter().map(Slot::New).collect(), settings);
        self.installed.store(true, SeqCst);
    }

    /// Serves `slots`, in this order, from the next request on; requests under way keep what they began with. To be called
    /// in a runtime, which follows what the servers say of changes. `Err`: the gateway stops, so nothing is replaced any
    /// more.
    pub fn switch(&self, slots: Vec<Slot>, settings: Settings) -> Result<Switched, Vec<Slot>> {
        let _switching = self.switching.lock().unwrap_or_else(PoisonError::into_inner);
        if self.phase().is_stopping() {
            return Err(slots);
        }
        let before = self.served.load_full();
        if before.settings.http.state_secret != settings.http.state_secret {
            self.sealer.change(settings.http.state_secret.as_ref());
        }
        let sees_otherwise =
            before.settings.guards != settings.guards || before.settings.auth != settings.auth;
        let Next { served, told, switched } = before.next(slots, settings, self.listen.ip(), &self.sealer);
        served.doors().for_each(|door| door.follow(self.own.clone()));
        self.seen.tally.follow(&served.table);
        if sees_otherwise || !told.is_empty() || self.phase() == Phase::Starting {
            served.warn_of_tools_that_are_not_there();
        }
        self.served.store(Arc::new(served));
        told.into_iter().for_each(|(door, replaced)| door.publish_differences(replaced));
        if sees_otherwise {
            self.known.notify_waiters();
            // Whose lists have changed only a look at them tells.
            self.served().doors().for_each(|door| door.publish_all());
        }
        Ok(switched)
    }

    /// Serves `mount` in the place of the mount of the same instance, at the same door, and tells clients what differs;
    /// unless that instance serves no more.
    pub(super) fn replace(&self, mount: &Arc<Mount>) {
        let _switching = self.switching.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.served.load_full();
        let (Some(served), Some(door)) = (before.with(mount), before.door(mount)) else { return };
        let replaced = door.replace(mount.clone());
        self.seen.tally.follow(&served.table);
        self.served.store(Arc::new(served));
        door.publish_differences(replaced);
    }

    /// What is served now. To be held for short; clone the `Arc` out of it to keep it.
    pub(super) fn served(&self) -> arc_swap::Guard<Arc<Served>> {
        self.served.load()
    }

    /// What has been seen of calls and requests.
    pub(super) fn seen(&self) -> &Seen {
        &self.seen
    }

    /// The counts of a server; `None`: it is configured no more, or nothing is counted.
    pub(super) fn tally_of(&self, entry: &ServerEntry) -> Option<Arc<ServerTally>> {
        self.served().settings.counts_calls.then(|| self.seen.tally.of(&entry.name))?
    }

    /// When it was started.
    pub(super) fn started(&self) -> SystemTime {
        self.started
    }

    /// The settings that hold now.
    pub fn settings(&self) -> Settings {
        self.served().settings.clone()
    }

    /// Whether what is for operators is on a listener of its own. Does not change while the gateway runs.
    pub(super) fn has_admin_listener(&self) -> bool {
        self.served().settings.admin.listen.is_some()
    }

    /// How much of a request's body is read, and for how long.
    pub(super) fn body_limit(&self) -> BodyLimit {
        let served = self.served();
        let Settings { http, limits, .. } = &served.settings;
        let arriving = self.arriving.clone();
        BodyLimit { max: http.body_max_bytes, timeout: limits.body_timeout, arriving }
    }

    /// Every server, in file order, as it is served now.
    pub fn mounted(&self) -> Vec<Mounted> {
        self.served().table.servers.clone()
    }

    /// The servers that are loaded now, in file order.
    pub fn running(&self) -> Vec<Arc<Instance>> {
        self.served().table.running()
    }

    /// What has become of attempts to change what is served.
    pub fn reloads(&self) -> &Reloads {
        &self.reloads
    }

    /// How a client on this machine reaches the gateway, e.g. `http://127.0.0.1:8000`; no slash at its end.
    pub fn base_url(&self) -> String {
        let ip = match self.listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let scheme = if self.served().settings.is_tls { "https" } else { "http" };
        format!("{scheme}://{}", SocketAddr::new(ip, self.listen.port()))
    }

    /// How the client of a request reaches the gateway; no slash at its end.
    pub(super) fn dialled(&self, parts: &Parts) -> String {
        let served = self.served();
        let http = &served.settings.http;
        if let Some(url) = &http.public_url {
            return url.clone();
        }
        let peer = parts.extensions.get::<Peer>();
        let told = peer.and_then(|peer| {
            forwarded::forwarded_proto(peer.address.ip(), &parts.headers, &http.trusted_proxies)
        });
        let is_tls = peer.is_some_and(|peer| peer.is_tls);
        let scheme = told.as_ref().map_or(if is_tls { "https" } else { "http" }, Scheme::as_str);
        format!("{scheme}://{}", host_of(&parts.uri, &parts.headers).unwrap_or_default())
    }

    /// How the client of a request to the listener of `[admin]` reaches the main one; no slash at its end. A gateway that
    /// listens at every address of its machine is at the one by which that client came.
    pub(super) fn beside(&self, parts: &Parts) -> String {
        let served = self.served();
        let came_by = host_of(&parts.uri, &parts.headers).and_then(name_of);
        match (&served.settings.http.public_url, came_by) {
            (Some(url), _) => url.clone(),
            (None, Some(name)) if self.listen.ip().is_unspecified() => {
                let scheme = if served.settings.is_tls { "https" } else { "http" };
                let name = if name.contains(':') { format!("[{name}]") } else { name.to_owned() };
                format!("{scheme}://{name}:{}", self.listen.port())
            }
            (None, _) => self.base_url(),
        }
    }

    /// Where the gateway is in its life.
    pub fn phase(&self) -> Phase {
        match (self.draining.load(SeqCst), self.installed.load(SeqCst)) {
            (true, _) => Phase::Draining,
            (false, false) => Phase::Starting,
            (false, true) if self.leaving.load(SeqCst) => Phase::Leaving,
            (false, true) => Phase::Serving,
        }
    }

    /// Waits until `caller` would not be let in any more as who it was: its token has expired, or gateway.toml says something
    /// else of it or of the server.
    pub(super) async fn disowned(self: Arc<Self>, caller: Caller) {
        let principal = &caller.principal;
        let expires = principal.expires().map(|at| at.duration_since(SystemTime::now()).unwrap_or_default());
        let expired = async {
            match expires {
                Some(left) => tokio::time::sleep(left).await,
                None => std::future::pending().await,
            }
        };
        let forgotten = async {
            loop {
                // Created before the look, so that no change in between is missed.
                let change = self.known.notified();
                let is_let_in = {
                    let served = self.served();
                    let access = served.access(caller.access.server());
                    let is_asked = access.is_asking() && !principal.is_named();
                    !is_asked && served.authority.knows(principal) && access.opens_to(principal)
                };
                if !is_let_in {
                    return;
                }
                change.await;
            }
        };
        tokio::select! {
            () = expired => {}
            () = forgotten => {}
        }
    }

    /// Opens a call, or says why none may be opened.
    pub fn begin_call(self: &Arc<Self>) -> Result<CallGuard, Problem> {
        // Counted before the look at `draining`: a drain that begins in between waits for this call or refuses it.
        self.calls.fetch_add(1, SeqCst);
        let guard = CallGuard(self.clone());
        match self.phase() {
            Phase::Serving | Phase::Leaving => Ok(guard),
            phase => Err(phase.problem()),
        }
    }

    /// Says in `/readyz` from now on that it stops, and replaces nothing any more; calls are taken as before.
    pub fn give_notice(&self) {
        let _switching = self.switching.lock().unwrap_or_else(PoisonError::into_inner);
        self.leaving.store(true, SeqCst);
    }

    /// Refuses new calls from now on, and ends streams that wait for changes. Pages still answer; `/readyz` says 503.
    pub fn begin_drain(&self) {
        let _switching = self.switching.lock().unwrap_or_else(PoisonError::into_inner);
        self.draining.store(true, SeqCst);
        self.served().doors().for_each(|door| door.begin_drain());
    }

    /// Once no call is open: ends the sessions of 2025 clients and with them their streams. Takes a few seconds at most.
    pub async fn close_sessions(&self) {
        let served = self.served.load_full();
        join_all(served.doors().map(|door| door.close_sessions())).await;
        served.doors().for_each(|door| door.shut());
    }

    /// Calls that are open now.
    pub fn calls_open(&self) -> usize {
        self.calls.load(SeqCst)
    }

    /// Waits until no call is open, at most `limit`; returns how many still are.
    pub async fn wait_idle(&self, limit: Duration) -> usize {
        let none_open = async {
            loop {
                // Created before the look at the count, so that no `notify_waiters` in between is missed.
                let change = self.idle.notified();
                if self.calls_open() == 0 {
                    return;
                }
                change.await;
            }
        };
        // A timeout is not an error here: the caller learns it from the count.
        let _ = timeout(limit, none_open).await;
        self.calls_open()
    }
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        if self.0.calls.fetch_sub(1, SeqCst) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

impl Phase {
    /// Whether the end has begun.
    pub fn is_stopping(self) -> bool {
        matches!(self, Self::Leaving | Self::Draining)
    }

    /// What calls and reloads are told that this phase does not take.
    pub(super) fn problem(self) -> Problem {
        let (reason, detail) = match self {
            Self::Leaving => ("draining", "the gateway is about to stop and changes nothing any more"),
            Self::Draining => ("draining", "the gateway is stopping and takes no new calls"),
            _ => ("starting", "the gateway is starting; its servers are not loaded yet"),
        };
        Problem::new(ProblemCode::PluginUnavailable, detail).with("reason", reason).retry_after(2)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::Http;

    /// A gateway without servers that listens on 127.0.0.1:8000.
    pub(in crate::serve) fn gateway() -> Arc<Gateway> {
        let http = Http {
            body_max_bytes: 64,
            allowed_hosts: vec!["tools.example.com".into(), "other.example.com:8443".into()],
            allowed_origins: vec!["https://app.example.com".into()],
            ..Http::default()
        };
        Gateway::new(Settings { http, ..Settings::default() }, ([127, 0, 0, 1], 8000).into())
    }

    #[tokio::test]
    async fn a_drain_refuses_new_calls_and_waits_for_open_ones() {
        let gateway = gateway();
        assert!(gateway.begin_call().is_err(), "it is still starting");
        gateway.install(MountTable::default());
        let call = gateway.begin_call().expect("it serves");

        gateway.begin_drain();
        assert!(gateway.begin_call().is_err(), "it drains");
        assert_eq!(gateway.wait_idle(Duration::ZERO).await, 1);

        let waiting = tokio::spawn({
            let gateway = gateway.clone();
            async move { gateway.wait_idle(Duration::from_secs(60)).await }
        });
        tokio::task::yield_now().await;
        drop(call);
        assert_eq!(waiting.await.expect("it does not panic"), 0);
    }

    #[tokio::test]
    async fn after_notice_is_given_calls_are_taken_and_nothing_is_replaced() {
        let gateway = gateway();
        gateway.install(MountTable::default());
        gateway.give_notice();
        assert!(gateway.begin_call().is_ok() && gateway.phase() == Phase::Leaving);
        assert!(gateway.switch(Vec::new(), gateway.settings()).is_err());
        gateway.begin_drain();
        assert!(gateway.begin_call().is_err() && gateway.phase() == Phase::Draining);
    }

    #[test]
    fn the_base_url_can_be_dialled() {
        let url = |listen: &str| {
            let listen = listen.parse().expect("the test's own address");
            Gateway::new(Settings::default(), listen).base_url()
        };
        assert_eq!(url("0.0.0.0:80"), "http://127.0.0.1:80");
        assert_eq!(url("[::]:80"), "http://[::1]:80");
        assert_eq!(url("192.0.2.7:8000"), "http://192.0.2.7:8000");
    }
}
