//! Why a server does not serve, in words fit for everybody who may see `/servers`.

use std::time::{Duration, Instant};

use crate::load::{Instance, chain};

/// Why a server does not serve, in words fit for everybody who may see `/servers`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The stable word for this kind of failure.
    pub code: &'static str,
    /// The whole chain of causes, on one line.
    pub reason: String,
    /// When a call is let through to see whether it serves again; `None`: it will not by itself.
    pub retry_in: Option<Duration>,
}

impl Failure {
    pub(super) fn new(code: &'static str, error: &dyn std::error::Error) -> Self {
        Self { code, reason: chain(error), retry_in: None }
    }

    /// Why a server that was mounted serves no more, or not now.
    pub(super) fn of(instance: &Instance) -> Option<Self> {
        if instance.ended_by_itself() {
            let reason = "the plugin ended by itself; the log says why".into();
            return Some(Self { code: "ended", reason, retry_in: None });
        }
        let quarantined = instance.health().quarantined(Instant::now())?;
        let when = match quarantined.retry_in {
            Duration::ZERO => "now".into(),
            _ => format!("in {}s", quarantined.retry_in_seconds()),
        };
        let reason = format!("{quarantined}; a call is let through as a retry {when}");
        Some(Self { code: "quarantined", reason, retry_in: Some(quarantined.retry_in) })
    }

    /// The `state` of such a server in `/servers`.
    pub fn state(&self) -> &'static str {
        if self.retry_in.is_some() { "quarantined" } else { "failed" }
    }
}
