//! What is served at one moment: replaced as a whole, never changed in place.
//!
//! In:   a mount table, settings, and what was served before.
//! Out:  the same with an MCP door for each mount; a door outlives the generation that it was made for.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::{
    AuditLog,
    access::Access,
    admit::Admission,
    auth::{Authority, Principal, Resource},
    mcp::{McpDoor, Replaced, Sealer},
    seen::Seen,
    ticket::Tickets,
};
use crate::{
    config::{Admin, AsksFor, Auth, Config, Guards, Http, Limits, ServerName, Ways},
    load::Instance,
    mount::{Document, Mount, MountTable, Mounted},
};

/// What of gateway.toml holds for every request.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// What the file is called that all of this is from, without its folder.
    pub file: String,
    /// The `[http]` table.
    pub http: Http,
    /// The `[admin]` table.
    pub admin: Admin,
    /// `[shutdown] notice`: how long calls are still taken once the gateway is told to stop.
    pub notice: Duration,
    /// `[shutdown] drain`: longest wait for calls in flight.
    pub drain: Duration,
    /// The `[auth]` table.
    pub auth: Auth,
    /// What of the `[[server]]` tables is about callers.
    pub guards: Guards,
    /// The `[limits]` table.
    pub limits: Limits,
    /// Whether the listeners speak TLS. Does not change while the gateway runs.
    pub is_tls: bool,
    /// Where it is recorded what callers did.
    pub audit: AuditLog,
    /// Whether calls are counted and timed.
    pub counts_calls: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            file: String::new(),
            http: Http::default(),
            admin: Admin::default(),
            notice: Duration::ZERO,
            drain: Duration::ZERO,
            auth: Auth::default(),
            guards: Guards::new(),
            limits: Limits::default(),
            is_tls: false,
            audit: AuditLog::nothing(),
            counts_calls: true,
        }
    }
}

impl Settings {
    /// What `config` says; `audit` is what it says of that, opened.
    pub fn of(config: &Config, audit: AuditLog) -> Self {
        let file = config.path.file_name().map(|name| name.to_string_lossy().into_owned());
        Self {
            file: file.unwrap_or_default(),
            http: config.http.clone(),
            admin: config.admin.clone(),
            notice: config.shutdown.notice,
            drain: config.shutdown.drain,
            auth: config.auth.clone(),
            guards: config.guards.clone(),
            limits: config.limits.clone(),
            is_tls: config.tls.is_some(),
            audit,
            counts_calls: config.metrics.calls,
        }
    }

    /// `listen`: the address of the main listener.
    fn admission(&self, listen: IpAddr) -> Admission {
        Admission::new(&self.http, listen, self.admin.listen)
    }
}

/// One server of the table that is to be served next.
#[derive(Debug)]
pub enum Slot {
    /// As it is served at that moment.
    Same(ServerName),
    /// Another server, or another generation of one.
    New(Mounted),
}

/// What serves no more once something else does.
#[derive(Debug, Default)]
#[must_use = "what serves no more has to be unloaded"]
pub struct Switched {
    /// Generations without a mount, in file order.
    pub replaced: Vec<Arc<Instance>>,
    /// Doors of mounts that are not there any more, each with its instance.
    pub closed: Vec<(Arc<McpDoor>, Arc<Instance>)>,
}

/// A mount table, the MCP door of each mount in it, and the settings that hold.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) table: MountTable,
    doors: HashMap<ServerName, Arc<McpDoor>>,
    /// Of every server in the table.
    accesses: HashMap<ServerName, Arc<Access>>,
    pub(super) settings: Settings,
    pub(super) admission: Admission,
    pub(super) authority: Arc<Authority>,
    pub(super) tickets: Arc<Tickets>,
    documents: Documents,
}

/// OpenAPI documents by what callers may use: the mounts' addresses, which cannot be others' as long as the mounts are here.
#[derive(Debug, Default)]
struct Documents(Mutex<HashMap<Vec<usize>, Kept>>);

/// A document, and the mounts that it is of.
type Kept = (Vec<(Arc<Mount>, Ways)>, Document);

/// More documents than these are not kept.
const DOCUMENTS_MAX: usize = 64;

/// What is to be served next, and what has to be told of it.
pub(super) struct Next {
    pub(super) served: Served,
    /// Doors that other generations serve behind now.
    pub(super) told: Vec<(Arc<McpDoor>, Replaced)>,
    pub(super) switched: Switched,
}

impl Served {
    /// Nothing yet. `listen`: the address of the listener; `seen`: where calls are noted.
    pub(super) fn nothing(settings: Settings, listen: IpAddr, seen: Arc<Seen>) -> Self {
        let admission = settings.admission(listen);
        let authority = Arc::new(Authority::new(&settings.auth, &settings.http, None));
        let tickets = Arc::new(Tickets::new(&settings, seen));
        Self {
            table: MountTable::default(),
            doors: HashMap::new(),
            accesses: HashMap::new(),
            settings,
            admission,
            authority,
            tickets,
            documents: Documents::default(),
        }
    }

    /// What is served next. The doors of servers that stay at their prefixes serve their new generations from here on.
    pub(super) fn next(
        &self,
        slots: Vec<Slot>,
        settings: Settings,
        listen: IpAddr,
        sealer: &Arc<Sealer>,
    ) -> Next {
        let servers = slots.into_iter().filter_map(|slot| match slot {
            Slot::New(mounted) => Some(mounted),
            Slot::Same(name) => self.mounted(&name).cloned(),
        });
        let table = MountTable::of(servers.collect());
        let (mut doors, mut told) = (HashMap::new(), Vec::new());
        for mount in table.serving() {
            let name = &mount.instance.entry().name;
            let door = match self.door_at(mount) {
                None => Arc::new(McpDoor::new(mount.clone(), sealer.clone())),
                Some(door) => {
                    if !door.serves(&mount.instance) {
                        told.push((door.clone(), door.replace(mount.clone())));
                    }
                    door.clone()
                }
            };
            doors.insert(name.clone(), door);
        }
        let switched = self.left_by(&table, &doors);
        let accesses = table.servers.iter().map(|mounted| {
            let name = &mounted.entry().name;
            (name.clone(), Arc::new(Access::of(name, &settings.guards, &settings.auth)))
        });
        let accesses = accesses.collect();
        let admission = settings.admission(listen);
        let is_known = |before: &Settings| {
            before.auth == settings.auth && before.http.public_url == settings.http.public_url
        };
        let authority = match is_known(&self.settings) {
            true => self.authority.clone(),
            false => Arc::new(Authority::new(&settings.auth, &settings.http, Some(&self.authority))),
        };
        let asks_the_same = |before: &Settings| {
            (&before.limits, &before.audit, before.counts_calls)
                == (&settings.limits, &settings.audit, settings.counts_calls)
        };
        let tickets = match asks_the_same(&self.settings) {
            true => self.tickets.clone(),
            false => Arc::new(self.tickets.renewed(&settings)),
        };
        Next {
            served: Self {
                table,
                doors,
                accesses,
                settings,
                admission,
                authority,
                tickets,
                documents: Documents::default(),
            },
            told,
            switched,
        }
    }

    /// A table about a tool that is not there guards nothing: likely its name has a slip.
    pub(super) fn warn_of_tools_that_are_not_there(&self) {
        for mount in self.table.serving().filter(|mount| !mount.manifest.is_dynamic("tools/list")) {
            let server = &mount.instance.entry().name;
            let guarded = self.settings.guards.get(server).into_iter().flat_map(|guard| guard.tools.keys());
            for tool in guarded.filter(|tool| mount.tool(tool).is_none()) {
                tracing::warn!(
                    server = server.as_str(),
                    tool,
                    "a [[server.tool]] table is about a tool that the server does not have"
                );
            }
        }
    }

    /// What of this one is in `table` and among `doors` no more.
    fn left_by(&self, table: &MountTable, doors: &HashMap<ServerName, Arc<McpDoor>>) -> Switched {
        let mut switched = Switched::default();
        for instance in self.table.running() {
            if table.servers.iter().filter_map(Mounted::instance).any(|other| Arc::ptr_eq(other, &instance)) {
                continue;
            }
            let name = &instance.entry().name;
            let stays = |door: &Arc<McpDoor>| doors.get(name).is_some_and(|other| Arc::ptr_eq(other, door));
            match self.doors.get(name).filter(|door| !stays(door)) {
                Some(door) => switched.closed.push((door.clone(), instance)),
                None => switched.replaced.push(instance),
            }
        }
        switched
    }

    /// The same with `mount` in the place of the mount of the same instance. `None`: that serves no more.
    pub(super) fn with(&self, mount: &Arc<Mount>) -> Option<Self> {
        Some(Self {
            table: self.table.with(mount)?,
            doors: self.doors.clone(),
            accesses: self.accesses.clone(),
            settings: self.settings.clone(),
            admission: self.admission.clone(),
            authority: self.authority.clone(),
            tickets: self.tickets.clone(),
            documents: Documents::default(),
        })
    }

    /// What the server of that name asks of its callers.
    pub(super) fn access(&self, server: &ServerName) -> Arc<Access> {
        // A request may have found a server in the table before this one that is in this one no more.
        let anew = || Arc::new(Access::of(server, &self.settings.guards, &self.settings.auth));
        self.accesses.get(server).cloned().unwrap_or_else(anew)
    }

    /// How callers of the server of that name say who they are.
    pub(super) fn ways(&self, server: &ServerName) -> Ways {
        let guard = self.settings.guards.get(server);
        self.settings.auth.ways(guard.map(|guard| guard.asks_for).unwrap_or_default())
    }

    /// The OpenAPI document of what `principal` may use.
    pub(super) fn document(&self, principal: &Principal) -> Document {
        let mut views = Vec::new();
        for mount in self.table.serving() {
            let name = &mount.instance.entry().name;
            let access = self.access(name);
            if access.opens_to(principal) {
                views.push((access.view(mount, principal), self.ways(name)));
            }
        }
        let key: Vec<usize> = views.iter().map(|(view, _)| Arc::as_ptr(view) as usize).collect();
        let lock = || self.documents.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, document)) = lock().get(&key) {
            return document.clone();
        }
        let document = MountTable::document_of(&views, self.settings.auth.ways(AsksFor::Any));
        let mut kept = lock();
        if kept.len() >= DOCUMENTS_MAX {
            kept.clear();
        }
        kept.insert(key, (views, document.clone()));
        document
    }

    /// Whether there is a server of which that is true.
    pub(super) fn any_resource(&self, is_so: impl Fn(Resource<'_>) -> bool) -> bool {
        self.table.servers.iter().map(Mounted::entry).any(|entry| {
            let access = self.access(&entry.name);
            is_so(Resource::server(&entry.prefix, "", access.guard(), ""))
        })
    }

    fn mounted(&self, name: &ServerName) -> Option<&Mounted> {
        self.table.servers.iter().find(|mounted| mounted.entry().name == *name)
    }

    /// The door through which `mount` can be served: that of the same server at the same prefix. At another, its sessions
    /// and streams would go on at a URL that may be another server's by now.
    fn door_at(&self, mount: &Mount) -> Option<&Arc<McpDoor>> {
        let entry = mount.instance.entry();
        let is_there =
            self.mounted(&entry.name).is_some_and(|mounted| mounted.entry().prefix == entry.prefix);
        self.doors.get(&entry.name).filter(|_| is_there)
    }

    /// The MCP door of a mount of this table.
    pub(super) fn door(&self, mount: &Mount) -> Option<Arc<McpDoor>> {
        self.doors.get(&mount.instance.entry().name).cloned()
    }

    pub(super) fn doors(&self) -> impl Iterator<Item = &Arc<McpDoor>> {
        self.doors.values()
    }
}
