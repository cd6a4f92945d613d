//! A tool: a function with a name, a schema and hints.

use std::{future::Future, pin::Pin, sync::Arc};

use abi_stable::std_types::RVec;
use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

pub(crate) use crate::error::INTERNAL_ERROR;
use crate::{Ctx, Error, Icon, IntoReply, abi, content, reply, schema};

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
#[derive(Clone)]
pub struct Tool {
    pub(crate) name: String,
    declaration: Map<String, Value>,
    /// `required` or `optional`, if it goes on as a task.
    pub(crate) task: Option<&'static str>,
    pub(crate) handler: Handler,
}

/// The arguments of a tool or prompt that has none.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub struct NoArgs {}

/// Status and bytes of a reply, see [`abi::HostTable::reply`].
pub(crate) type Answer = (u32, RVec<u8>);
/// From a call's arguments and its reply buffer to its reply.
pub(crate) type Handler =
    Arc<dyn Fn(Ctx, &str, RVec<u8>) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync>;

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
        declaration.extend(output_schema.map(|schema| ("outputSchema".into(), schema.into())));
        let function = Arc::new(function);
        let handler: Handler = Arc::new(move |ctx, arguments, mut out| {
            let (function, arguments) = (function.clone(), serde_json::from_str::<A>(arguments));
            Box::pin(async move {
                let arguments = match arguments {
                    Ok(arguments) => arguments,
                    Err(error) => return failed(&Error::invalid_params(error.to_string()), out),
                };
                let written = match function(ctx, arguments).await.map_err(Into::into) {
                    Ok(reply) => reply.write(shape, &mut out),
                    Err(error) if error.code().is_some() => return failed(&error, out),
                    Err(error) => reply::write_error(&error.to_string(), &mut out),
                };
                match written {
                    Ok(()) => (abi::RESULT, out),
                    Err(error) => {
                        fault(abi::ERROR, INTERNAL_ERROR, &format!("cannot write the result: {error}"), out)
                    }
                }
            })
        });
        Self { name: name.into(), declaration, task: None, handler }
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

    /// The schema of what it answers with [`Reply::structured`](crate::Reply::structured). Tools that return a
    /// plain value have theirs already.
    pub fn output_schema<T: JsonSchema>(self) -> Self {
        self.declare("outputSchema", schema::of_output::<T>().into())
    }

    /// Adds an icon.
    pub fn icon(mut self, icon: Icon) -> Self {
        content::add_icon(&mut self.declaration, &icon);
        self
    }

    /// Adds a member to its `_meta`; `key` is best prefixed with a domain of the author's.
    pub fn meta(mut self, key: &str, value: impl Into<Value>) -> Self {
        content::add_meta(&mut self.declaration, key, value.into());
        self
    }

    /// It may go on in the background ([`Ctx::into_task`]), if the client can wait for that.
    pub fn task_optional(mut self) -> Self {
        self.task = Some("optional");
        self
    }

    /// It goes on in the background; clients that know no tasks are refused before it runs.
    pub fn task_required(mut self) -> Self {
        self.task = Some("required");
        self
    }

    /// The schema of its arguments, in the author's own words: for what no Rust type can say. The arguments are
    /// still read as the function's type.
    pub fn input_schema(self, schema: Map<String, Value>) -> Self {
        self.declare("inputSchema", schema.into())
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

/// A reply that is an error of the protocol rather than of the tool.
pub(crate) fn fault(status: u32, code: i32, message: &str, out: RVec<u8>) -> Answer {
    (status, failed(&Error::protocol(code, message), out).1)
}

/// The reply of a call that failed with this error.
pub(crate) fn failed(error: &Error, mut out: RVec<u8>) -> Answer {
    out.clear();
    // Memory of the host: writing cannot fail.
    let _ = serde_json::to_writer(&mut out, &error.body());
    (abi::ERROR, out)
}
