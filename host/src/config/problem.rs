//! What is wrong with a gateway.toml, in the words the operator sees.

use std::{fmt, ops::Range, path::PathBuf};

use super::excerpt::{Excerpt, Lines};

/// Nobody reads more, and a file with more is something else than a gateway.toml.
const MOST_SHOWN: usize = 100;

/// One mistake in the text, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The bytes of the text it is about.
    pub span: Range<usize>,
    /// What is wrong, in one line.
    pub message: String,
    /// What to do next; may be empty if `message` says it all.
    pub remedy: String,
}

/// Everything that is wrong with one gateway.toml, in file order. Its `Display` shows each with its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    path: PathBuf,
    text: String,
    list: Vec<Problem>,
    files: Vec<PathBuf>,
}

impl Problems {
    /// `text` is the content of `path`; `files` were read together with it.
    pub(super) fn new(path: PathBuf, text: String, mut list: Vec<Problem>, files: Vec<PathBuf>) -> Self {
        list.sort_by_key(|problem| (problem.span.start, problem.span.end));
        list.dedup();
        Self { path, text, list, files }
    }

    /// How many there are; at least one.
    #[expect(clippy::len_without_is_empty, reason = "there is no empty list of problems")]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Line and column of each, counted from 1, and what is wrong there, in words that quote nothing which might be a secret:
    /// for everybody who may see `/servers`.
    pub fn told_to_all(&self) -> Vec<((usize, usize), String)> {
        /// How messages begin that quote names only.
        const OF_NAMES: [&str; 4] = ["unknown key ", "the name ", "prefix ", "the variable "];
        /// What a line has that may hold one: by the name of its key, from the environment, in a URL.
        const SIGNS: [&str; 6] = ["secret", "token", "password", "key", "${", "@"];
        let lines = Lines::of(&self.text);
        let told = |problem: &Problem| {
            let Excerpt { column, shown, .. } = Excerpt::of(&self.text, &problem.span);
            let shown = shown.to_ascii_lowercase();
            let starts = |words: &&str| problem.message.starts_with(words);
            // What breaks the syntax may stand anywhere.
            let may_quote = starts(&"not valid TOML") || SIGNS.iter().any(|sign| shown.contains(sign));
            let message = if may_quote && !OF_NAMES.iter().any(starts) {
                without_quotes(&problem.message)
            } else {
                problem.message.clone()
            };
            let text = match problem.remedy.as_str() {
                "" => message,
                remedy => format!("{message}; {remedy}"),
            };
            ((lines.line_of(problem.span.start), column), text)
        };
        self.list.iter().map(told).collect()
    }

    /// The files that were read together with the text, or could not be: a change of one may mend it.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// In file order.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.list.iter()
    }
}

/// `text` without what it quotes: all from the first backtick to the last, for what is quoted may have some of its own.
fn without_quotes(text: &str) -> String {
    match (text.find('`'), text.rfind('`')) {
        (Some(first), Some(last)) if first < last => format!("{}`…`{}", &text[..first], &text[last + 1..]),
        _ => text.to_owned(),
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = Lines::of(&self.text);
        for (index, problem) in self.list.iter().take(MOST_SHOWN).enumerate() {
            let line = lines.line_of(problem.span.start);
            let Excerpt { column, shown, blanks, carets } = Excerpt::of(&self.text, &problem.span);
            let separator = if index == 0 { "" } else { "\n\n" };
            let gutter = line.to_string().len();
            let marks = format!("{:blanks$}{:^<carets$} {}", "", "", problem.remedy);
            writeln!(f, "{separator}{}:{line}:{column}: {}", self.path.display(), problem.message)?;
            writeln!(f, "{line} | {}", shown.trim_end())?;
            write!(f, "{:gutter$} | {}", "", marks.trim_end())?;
        }
        match self.list.len().saturating_sub(MOST_SHOWN) {
            0 => Ok(()),
            hidden => write!(f, "\n\nand {hidden} more"),
        }
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use crate::config::{self, Outside};

    #[test]
    fn what_everybody_may_read_quotes_nothing_that_may_be_a_secret() {
        let told = |text: &str| {
            let problems =
                config::parse(text, "gateway.toml".as_ref(), Outside::NOTHING).expect_err("it is wrong");
            problems.told_to_all().into_iter().map(|(_, told)| told).collect::<Vec<_>>().join("\n")
        };
        let check = |text: &str, expected: &str| assert_eq!(told(text), expected, "{text}");
        check(
            "[http]\nstate_secret = hunter2\n",
            "not valid TOML: `…` is not a value; put text in double quotes",
        );
        check(
            "[http]\nstate_secrt = \"hunter2\"\n",
            "unknown key `state_secrt`; did you mean `state_secret`?",
        );
        assert!(!told("[http]\nstate_secret = 4711\n").contains("4711"));
        assert!(!told("[http]\nstate_secret = \"hunter2\"\n").contains("hunter2"));
        assert!(!told("[http]\nstate_secret = \"hunter2\" oops\n").contains("hunter2"));
        assert!(!told("[http]\nstate_secret = hun`ter2\n").contains("ter2"));
        assert!(
            told("listen = \"${PW:-hunter2}\"\n").starts_with("`…` is not an address to listen on; write")
        );
    }
}
