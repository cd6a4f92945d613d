//! `gateway` turns compiled plugins into MCP servers. Its five steps, in order:
//! config → load → mount → serve → unload. A step uses the types of earlier steps, never of later ones.

pub mod config;
pub mod load;
pub mod mount;
pub mod serve;
pub mod unload;

pub mod reload;

pub mod cli;
pub mod observe;
mod signals;
pub mod trace;

use std::{
    io::{self, IsTerminal as _, Write as _},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::{join_all, select_all};
use tokio::{runtime::Runtime, sync::watch};

use cli::{Banner, ServeArgs};
use config::{Config, ConfigError};
use load::Loader;
use mount::MountTable;
use reload::{Origin, Reloader};
use serve::{
    Audit, AuditLog, BindError, ConnectionLimits, ControlSocket, Gateway, Listening, Serving, Settings,
    Terms, TlsSwitch,
};
use signals::Signals;
use unload::Retirements;

/// How long answers that are ready may take to reach their clients once the gateway stops.
const LAST_BYTES: Duration = Duration::from_secs(2);

/// Why the gateway did not run, or did not stop in good order.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// gateway.toml is wrong or missing.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The address cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A server that has to run does not.
    #[error("server `{server}` is marked `required` and did not start")]
    Required {
        /// The first of them.
        server: String,
    },
    /// What is to be recorded cannot be.
    #[error("cannot open the audit log `{}`; name a file in `[audit] path` that the gateway's user may write", .path.display())]
    Audit {
        /// `[audit] path`.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system gives no threads, signals or sockets, or takes the listener away.
    #[error("the system refuses what the gateway needs")]
    System(#[from] io::Error),
    /// Calls under way did not end in time.
    #[error("calls under way were cut off after {waited:?}: {calls}")]
    Cut {
        /// How many.
        calls: usize,
        /// `[shutdown] drain`.
        waited: Duration,
    },
}

/// `gateway serve`: all five steps, and again those that a change asks for. Returns after an orderly stop.
pub fn run(args: &ServeArgs) -> Result<(), RunError> {
    let began = Instant::now();
    let origin = Origin::read(&args.config, args.listen)?;
    let config = origin.config();
    observe::start(&config.log);
    trace::start();
    warn_of(config);
    let listeners = 1 + usize::from(config.admin.listen.is_some());
    serve::raise_descriptor_limit(listeners, config.limits.connections_max);
    // Before the plugins: a port in use is to cost nothing, and whoever asks early waits.
    let listening = Listening::bind(config.listen)?;
    let admin = config.admin.listen.map(Listening::bind_admin).transpose()?;
    let control = control_socket(config);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let settings = Settings::of(config, open_audit(config)?);
    let gateway = Gateway::new(settings, listening.address());
    let stop = {
        let _runtime = runtime.enter();
        Signals::watch()?.follow(&gateway)
    };

    for ignored in origin.ignored() {
        tracing::warn!(file = %ignored.path.display(), reason = ignored.reason, "file in the plugins folder ignored");
    }
    let loader = Loader::new(&config.plugins);
    let table = MountTable::new(loader.load_all(origin.entries()));
    for (mounted, failure) in table.servers.iter().filter_map(|server| Some((server, server.failure()?))) {
        tracing::error!(server = mounted.entry().name.as_str(), error = failure.reason, "server failed");
    }
    if let Some(server) = table.required_failure() {
        unload::unload_all(&table.running());
        return Err(RunError::Required { server });
    }
    let retirements = Arc::new(Retirements::default());
    let served = {
        let _runtime = runtime.enter();
        gateway.install(table);
        let terms = Terms {
            limits: ConnectionLimits::of(&config.limits),
            tls: config.tls.as_ref().map(TlsSwitch::new),
        };
        let doors = Doors { listening, admin, control, terms, began };
        doors.serve_until(stop, &runtime, Reloading { origin, loader }, &gateway, &retirements)
    };
    unload::unload_all(&gateway.running());
    // Generations of before the last switches: there is nothing left that they could wait for.
    retirements.finish();
    // Calls that were cut off are recorded as that.
    let audit = gateway.settings().audit;
    drop(gateway);
    // With a limit: a library that hangs when it is closed may hold up the end of any thread.
    runtime.shutdown_timeout(LAST_BYTES);
    let unwritten = audit.close(LAST_BYTES);
    if unwritten > 0 {
        tracing::error!(lines = unwritten, "audit log is not complete");
    }
    // Last: records of calls are not to wait for a collector that is slow.
    trace::stop(LAST_BYTES);
    served
}

/// Where a gateway answers.
struct Doors {
    listening: Listening,
    admin: Option<Listening>,
    control: Option<ControlSocket>,
    terms: Terms,
    /// When the gateway was started.
    began: Instant,
}

/// What reloads begin with.
struct Reloading {
    origin: Origin,
    loader: Loader,
}

impl Doors {
    /// From the first request to the last: a signal refuses new calls and waits for those under way.
    fn serve_until(
        mut self,
        mut stop: watch::Receiver<()>,
        runtime: &Runtime,
        Reloading { origin, loader }: Reloading,
        gateway: &Arc<Gateway>,
        retirements: &Arc<Retirements>,
    ) -> Result<(), RunError> {
        let (config, admin) = (origin.config().clone(), self.admin.as_ref().map(Listening::address));
        let reloader = Reloader::start(origin, loader, gateway, &self.terms, retirements, runtime.handle())?;
        let mut serving = vec![self.listening.serve(gateway, &self.terms)?];
        serving.extend(self.admin.map(|admin| admin.serve_operators(gateway, &self.terms)).transpose()?);
        serving.extend(self.control.as_mut().map(|control| control.serve(gateway)).transpose()?);
        // Not before whoever hears of it can ask for something, a reload among it.
        announce(&config, gateway, admin, self.began.elapsed());
        let stopped = runtime.block_on(async {
            let mut ended = tokio::select! {
                _ = stop.changed() => Ok(()),
                error = first_failed(&mut serving) => Err(RunError::from(error)),
            };
            if ended.is_ok() {
                ended = tokio::select! {
                    () = notice(gateway, &reloader) => Ok(()),
                    error = first_failed(&mut serving) => Err(RunError::from(error)),
                };
            }
            gateway.begin_drain();
            reloader.close();
            let drained = drain(gateway, retirements).await;
            // Before the port is free: whoever takes it next, on the same file, is not to find this gateway.
            drop(self.control.take());
            let stopping = serving.into_iter().map(|listener| listener.stop(LAST_BYTES));
            let closed = join_all(stopping).await.into_iter().collect::<io::Result<()>>();
            ended.and(drained).and(closed.map_err(RunError::from))
        });
        // What is being loaded now is never served. What cannot be waited for ends with the process, at once.
        if !reloader.finish(LAST_BYTES) {
            load::leave_no_destructors();
        }
        stopped
    }
}

/// Says that the gateway stops, and waits until whoever sends calls may have seen it.
async fn notice(gateway: &Gateway, reloader: &Reloader) {
    let notice = gateway.settings().notice;
    if notice.is_zero() {
        return;
    }
    gateway.give_notice();
    reloader.close();
    tracing::info!(?notice, "gateway about to drain");
    tokio::time::sleep(notice).await;
}

/// Waits for calls under way, for as long as the settings say, and ends what is left.
async fn drain(gateway: &Gateway, retirements: &Retirements) -> Result<(), RunError> {
    let drain = gateway.settings().drain;
    tracing::info!(calls = gateway.calls_open(), ?drain, "gateway draining");
    let calls = gateway.wait_idle(drain).await;
    if calls > 0 {
        // Their clients are told, which takes them a moment.
        gateway.running().iter().for_each(|instance| instance.close());
        retirements.hurry();
        gateway.wait_idle(LAST_BYTES).await;
    }
    gateway.close_sessions().await;
    match calls {
        0 => Ok(()),
        calls => Err(RunError::Cut { calls, waited: drain }),
    }
}

/// Waits for the first of the listeners that ends by itself.
async fn first_failed(serving: &mut [Serving]) -> io::Error {
    select_all(serving.iter_mut().map(|listener| Box::pin(listener.failed()))).await.0
}

/// Before the plugins, as the listeners: nobody is to be called without a record of it.
fn open_audit(config: &Config) -> Result<AuditLog, RunError> {
    let path = config.audit.path.clone().unwrap_or_default();
    Audit::open(&config.audit).map(AuditLog::new).map_err(|source| RunError::Audit { path, source })
}

/// Where `gateway reload` finds this gateway. Without it there are still SIGHUP and the files.
fn control_socket(config: &Config) -> Option<ControlSocket> {
    let bound = ControlSocket::bind(&config.path);
    bound.inspect_err(|error| tracing::warn!(%error, "`gateway reload` will not find this gateway")).ok()
}

/// Says what of the configuration is allowed, but rarely wise.
fn warn_of(config: &Config) {
    warnings(config).into_iter().for_each(|text| tracing::warn!("{text}"));
}

fn warnings(config: &Config) -> Vec<&'static str> {
    let is_public = |listen: SocketAddr| !listen.ip().to_canonical().is_loopback();
    let (is_main, is_admin) = (is_public(config.listen), config.admin.listen.is_some_and(is_public));
    let is_on = config.auth.is_on();
    let is_plain = is_on && config.tls.is_none();
    // Of the main listener alone: what is in front of the other has no key in gateway.toml.
    let is_behind_tls = config.http.public_url.as_ref().is_some_and(|url| url.starts_with("https://"));
    let all = [
        (
            is_main && !is_on,
            "everybody who reaches this machine may call every tool: [auth] allow_unauthenticated",
        ),
        (
            is_admin && !is_on,
            "everybody who reaches [admin] listen may see how the gateway is doing: [auth] allow_unauthenticated",
        ),
        (
            is_main && is_plain && !is_behind_tls,
            "keys and tokens travel unencrypted: set [tls], or [http] public_url if a proxy encrypts",
        ),
        (
            is_admin && is_plain,
            "keys and tokens travel unencrypted to [admin] listen, unless a proxy encrypts: set [tls]",
        ),
    ];
    all.into_iter().filter_map(|(is_so, text)| is_so.then_some(text)).collect()
}

/// Says that everything is up: to a person on a terminal, and to the log.
fn announce(config: &Config, gateway: &Gateway, admin: Option<SocketAddr>, took: Duration) {
    let startup_ms = took.as_micros() as f64 / 1000.0;
    let (servers, base) = (&*gateway.mounted(), &*gateway.base_url());
    let failed = servers.iter().filter(|mounted| mounted.failure().is_some()).count();
    if io::stderr().is_terminal() {
        // Nobody can be told that stderr is gone.
        let _ = write!(io::stderr(), "{}", Banner { servers, config, base, admin, took });
    }
    let admin = admin.map(|address| address.to_string());
    tracing::info!(url = base, admin, servers = servers.len(), failed, startup_ms, "gateway ready");
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_is_rarely_wise_is_said_of_either_listener() {
        let check = |text: &str, expected: &[&str]| {
            let key =
                format!("[[auth.key]]\nname = \"ci\"\nid = \"k3J9x2Qa\"\nsha256 = \"{}\"", "a".repeat(64));
            let text = text.replace("KEY", &key).replace("NOBODY", "[auth]\nallow_unauthenticated = true");
            let config = config::parse(&text, Path::new("gateway.toml"), config::Outside::NOTHING);
            let told = warnings(&config.expect("the text is good"));
            let begins: Vec<_> = told.iter().map(|text| text.split(':').next().unwrap_or_default()).collect();
            assert_eq!(begins, expected, "{text}");
        };
        let (main, admin) = ("listen = \"0.0.0.0:8000\"", "[admin]\nlisten = \"0.0.0.0:9000\"");
        let proxy = "[http]\npublic_url = \"https://a.example\"";
        let all_may_call = "everybody who reaches this machine may call every tool";
        let all_may_see = "everybody who reaches [admin] listen may see how the gateway is doing";
        let plain = "keys and tokens travel unencrypted";
        let plain_admin = "keys and tokens travel unencrypted to [admin] listen, unless a proxy encrypts";
        check("", &[]);
        check("[admin]\nlisten = \"127.0.0.1:9000\"\nKEY", &[]);
        check(&format!("{main}\nNOBODY"), &[all_may_call]);
        check(&format!("{admin}\nNOBODY"), &[all_may_see]);
        check(&format!("{main}\nKEY"), &[plain]);
        check(&format!("{admin}\nKEY"), &[plain_admin]);
        check(&format!("{main}\n{proxy}\nKEY"), &[]);
        check(&format!("{main}\n{proxy}\n{admin}\nKEY"), &[plain_admin]);
    }
}
