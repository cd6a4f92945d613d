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

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

use cli::ServeArgs;
use config::{Config, ConfigError};
use load::Loader;
use mount::MountTable;
use observe::Banner;
use reload::{Origin, Reloader};
use serve::{BindError, ControlSocket, Gateway, Listening, Serving, Settings, Trigger};
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
    // Before the plugins: a port in use is to cost nothing, and a signal is not to be missed.
    let listening = Listening::bind(config.listen)?;
    let admin = config.admin.listen.map(Listening::bind).transpose()?;
    // Whoever reads that the gateway is ready is to find it; who asks before waits until it is.
    let control = control_socket(config);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let signals = {
        let _runtime = runtime.enter();
        Signals::watch()?
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
    let gateway = Gateway::new(Settings::of(config), listening.address());
    announce(config, &table, &gateway.base_url(), admin.as_ref(), began.elapsed());
    let retirements = Arc::new(Retirements::default());
    let served = {
        let _runtime = runtime.enter();
        gateway.install(table);
        let serving = Served { listening, admin, control, signals };
        serving.until_stopped(&runtime, origin, loader, &gateway, &retirements)
    };
    unload::unload_all(&gateway.running());
    // Generations of before the last switches: there is nothing left that they could wait for.
    retirements.finish();
    served
}

/// What a gateway serves with.
struct Served {
    listening: Listening,
    admin: Option<Listening>,
    control: Option<ControlSocket>,
    signals: Signals,
}

impl Served {
    /// From the first request to the last: a signal refuses new calls and waits for those under way.
    fn until_stopped(
        mut self,
        runtime: &Runtime,
        origin: Origin,
        loader: Loader,
        gateway: &Arc<Gateway>,
        retirements: &Arc<Retirements>,
    ) -> Result<(), RunError> {
        let reloader = Reloader::start(origin, loader, gateway, retirements, runtime.handle())?;
        let mut stop = self.signals.follow(gateway);
        let mut serving = self.listening.serve(gateway)?;
        let mut others = Vec::new();
        others.extend(self.admin.map(|admin| admin.serve_operators(gateway)).transpose()?);
        others.extend(self.control.as_mut().map(|control| control.serve(gateway)).transpose()?);
        let end = async {
            tokio::select! {
                _ = stop.changed() => {}
                error = serving.failed() => return Err(error.into()),
                error = any_failed(&mut others) => return Err(error.into()),
            }
            gateway.begin_drain();
            reloader.close();
            drain(gateway, retirements).await
        };
        let stopped = runtime.block_on(end);
        // Also after an error.
        gateway.begin_drain();
        reloader.close();
        runtime.block_on(async {
            for listener in std::iter::once(serving).chain(others) {
                listener.stop(LAST_BYTES).await?;
            }
            Ok::<_, RunError>(())
        })?;
        // What is being loaded now is never served; what cannot be waited for ends with the process.
        reloader.finish(LAST_BYTES);
        stopped
    }
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

/// Waits for the first of the listeners that ends by itself; for ever if there is none.
async fn any_failed(listeners: &mut [Serving]) -> io::Error {
    if listeners.is_empty() {
        return std::future::pending().await;
    }
    futures_util::future::select_all(listeners.iter_mut().map(|listener| Box::pin(listener.failed()))).await.0
}

/// Where `gateway reload` finds this gateway. Without it there are still SIGHUP and the files.
fn control_socket(config: &Config) -> Option<ControlSocket> {
    let bound = ControlSocket::bind(&config.path);
    bound.inspect_err(|error| tracing::warn!(%error, "`gateway reload` will not find this gateway")).ok()
}

/// Says that everything is up: to a person on a terminal, and to the log.
fn announce(config: &Config, table: &MountTable, base: &str, admin: Option<&Listening>, took: Duration) {
    let startup_ms = took.as_micros() as f64 / 1000.0;
    let failed = table.servers.iter().filter(|mounted| mounted.failure().is_some()).count();
    if io::stderr().is_terminal() {
        // Nobody can be told that stderr is gone.
        let _ = write!(io::stderr(), "{}", Banner { table, config, base, took });
    }
    // Port 0 is none that anybody could find.
    let admin = admin.map(|admin| admin.address().to_string());
    tracing::info!(url = base, admin, servers = table.servers.len(), failed, startup_ms, "gateway ready");
}

/// The signals that a gateway takes, from the moment on at which this is made.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    /// Whether somebody started it at a terminal.
    at_terminal: bool,
}

impl Signals {
    fn watch() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            at_terminal: io::stderr().is_terminal(),
        })
    }

    /// The first SIGINT or SIGTERM changes what is returned, the second ends the process, whatever it is doing. SIGHUP asks
    /// for a reload, unless it says that the terminal is gone.
    fn follow(mut self, gateway: &Arc<Gateway>) -> watch::Receiver<()> {
        let (stop, stopped) = watch::channel(());
        let gateway = gateway.clone();
        tokio::spawn(async move {
            let mut is_stopping = false;
            loop {
                let hung_up = tokio::select! {
                    _ = self.interrupt.recv() => false,
                    _ = self.terminate.recv() => false,
                    _ = self.hang_up.recv() => true,
                };
                if hung_up && (!self.at_terminal || io::stderr().is_terminal()) {
                    // What comes of it is in the log.
                    drop(gateway.reloads().ask(Trigger::Signal));
                    continue;
                }
                if std::mem::replace(&mut is_stopping, true) {
                    tracing::warn!("second signal: gateway ends at once");
                    load::leave_at_once(1);
                }
                stop.send_replace(());
            }
        });
        stopped
    }
}
