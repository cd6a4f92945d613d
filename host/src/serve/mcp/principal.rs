//! Who is calling.

use rmcp::{RoleServer, service::RequestContext};

/// Who is calling: what state and tasks are bound to. Nobody is asked yet, so everybody is the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Principal(String);

impl Principal {
    pub(super) fn of(_: &RequestContext<RoleServer>) -> Self {
        Self(String::new())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}
