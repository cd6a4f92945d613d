//! What is served at one moment: replaced as a whole, never changed in place.
//!
//! In:   a mount table, settings, and what was served before.
//! Out:  the same with an MCP door for each mount; a door outlives the generation that it was made for.

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};

use super::{
    admit::Admission,
    mcp::{McpDoor, Replaced, Sealer},
};
use crate::{
    config::{Admin, Config, Http, ServerName},
    load::Instance,
    mount::{Mount, MountTable, Mounted},
};

/// What of gateway.toml holds for every request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// The `[http]` table.
    pub http: Http,
    /// The `[admin]` table.
    pub admin: Admin,
    /// `[shutdown] drain`: longest wait for calls in flight.
    pub drain: Duration,
}

impl Settings {
    /// What `config` says.
    pub fn of(config: &Config) -> Self {
        Self { http: config.http.clone(), admin: config.admin.clone(), drain: config.shutdown.drain }
    }

    /// `listen`: the address of the main listener.
    fn admission(&self, listen: IpAddr) -> Admission {
        let others = self.admin.listen.map(|admin| admin.ip());
        Admission::new(&self.http, std::iter::once(listen).chain(others).collect())
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
    pub(super) settings: Settings,
    pub(super) admission: Admission,
}

/// What is to be served next, and what has to be told of it.
pub(super) struct Next {
    pub(super) served: Served,
    /// Doors that other generations serve behind now.
    pub(super) told: Vec<(Arc<McpDoor>, Replaced)>,
    pub(super) switched: Switched,
}

impl Served {
    /// Nothing yet. `listen`: the address of the listener.
    pub(super) fn nothing(settings: Settings, listen: IpAddr) -> Self {
        let admission = settings.admission(listen);
        Self { table: MountTable::default(), doors: HashMap::new(), settings, admission }
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
        let admission = settings.admission(listen);
        Next { served: Self { table, doors, settings, admission }, told, switched }
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
        let (settings, admission) = (self.settings.clone(), self.admission.clone());
        Some(Self { table: self.table.with(mount)?, doors: self.doors.clone(), settings, admission })
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
