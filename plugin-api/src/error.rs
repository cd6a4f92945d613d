//! What a function of a plugin or its set-up may fail with.

use std::fmt;

use serde::Serialize;
use serde_json::{Value, json};

/// An ordinary result: what a function of a plugin answers, or why it cannot.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// JSON-RPC 2.0 section 5.1.
pub(crate) const METHOD_NOT_FOUND: i32 = -32601;
/// JSON-RPC 2.0 section 5.1.
pub(crate) const INVALID_PARAMS: i32 = -32602;
/// JSON-RPC 2.0 section 5.1.
pub(crate) const INTERNAL_ERROR: i32 = -32603;
/// MCP: the client lacks a capability that the call needs.
pub(crate) const MISSING_CAPABILITY: i32 = -32021;

/// Why a function cannot answer, or a plugin cannot start, in words for whoever called it.
///
/// Made from any error by `?`, or from text by [`Error::new`]. A tool that returns it answers with a result that
/// says `isError`, which a model reads and can act on. [`Error::protocol`] makes one that ends the call as a
/// JSON-RPC error instead. Like `anyhow::Error` it is not itself a `std::error::Error`, so that the conversion
/// can be this general.
pub struct Error {
    text: String,
    protocol: Option<Box<Protocol>>,
}

/// What makes an error one of the protocol.
struct Protocol {
    code: i32,
    data: Option<Value>,
}

impl Error {
    /// An error that says `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), protocol: None }
    }

    /// An error that ends the call as a JSON-RPC error with this code, e.g. -32602. For what is wrong with the
    /// request rather than with what a tool tried: a model does not get to see it.
    pub fn protocol(code: i32, message: impl Into<String>) -> Self {
        Self { text: message.into(), protocol: Some(Box::new(Protocol { code, data: None })) }
    }

    /// A JSON-RPC error -32602: the parameters make no sense.
    pub fn invalid_params(message: impl Into<String>) -> Self {
        Self::protocol(INVALID_PARAMS, message)
    }

    /// There is no resource of this URI: -32602 with the URI in its data, as MCP wants it.
    pub fn resource_not_found(uri: &str) -> Self {
        Self::invalid_params(format!("there is no resource `{uri}`")).data(json!({ "uri": uri }))
    }

    /// Gives a protocol error its `data`, for programs. Makes an ordinary error one of the protocol (-32603).
    pub fn data(mut self, data: impl Serialize) -> Self {
        let protocol =
            self.protocol.get_or_insert_with(|| Box::new(Protocol { code: INTERNAL_ERROR, data: None }));
        protocol.data = serde_json::to_value(data).ok();
        self
    }

    /// The JSON-RPC code, if this is an error of the protocol.
    pub fn code(&self) -> Option<i32> {
        self.protocol.as_ref().map(|protocol| protocol.code)
    }

    /// As the contract has it: `{code, message, data}`.
    pub(crate) fn body(&self) -> Value {
        let (code, data) = self
            .protocol
            .as_ref()
            .map_or((INTERNAL_ERROR, &None), |protocol| (protocol.code, &protocol.data));
        let mut body = json!({ "code": code, "message": self.text });
        if let Some(data) = data {
            body["data"] = data.clone();
        }
        body
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        self.code().map_or(Ok(()), |code| write!(f, " ({code})"))
    }
}

impl<E: std::error::Error> From<E> for Error {
    /// The error and its sources, joined by `: `.
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Outer(std::num::ParseIntError);
    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("cannot read the number")
        }
    }
    impl std::error::Error for Outer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn the_question_mark_keeps_the_whole_chain() {
        fn fails() -> Result<()> {
            "x".parse::<i32>().map_err(Outer)?;
            Ok(())
        }
        let text = fails().expect_err("not a number").to_string();
        assert_eq!(text, "cannot read the number: invalid digit found in string");
    }

    #[test]
    fn a_protocol_error_carries_code_and_data() {
        let error = Error::resource_not_found("test://none");
        assert_eq!(
            error.body(),
            json!({ "code": -32602, "message": "there is no resource `test://none`", "data": { "uri": "test://none" } })
        );
        assert_eq!((Error::new("x").code(), error.code()), (None, Some(-32602)));
    }
}
