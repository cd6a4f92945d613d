//! Calls, counted and timed by server and tool; requests by server and method.
//!
//! In:   the servers and tools that there are, whenever that changes; each call when it begins and when it is over.
//! Out:  a series for each tool that there is, for each method, and for what there is not.
//! Never: takes a lock for a call, or makes a series for a name because a client has said it.

use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwap;

use super::durations::{Counted, Durations};
use crate::{
    config::ServerName,
    mount::{MountTable, Mounted},
    serve::call::CallOutcome,
    trace::METHODS,
};

/// Under which label calls of tools that do not exist are counted.
const UNKNOWN: &str = "_unknown";
/// The same of tools in a list that the plugin makes call by call: nobody knows which there are.
const DYNAMIC: &str = "_dynamic";
/// Under which label requests for methods that do not exist are counted.
const OTHER: &str = "_other";

/// A client's answer to a question names no method.
const UNNAMED: &str = "_answer";

/// What requests are counted under: the methods that there are, and what is none of them.
const COUNTED: [&str; METHODS.len() + 2] = {
    let mut counted = [OTHER; METHODS.len() + 2];
    counted[METHODS.len() + 1] = UNNAMED;
    let mut place = 0;
    while place < METHODS.len() {
        counted[place] = METHODS[place];
        place += 1;
    }
    counted
};

/// The counts of every server that is configured.
#[derive(Debug, Default)]
pub(in crate::serve) struct Tally(ArcSwap<HashMap<ServerName, Arc<ServerTally>>>);

/// The counts of one server, through all its generations.
#[derive(Debug, Default)]
pub(in crate::serve) struct ServerTally {
    tools: ArcSwap<HashMap<Box<str>, Arc<Series>>>,
    /// Calls of tools that are not there.
    unknown: Arc<Series>,
    /// Calls of tools of which only the plugin knows whether they are there.
    dynamic: Arc<Series>,
    /// Whether the plugin makes its list of tools call by call.
    is_dynamic: AtomicBool,
    /// Calls of the plugin by other methods, each at the place that it has in [`COUNTED`].
    methods: [OnceLock<Arc<Series>>; COUNTED.len()],
    requests: [AtomicU64; COUNTED.len()],
}

/// How the calls of one tool, or by one method, have ended.
#[derive(Debug, Default)]
pub(in crate::serve) struct Series {
    open: AtomicU64,
    ends: [AtomicU64; CallOutcome::ALL.len()],
    /// Of those that were not refused before they began.
    took: Durations,
}

/// A call that was counted as it began. Dropped without an end, it is open no more, and that is all.
#[derive(Debug)]
pub(in crate::serve) struct Open(Arc<Series>);

impl Tally {
    /// Takes note of which servers there are and which tools they have. What is gone is forgotten; a server that does not
    /// serve at present keeps what it had.
    pub(in crate::serve) fn follow(&self, table: &MountTable) {
        let before = self.0.load();
        let servers = table.servers.iter().map(|mounted| {
            let name = &mounted.entry().name;
            let tally = before.get(name).cloned().unwrap_or_default();
            if let Mounted::Serving(mount) = mounted {
                tally.is_dynamic.store(mount.manifest.is_dynamic("tools/list"), Relaxed);
                tally.follow(mount.tools.iter().map(|tool| &*tool.spec.name));
            }
            (name.clone(), tally)
        });
        self.0.store(Arc::new(servers.collect()));
    }

    /// The counts of a server; `None`: it is configured no more.
    pub(in crate::serve) fn of(&self, server: &ServerName) -> Option<Arc<ServerTally>> {
        self.0.load().get(server).cloned()
    }
}

impl ServerTally {
    fn follow<'a>(&self, tools: impl Iterator<Item = &'a str>) {
        let before = self.tools.load();
        let series = |name: &str| before.get(name).cloned().unwrap_or_default();
        self.tools.store(Arc::new(tools.map(|name| (name.into(), series(name))).collect()));
    }

    /// Where a call by `method` is counted; `subject` is the tool's name.
    fn series(&self, method: &str, subject: &str) -> Arc<Series> {
        if method == "tools/call" {
            let others = if self.is_dynamic.load(Relaxed) { &self.dynamic } else { &self.unknown };
            return self.tools.load().get(subject).unwrap_or(others).clone();
        }
        self.methods[place(Some(method))].get_or_init(Arc::default).clone()
    }

    /// A call begins.
    pub(in crate::serve) fn begin(&self, method: &str, subject: &str) -> Open {
        let series = self.series(method, subject);
        series.open.fetch_add(1, Relaxed);
        Open(series)
    }

    /// A message has come. `None`: it names no method.
    pub(in crate::serve) fn count_request(&self, method: Option<&str>) {
        self.requests[place(method)].fetch_add(1, Relaxed);
    }

    /// Messages by method, of those that there were.
    pub(in crate::serve) fn requests(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.requests.iter().map(|count| count.load(Relaxed));
        COUNTED.into_iter().zip(counts).filter(|(_, count)| *count > 0)
    }

    /// The series of calls by other methods, of those that there were.
    pub(in crate::serve) fn methods(&self) -> impl Iterator<Item = (&'static str, Arc<Series>)> {
        COUNTED
            .into_iter()
            .zip(&self.methods)
            .filter_map(|(method, series)| Some((method, series.get()?.clone())))
    }

    /// The series of every tool, by name; then, if there were any, that of what is none of them.
    pub(in crate::serve) fn tools(&self) -> Vec<(Box<str>, Arc<Series>)> {
        let mut tools: Vec<_> =
            self.tools.load().iter().map(|(name, series)| (name.clone(), series.clone())).collect();
        tools.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        for (name, series) in [(UNKNOWN, &self.unknown), (DYNAMIC, &self.dynamic)] {
            // No series is told twice, should a plugin ever have a tool of that name.
            if !series.is_unused() && tools.iter().all(|(tool, _)| **tool != *name) {
                tools.push((name.into(), series.clone()));
            }
        }
        tools
    }
}

/// Where in [`COUNTED`].
fn place(method: Option<&str>) -> usize {
    let named = method.unwrap_or(UNNAMED);
    let other = METHODS.len();
    COUNTED.iter().position(|known| *known == named).unwrap_or(other)
}

impl Series {
    /// Calls under way.
    pub(in crate::serve) fn open(&self) -> u64 {
        self.open.load(Relaxed)
    }

    /// Calls that are over, by outcome.
    pub(in crate::serve) fn ends(&self) -> [(CallOutcome, u64); CallOutcome::ALL.len()] {
        CallOutcome::ALL.map(|outcome| (outcome, self.ends[outcome as usize].load(Relaxed)))
    }

    /// How long those took that were not refused before they began.
    pub(in crate::serve) fn took(&self) -> Counted {
        self.took.counted()
    }

    fn is_unused(&self) -> bool {
        self.open() == 0 && self.ends().iter().all(|(_, count)| *count == 0)
    }
}

impl Open {
    /// The call is over. `took`: `None` if it was refused before it began.
    pub(super) fn end(self, outcome: CallOutcome, took: Option<Duration>) {
        self.0.ends[outcome as usize].fetch_add(1, Relaxed);
        if let Some(took) = took {
            self.0.took.add(took);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(tally: &ServerTally) -> Vec<(String, u64, u64)> {
        let count = |(name, series): (Box<str>, Arc<Series>)| {
            (name.to_string(), series.open(), series.ends().iter().map(|(_, count)| count).sum())
        };
        tally.tools().into_iter().map(count).collect()
    }

    #[test]
    fn a_million_names_that_nobody_has_are_one_series() {
        let tally = ServerTally::default();
        tally.follow(["echoHai"].into_iter());
        for number in 0..1_000_000 {
            tally.begin("tools/call", &number.to_string()).end(CallOutcome::UnknownTool, None);
            tally.count_request(Some(&number.to_string()));
        }
        assert_eq!(counts(&tally), [("echoHai".to_owned(), 0, 0), (UNKNOWN.to_owned(), 0, 1_000_000)]);
        assert_eq!(tally.requests().collect::<Vec<_>>(), [(OTHER, 1_000_000)]);
    }

    #[test]
    fn a_tool_that_stays_goes_on_to_count_and_one_that_is_gone_is_forgotten() {
        let tally = ServerTally::default();
        tally.follow(["add", "subtract"].into_iter());
        let open = ["add", "subtract"].map(|tool| tally.begin("tools/call", tool));
        assert_eq!(counts(&tally), [("add".to_owned(), 1, 0), ("subtract".to_owned(), 1, 0)]);
        tally.follow(["add", "multiply"].into_iter());
        open.into_iter().for_each(|open| open.end(CallOutcome::Ok, Some(Duration::from_millis(1))));
        assert_eq!(counts(&tally), [("add".to_owned(), 0, 1), ("multiply".to_owned(), 0, 0)]);
    }

    #[test]
    fn other_methods_have_series_of_their_own() {
        let tally = ServerTally::default();
        tally.begin("prompts/get", "any").end(CallOutcome::Ok, Some(Duration::ZERO));
        let methods: Vec<_> =
            tally.methods().map(|(method, series)| (method, series.took().count())).collect();
        assert_eq!(methods, [("prompts/get", 1)]);
        tally.count_request(None);
        assert_eq!(tally.requests().collect::<Vec<_>>(), [(UNNAMED, 1)]);
    }
}
