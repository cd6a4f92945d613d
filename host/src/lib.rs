//! `gateway` turns compiled plugins into MCP servers. Its five steps, in order:
//! config → load → mount → serve → unload. A step uses the types of earlier steps, never of later ones.

pub mod config;
pub mod load;
pub mod mount;
pub mod serve;
pub mod unload;

pub mod cli;
pub mod observe;

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use cli::ServeArgs;
use config::{Config, ConfigError};
use load::Loader;
use mount::MountTable;
use observe::Banner;
use serve::{BindError, Gateway, Listening};

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

/// `gateway serve`: all five steps. Returns after an orderly stop.
pub fn run(args: &ServeArgs) -> Result<(), RunError> {
    let began = Instant::now();
    let mut config = config::read(&args.config)?;
    config.listen = args.listen.unwrap_or(config.listen);
    observe::start(&config.log);
    // Before the plugins: a port in use is to cost nothing.
    let listening = Listening::bind(config.listen)?;

    let servers = Loader::new(&config.plugins).load_all(&config.servers);
    let table = MountTable::new(servers);
    let running = table.running();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = match table.required_failure() {
        Some(server) => Err(RunError::Required { server }),
        None => runtime.block_on(serve_until_signal(&config, table, listening, began)),
    };
    unload::unload_all(&running);
    served
}

/// From the first request to the last: a signal refuses new calls and waits for those under way.
async fn serve_until_signal(
    config: &Config,
    table: MountTable,
    listening: Listening,
    began: Instant,
) -> Result<(), RunError> {
    let mut stop = watch_signals()?;
    let running = table.running();
    let gateway = Gateway::new(config.http.clone(), listening.address());
    announce(config, &table, &gateway.base_url(), began.elapsed());
    gateway.install(table);
    let mut serving = listening.serve(&gateway)?;
    tokio::select! {
        _ = stop.changed() => {}
        error = serving.failed() => return Err(error.into()),
    }
    gateway.begin_drain();
    tracing::info!(calls = gateway.calls_open(), drain = ?config.shutdown.drain, "gateway draining");
    let calls = gateway.wait_idle(config.shutdown.drain).await;
    if calls > 0 {
        // Their clients are told, which takes them a moment.
        running.iter().for_each(|instance| instance.close());
        gateway.wait_idle(LAST_BYTES).await;
    }
    gateway.close_sessions().await;
    serving.stop(LAST_BYTES).await?;
    match calls {
        0 => Ok(()),
        calls => Err(RunError::Cut { calls, waited: config.shutdown.drain }),
    }
}

/// Says that everything is up: to a person on a terminal, and to the log.
fn announce(config: &Config, table: &MountTable, base: &str, took: Duration) {
    let startup_ms = took.as_micros() as f64 / 1000.0;
    let failed = table.servers.iter().filter(|mounted| mounted.failure().is_some()).count();
    if io::stderr().is_terminal() {
        // Nobody can be told that stderr is gone.
        let _ = write!(io::stderr(), "{}", Banner { table, config, base, took });
    }
    tracing::info!(url = base, servers = table.servers.len(), failed, startup_ms, "gateway ready");
}

/// The first SIGINT or SIGTERM changes what is returned, the second ends the process, whatever it is doing.
fn watch_signals() -> io::Result<watch::Receiver<()>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let (stop, stopped) = watch::channel(());
    tokio::spawn(async move {
        for so_far in 0.. {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if so_far > 0 {
                tracing::warn!("second signal: gateway ends at once");
                load::leave_at_once(1);
            }
            stop.send_replace(());
        }
    });
    Ok(stopped)
}
