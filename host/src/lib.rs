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

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::{join_all, select_all};
use tokio::{runtime::Runtime, sync::watch};

use cli::ServeArgs;
use config::{Config, ConfigError};
use load::Loader;
use mount::MountTable;
use observe::Banner;
use reload::{Origin, Reloader};
use serve::{BindError, ControlSocket, Gateway, Listening, Serving, Settings};
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
    // Before the plugins: a port in use is to cost nothing, and whoever asks early waits.
    let listening = Listening::bind(config.listen)?;
    let admin = config.admin.listen.map(Listening::bind_admin).transpose()?;
    let control = control_socket(config);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let gateway = Gateway::new(Settings::of(config), listening.address());
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
        announce(config, &gateway, admin.as_ref(), began.elapsed());
        let doors = Doors { listening, admin, control };
        doors.serve_until(stop, &runtime, Reloading { origin, loader }, &gateway, &retirements)
    };
    unload::unload_all(&gateway.running());
    // Generations of before the last switches: there is nothing left that they could wait for.
    retirements.finish();
    // With a limit: a library that hangs when it is closed may hold up the end of any thread.
    runtime.shutdown_timeout(LAST_BYTES);
    served
}

/// Where a gateway answers.
struct Doors {
    listening: Listening,
    admin: Option<Listening>,
    control: Option<ControlSocket>,
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
        let reloader = Reloader::start(origin, loader, gateway, retirements, runtime.handle())?;
        let mut serving = vec![self.listening.serve(gateway)?];
        serving.extend(self.admin.map(|admin| admin.serve_operators(gateway)).transpose()?);
        serving.extend(self.control.as_mut().map(|control| control.serve(gateway)).transpose()?);
        let stopped = runtime.block_on(async {
            let ended = tokio::select! {
                _ = stop.changed() => Ok(()),
                error = first_failed(&mut serving) => Err(RunError::from(error)),
            };
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

/// Where `gateway reload` finds this gateway. Without it there are still SIGHUP and the files.
fn control_socket(config: &Config) -> Option<ControlSocket> {
    let bound = ControlSocket::bind(&config.path);
    bound.inspect_err(|error| tracing::warn!(%error, "`gateway reload` will not find this gateway")).ok()
}

/// Says that everything is up: to a person on a terminal, and to the log.
fn announce(config: &Config, gateway: &Gateway, admin: Option<&Listening>, took: Duration) {
    let startup_ms = took.as_micros() as f64 / 1000.0;
    let (servers, base) = (&*gateway.mounted(), &*gateway.base_url());
    let failed = servers.iter().filter(|mounted| mounted.failure().is_some()).count();
    // Port 0 is none that anybody could find.
    let admin = admin.map(Listening::address);
    if io::stderr().is_terminal() {
        // Nobody can be told that stderr is gone.
        let _ = write!(io::stderr(), "{}", Banner { servers, config, base, admin, took });
    }
    let admin = admin.map(|address| address.to_string());
    tracing::info!(url = base, admin, servers = servers.len(), failed, startup_ms, "gateway ready");
}
