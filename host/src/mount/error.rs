//! Why a running server cannot be served.

use crate::config::ServerName;

/// Why a running server cannot be served. Each variant names server and tool; the cause is in `source()`.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The schema of the tool's arguments is larger than this gateway compiles.
    #[error(
        "server `{server}`: the input schema of tool `{tool}` has {bytes} bytes; at most {max} are accepted"
    )]
    SchemaTooLarge {
        /// Which server.
        server: ServerName,
        /// Which tool.
        tool: String,
        /// Its size as compact JSON.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The schema of the tool's arguments is not one, or refers to something outside of it.
    #[error(
        "server `{server}`: the input schema of tool `{tool}` cannot be used; correct it at `{pointer}` (references to other documents are not followed)"
    )]
    BadSchema {
        /// Which server.
        server: ServerName,
        /// Which tool.
        tool: String,
        /// JSON pointer into the schema.
        pointer: String,
        /// What is wrong there.
        source: Box<jsonschema::ValidationError<'static>>,
    },
    /// The schema asks clients to repeat an argument in a header, in a way that makes them drop the tool.
    #[error(
        "server `{server}`: clients would refuse the tool `{tool}`: correct its `x-mcp-header` of {property}: {reason}"
    )]
    BadHeader {
        /// Which server.
        server: ServerName,
        /// Which tool.
        tool: String,
        /// Where it stands.
        property: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl MountError {
    /// The stable word for this kind of failure, e.g. in `/servers`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::SchemaTooLarge { .. } => "schema_too_large",
            Self::BadSchema { .. } | Self::BadHeader { .. } => "bad_schema",
        }
    }
}
