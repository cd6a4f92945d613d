//! The gateway that other people's programs are run against: built as `cargo xtask build` builds it, on the
//! gateway.toml of the folder it is started in, with the plugins beside that.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    time::{Duration, Instant},
};

use crate::{
    artifacts::{Profile, build_and_install},
    cargo::Workspace,
    failure::{Failure, Result, cannot_start, succeed},
};

/// Under valgrind everything takes fifty times as long.
const START_LIMIT: Duration = Duration::from_secs(120);
const STOP_LIMIT: Duration = Duration::from_secs(40);

/// A gateway that runs until `stop`, or until this is dropped.
#[derive(Debug)]
pub(crate) struct Gateway {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Gateway {
    /// Builds it and starts it on `gateway.toml`; returns when it says that it is ready.
    pub(crate) fn start(workspace: &Workspace, folder: &Path) -> Result<Self> {
        Self::start_on(workspace, folder, "gateway.toml", &[])
    }

    /// As [`Gateway::start`], on another file in `folder`, which may use these variables and `GATEWAY_ADDRESS`.
    pub(crate) fn start_on(
        workspace: &Workspace,
        folder: &Path,
        config: &str,
        variables: &[(&str, &str)],
    ) -> Result<Self> {
        let program = build_and_install(workspace, Profile::Dev, &folder.join("plugins"))?;
        let log = folder.join(config).with_extension("log");
        Self::start_by(Command::new(program), folder, config, variables, log)
    }

    /// Starts the one that `command` runs if it is given further arguments, as [`Gateway::start_on`].
    pub(crate) fn start_by(
        mut command: Command,
        folder: &Path,
        config: &str,
        variables: &[(&str, &str)],
        log: PathBuf,
    ) -> Result<Self> {
        let address = free_address()?;
        let log_file = File::create(&log).map_err(|e| Failure::at("cannot create", &log, e))?;
        let log_file_2 = log_file.try_clone().map_err(|e| Failure::at("cannot share", &log, e))?;
        command
            .current_dir(folder)
            .args(["serve", "--config", config, "--listen", &address.to_string()])
            .env("GATEWAY_ADDRESS", address.to_string())
            .envs(variables.iter().copied())
            .stdin(std::process::Stdio::null())
            .stdout(log_file)
            .stderr(log_file_2);
        let child = command.spawn().map_err(|e| cannot_start(&command, e))?;
        let mut gateway = Self { child, address, log };
        gateway.wait_until_ready()?;
        Ok(gateway)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        while Instant::now() < deadline {
            if let Some(status) = self.ended() {
                return Err(self.failure(&format!("ended while starting ({status})")));
            }
            // It listens before it answers, so that one question is enough.
            if status_line(self.address, START_LIMIT).is_ok_and(|line| line.contains(" 200")) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(self.failure(&format!("was not ready after {START_LIMIT:?}")))
    }

    /// Asks it to end, as a service manager would, and checks that it does so with exit code 0.
    pub(crate) fn stop(mut self) -> Result<()> {
        succeed(Command::new("kill").args(["-TERM", &self.child.id().to_string()]))?;
        let deadline = Instant::now() + STOP_LIMIT;
        while Instant::now() < deadline {
            match self.ended() {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(self.failure(&format!("ended badly ({status})"))),
                None => std::thread::sleep(Duration::from_millis(50)),
            }
        }
        Err(self.failure(&format!("still ran {STOP_LIMIT:?} after SIGTERM")))
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    fn failure(&self, what: &str) -> Failure {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let last = log.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it is empty").to_owned();
        Failure::Work(format!("the gateway {what}; the last line of `{}`: {last}", self.log.display()))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // After `stop` it has ended and these do nothing; on the way out of an error nothing may stay behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address that nobody listens on now. The gateway could pick one itself, but then its log would have to be read.
fn free_address() -> Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map_err(|e| Failure::Work(format!("cannot find a free port: {e}")))
}

/// The first line of the answer to `GET /readyz`.
fn status_line(address: SocketAddr, limit: Duration) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    write!(stream, "GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}
