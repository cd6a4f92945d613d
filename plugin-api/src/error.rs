//! What a tool or a set-up may fail with.

use std::fmt;

/// A tool's ordinary result: what it answers, or why it cannot.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a tool cannot answer, or a plugin cannot start, in words for whoever called it.
///
/// Made from any error by `?`, or from text by [`Error::new`]. Like `anyhow::Error` it is not itself a
/// `std::error::Error`, so that the conversion can be this general.
pub struct Error(String);

impl Error {
    /// An error that says `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
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
        Self(text)
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
}
