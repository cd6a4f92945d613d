//! What makes an rmcp server: the kinds of function its author may already have.

use std::future::Future;

use rmcp::{RoleServer, Service};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::{NoSettings, Result};

/// A function that makes an rmcp server. `Shape` tells the kinds of functions apart and is always inferred.
pub trait Setup<Shape>: Send + 'static {
    /// What `[server.settings]` holds.
    type Settings: DeserializeOwned + JsonSchema + Send + 'static;
    /// The server.
    type Server: Service<RoleServer>;

    /// Makes it, inside the plugin's runtime.
    ///
    /// # Errors
    /// Whatever keeps it from being made: the reason why the gateway's server does not start.
    fn make(self, settings: Self::Settings) -> impl Future<Output = Result<Self::Server>> + Send;
}

impl<F, H> Setup<fn() -> H> for F
where
    F: FnOnce() -> H + Send + 'static,
    H: Service<RoleServer>,
{
    type Settings = NoSettings;
    type Server = H;

    async fn make(self, _: NoSettings) -> Result<H> {
        Ok(self())
    }
}

impl<F, S, H> Setup<fn(S) -> Result<H>> for F
where
    F: FnOnce(S) -> Result<H> + Send + 'static,
    S: DeserializeOwned + JsonSchema + Send + 'static,
    H: Service<RoleServer>,
{
    type Settings = S;
    type Server = H;

    async fn make(self, settings: S) -> Result<H> {
        self(settings)
    }
}

impl<F, S, Fut, H> Setup<fn(S) -> (Fut, H)> for F
where
    F: FnOnce(S) -> Fut + Send + 'static,
    S: DeserializeOwned + JsonSchema + Send + 'static,
    Fut: Future<Output = Result<H>> + Send,
    H: Service<RoleServer>,
{
    type Settings = S;
    type Server = H;

    async fn make(self, settings: S) -> Result<H> {
        self(settings).await
    }
}
