//! What every request shares: the mount table, the `[http]` table, and how many calls are open.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use tokio::{sync::Notify, time::timeout};

use super::{
    admit::Admission,
    mcp::{McpDoor, Sealer},
    problem::Problem,
};
use crate::{
    config::{Http, ServerName},
    mount::{Mount, MountTable, Mounted, ProblemCode},
};

/// What every request shares. Called in this order: [`Gateway::new`], [`Gateway::install`], [`Gateway::begin_drain`],
/// [`Gateway::wait_idle`], [`Gateway::close_sessions`].
#[derive(Debug)]
pub struct Gateway {
    /// Itself, for what goes on in the background.
    own: Weak<Self>,
    served: ArcSwap<Served>,
    sealer: Arc<Sealer>,
    http: Http,
    listen: SocketAddr,
    admission: Admission,
    installed: AtomicBool,
    draining: AtomicBool,
    calls: AtomicUsize,
    idle: Notify,
}

/// A mount table, and the MCP door of each mount in it.
#[derive(Debug, Default)]
pub(super) struct Served {
    pub(super) table: MountTable,
    doors: HashMap<ServerName, Arc<McpDoor>>,
}

impl Served {
    fn new(table: MountTable, sealer: &Arc<Sealer>) -> Self {
        let mounts = table.servers.iter().filter_map(|mounted| match mounted {
            Mounted::Serving(mount) => Some(mount),
            _ => None,
        });
        let door = |mount: &Arc<Mount>| {
            (mount.instance.entry().name.clone(), Arc::new(McpDoor::new(mount.clone(), sealer.clone())))
        };
        Self { doors: mounts.map(door).collect(), table }
    }

    /// The MCP door of a mount of this table.
    pub(super) fn door(&self, mount: &Mount) -> Option<Arc<McpDoor>> {
        self.doors.get(&mount.instance.entry().name).cloned()
    }
}

/// Where the gateway is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// No mount table yet.
    Starting,
    /// It takes calls.
    Serving,
    /// It takes no more calls.
    Draining,
}

/// An open call. [`Gateway::wait_idle`] waits until every one of them is dropped: it goes with the answer's body.
#[derive(Debug)]
pub struct CallGuard(Arc<Gateway>);

impl Gateway {
    /// A gateway that is starting: it answers, but has no servers. `listen` is the address really bound.
    pub fn new(http: Http, listen: SocketAddr) -> Arc<Self> {
        Arc::new_cyclic(|own| Self {
            own: own.clone(),
            sealer: Arc::new(Sealer::new(http.state_secret.as_ref())),
            served: ArcSwap::default(),
            admission: Admission::new(&http, listen.ip()),
            http,
            listen,
            installed: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            calls: AtomicUsize::new(0),
            idle: Notify::new(),
        })
    }

    /// Serves `table` from the next request on; requests under way keep the table they began with. To be called in
    /// a runtime, which follows what the table's servers say of changes.
    pub fn install(&self, table: MountTable) {
        let served = Served::new(table, &self.sealer);
        served.doors.values().for_each(|door| door.follow(self.own.clone()));
        self.served.store(Arc::new(served));
        self.installed.store(true, SeqCst);
    }

    /// Serves `mount` in the place of the mount of the same instance, at the same door.
    pub(super) fn replace(&self, mount: &Arc<Mount>) {
        self.served.rcu(|served| match served.table.with(mount) {
            Some(table) => Arc::new(Served { table, doors: served.doors.clone() }),
            None => served.clone(),
        });
    }

    /// What is served now. To be held for short; clone the `Arc` out of it to keep it.
    pub(super) fn served(&self) -> arc_swap::Guard<Arc<Served>> {
        self.served.load()
    }

    /// The `[http]` table.
    pub fn http(&self) -> &Http {
        &self.http
    }

    pub(super) fn admission(&self) -> &Admission {
        &self.admission
    }

    /// How a client on this machine reaches the gateway, e.g. `http://127.0.0.1:8000`; no slash at its end.
    pub fn base_url(&self) -> String {
        let ip = match self.listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        format!("http://{}", SocketAddr::new(ip, self.listen.port()))
    }

    /// Where the gateway is in its life.
    pub fn phase(&self) -> Phase {
        match (self.draining.load(SeqCst), self.installed.load(SeqCst)) {
            (true, _) => Phase::Draining,
            (false, false) => Phase::Starting,
            (false, true) => Phase::Serving,
        }
    }

    /// Opens a call, or says why none may be opened.
    pub fn begin_call(self: &Arc<Self>) -> Result<CallGuard, Problem> {
        // Counted before the look at `draining`: a drain that begins in between waits for this call or refuses it.
        self.calls.fetch_add(1, SeqCst);
        let guard = CallGuard(self.clone());
        match self.phase() {
            Phase::Serving => Ok(guard),
            phase => Err(phase.problem()),
        }
    }

    /// Refuses new calls from now on, and ends streams that wait for changes. Pages still answer; `/readyz` says 503.
    pub fn begin_drain(&self) {
        self.draining.store(true, SeqCst);
        self.served().doors.values().for_each(|door| door.begin_drain());
    }

    /// Once no call is open: ends the sessions of 2025 clients and with them their streams. Takes a few seconds at most.
    pub async fn close_sessions(&self) {
        let served = self.served.load_full();
        join_all(served.doors.values().map(|door| door.close_sessions())).await;
        served.doors.values().for_each(|door| door.shut());
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
    /// What calls are told in this phase.
    pub(super) fn problem(self) -> Problem {
        let (reason, detail) = match self {
            Self::Draining => ("draining", "the gateway is stopping and takes no new calls"),
            _ => ("starting", "the gateway is starting; its servers are not loaded yet"),
        };
        Problem::new(ProblemCode::PluginUnavailable, detail).with("reason", reason).retry_after(2)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A gateway without servers that listens on 127.0.0.1:8000.
    pub(in crate::serve) fn gateway() -> Arc<Gateway> {
        let http = Http {
            body_max_bytes: 64,
            allowed_hosts: vec!["tools.example.com".into(), "other.example.com:8443".into()],
            allowed_origins: vec!["https://app.example.com".into()],
            state_secret: None,
        };
        Gateway::new(http, ([127, 0, 0, 1], 8000).into())
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

    #[test]
    fn the_base_url_can_be_dialled() {
        let url = |listen: &str| {
            let listen = listen.parse().expect("the test's own address");
            Gateway::new(gateway().http().clone(), listen).base_url()
        };
        assert_eq!(url("0.0.0.0:80"), "http://127.0.0.1:80");
        assert_eq!(url("[::]:80"), "http://[::1]:80");
        assert_eq!(url("192.0.2.7:8000"), "http://192.0.2.7:8000");
    }
}
