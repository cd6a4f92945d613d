//! What the integration tests stand on.

mod authorization_server;
mod child;
pub mod collector;
mod folder;
mod gateway;
mod keys;
mod proxy;

pub mod loaded;
pub mod process;
pub mod tls;
pub mod traffic;

pub use authorization_server::AuthorizationServer;
pub use child::in_child;
pub use collector::Collector;
pub use folder::{Folder, built};
pub use gateway::{Answer, Gateway, Mark, command, command_of, config, server, until};
pub use keys::{Key, admin_key, key, open_to_all};
pub use proxy::Proxy;

use host::{config::Plugins, load::Loader};

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

/// The loader of this process, as the gateway has one: here the program that tries files out is not this one.
pub fn loader() -> &'static Loader {
    static LOADER: OnceLock<Loader> = OnceLock::new();
    LOADER.get_or_init(|| Loader::with_program(artifacts().join("gateway"), &Plugins::default()))
}

/// The folder that holds every plugin and fixture as `<package>.so`, and the gateway as `gateway`.
///
/// `cargo xtask test` builds it and says where it is in `GATEWAY_TEST_ARTIFACTS`. Under a bare `cargo test` nobody
/// did, so the first caller in a process has it built. That cannot deadlock: cargo gives up its lock on the target
/// folder before it starts a test.
pub fn artifacts() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        std::env::var_os("GATEWAY_TEST_ARTIFACTS").map_or_else(built_artifacts, PathBuf::from)
    })
}

/// Only cargo knows where the target folder is, and xtask asks it: the folder is its last line.
fn built_artifacts() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["run", "--quiet", "--locked", "--package", "xtask", "--", "artifacts"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo can be started: it started this test");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let folder = stdout.lines().last().filter(|_| output.status.success());
    folder.map(PathBuf::from).expect("`cargo xtask artifacts` builds (its errors are above)")
}
