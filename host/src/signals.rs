//! The signals that a gateway takes.

use std::{fs::File, io, sync::Arc};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

use crate::{
    load,
    serve::{Gateway, Phase, Trigger},
};

/// The signals that a gateway takes, from the moment on at which this is made.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    /// Whether somebody started it at a terminal.
    at_terminal: bool,
}

impl Signals {
    /// In a runtime.
    pub(super) fn watch() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            at_terminal: has_terminal(),
        })
    }

    /// The first SIGINT or SIGTERM changes what is returned, the second ends the process, whatever it is doing; while the
    /// gateway starts, there is nothing yet that could be ended in good order, and the first does. SIGHUP asks for a reload,
    /// unless it says that the terminal is gone. In a runtime.
    pub(super) fn follow(mut self, gateway: &Arc<Gateway>) -> watch::Receiver<()> {
        let (stop, stopped) = watch::channel(());
        let gateway = gateway.clone();
        tokio::spawn(async move {
            let mut is_stopping = false;
            loop {
                if self.next_is_hang_up().await {
                    // Whoever moves log files away says so by this signal.
                    gateway.settings().audit.reopen();
                    // What comes of it is in the log. A gateway that starts reads all there is anyway.
                    drop(gateway.reloads().ask(Trigger::Signal));
                } else if gateway.phase() == Phase::Starting {
                    tracing::warn!("signal while starting: gateway ends at once");
                    load::leave_at_once(1);
                } else if std::mem::replace(&mut is_stopping, true) {
                    tracing::warn!("second signal: gateway ends at once");
                    load::leave_at_once(1);
                } else {
                    stop.send_replace(());
                }
            }
        });
        stopped
    }

    /// Waits for a signal; whether it asks for a reload, and not for the end.
    async fn next_is_hang_up(&mut self) -> bool {
        tokio::select! {
            _ = self.interrupt.recv() => false,
            _ = self.terminate.recv() => false,
            _ = self.hang_up.recv() => !self.at_terminal || has_terminal(),
        }
    }
}

/// Whether this process has a terminal, wherever its output goes: after the terminal has hung up it has none.
fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}
