//! A tool: a function with a name, a schema and hints.

use std::{future::Future, pin::Pin, sync::Arc};

use abi_stable::std_types::RVec;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, value::RawValue};

use crate::{Ctx, Error, IntoReply, abi, reply, schema};

/// One tool of a plugin.
///
/// ```
/// # use plugin_api::prelude::*;
/// # #[derive(Deserialize, JsonSchema)] struct Args { a: f64, b: f64 }
/// async fn add(_: Ctx, args: Args) -> Result<f64> {
///     Ok(args.a + args.b)
/// }
/// let tool = Tool::new("add", "Adds two numbers.", add).title("Add").read_only().idempotent();
/// ```
pub struct Tool {
    pub(crate) name: String,
    declaration: Map<String, Value>,
    pub(crate) handler: Handler,
}

/// Status and bytes of a reply, see [`abi::HostTable::reply`].
pub(crate) type Answer = (u32, RVec<u8>);
/// From a call's arguments and its reply buffer to its reply.
pub(crate) type Handler =
    Arc<dyn Fn(Ctx, &RawValue, RVec<u8>) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync>;

impl Tool {
    /// A tool that runs `function`. `name`: 1 to 128 letters, digits, `_`, `-` or `.`, unique within the plugin.
    /// `description` is what a model reads when it chooses a tool.
    pub fn new<A, R, E, F, Fut>(name: &str, description: &str, function: F) -> Self
    where
        A: DeserializeOwned + JsonSchema + Send + 'static,
        R: IntoReply + 'static,
        E: Into<Error> + 'static,
        F: Fn(Ctx, A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, E>> + Send + 'static,
    {
        let mut declaration = Map::new();
        declaration.insert("name".into(), name.into());
        declaration.insert("description".into(), description.into());
        declaration.insert("inputSchema".into(), schema::of_input::<A>().into());
        let (output_schema, shape) = R::output_schema();
        declaration.insert("outputSchema".into(), output_schema.into());
        let function = Arc::new(function);
        let handler: Handler = Arc::new(move |ctx, arguments, mut out| {
            let (function, arguments) = (function.clone(), serde_json::from_str::<A>(arguments.get()));
            Box::pin(async move {
                let arguments = match arguments {
                    Ok(arguments) => arguments,
                    Err(error) => return fault(abi::ERROR, INVALID_PARAMS, &error.to_string(), out),
                };
                let written = match function(ctx, arguments).await {
                    Ok(reply) => reply.write(shape, &mut out),
                    Err(error) => reply::write_error(&error.into().to_string(), &mut out),
                };
                match written {
                    Ok(()) => (abi::RESULT, out),
                    Err(error) => {
                        fault(abi::ERROR, INTERNAL_ERROR, &format!("cannot write the result: {error}"), out)
                    }
                }
            })
        });
        Self { name: name.into(), declaration, handler }
    }

    /// A name for people.
    pub fn title(self, title: &str) -> Self {
        self.declare("title", title.into())
    }

    /// Hint: it changes nothing.
    pub fn read_only(self) -> Self {
        self.hint("readOnlyHint", true)
    }

    /// Hint: it may destroy something, so that a client asks its user first.
    pub fn destructive(self) -> Self {
        self.hint("destructiveHint", true)
    }

    /// Hint: the same call twice does no more than once.
    pub fn idempotent(self) -> Self {
        self.hint("idempotentHint", true)
    }

    /// Hint: it touches nothing outside the gateway's machine.
    pub fn closed_world(self) -> Self {
        self.hint("openWorldHint", false)
    }

    /// The declaration, as MCP has it.
    pub(crate) fn declaration(&self) -> &Map<String, Value> {
        &self.declaration
    }

    fn hint(mut self, name: &str, value: bool) -> Self {
        let hints = self.declaration.entry("annotations").or_insert_with(|| Map::new().into());
        hints[name] = value.into();
        self
    }

    fn declare(mut self, member: &str, value: Value) -> Self {
        self.declaration.insert(member.into(), value);
        self
    }
}

/// JSON-RPC 2.0 section 5.1.
pub(crate) const METHOD_NOT_FOUND: i32 = -32601;
/// JSON-RPC 2.0 section 5.1.
pub(crate) const INVALID_PARAMS: i32 = -32602;
/// JSON-RPC 2.0 section 5.1.
pub(crate) const INTERNAL_ERROR: i32 = -32603;

/// A reply that is an error of the protocol rather than of the tool.
pub(crate) fn fault(status: u32, code: i32, message: &str, mut out: RVec<u8>) -> Answer {
    out.clear();
    let body = serde_json::json!({ "code": code, "message": message });
    // Memory of the host: writing cannot fail.
    let _ = serde_json::to_writer(&mut out, &body);
    (status, out)
}
