//! Which series a PromQL expression asks for: enough of the language to tell names from all else.
//!
//! In:   an expression that promtool takes; also a line of an exposition, which looks like one.
//! Out:  the metrics in it, each with the labels that are matched, and the labels that results are grouped or joined by.

/// A metric that is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Selector<'a> {
    pub(super) metric: &'a str,
    pub(super) labels: Vec<&'a str>,
}

/// What is in an expression.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Asked<'a> {
    pub(super) selectors: Vec<Selector<'a>>,
    pub(super) grouped: Vec<&'a str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    /// A name or a keyword.
    Word(&'a str),
    /// A string, a number or a range.
    Value,
    Sign(char),
}

/// What is followed by labels in parentheses; the last two may do without.
const BEFORE_LABELS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
const KEYWORDS: [&str; 8] = ["and", "or", "unless", "atan2", "offset", "bool", "inf", "nan"];

impl<'a> Asked<'a> {
    pub(super) fn parse(expression: &'a str) -> Self {
        let tokens = tokens(expression);
        let mut asked = Self::default();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at += 1;
            let next = tokens.get(at).copied();
            match *token {
                Token::Word(word) if BEFORE_LABELS.contains(&word) && next == Some(Token::Sign('(')) => {
                    let (labels, end) = words_until(&tokens, at + 1, ')');
                    asked.grouped.extend(labels);
                    at = end;
                }
                Token::Word(word) if !is_function(word, next) => {
                    let mut labels = Vec::new();
                    if next == Some(Token::Sign('{')) {
                        (labels, at) = words_until(&tokens, at + 1, '}');
                    }
                    asked.selectors.push(Selector { metric: word, labels });
                }
                // Series without a name: nobody can tell whether there are any.
                Token::Sign('{') => asked.selectors.push(Selector { metric: "{", labels: Vec::new() }),
                _ => {}
            }
        }
        asked
    }
}

/// A function or an aggregation, which may have its labels before its argument; or a keyword.
fn is_function(word: &str, next: Option<Token<'_>>) -> bool {
    matches!(next, Some(Token::Sign('(') | Token::Word("by" | "without")))
        || BEFORE_LABELS.contains(&word)
        || KEYWORDS.contains(&word.to_ascii_lowercase().as_str())
}

/// The words up to `end`, and where it goes on behind that.
fn words_until<'a>(tokens: &[Token<'a>], from: usize, end: char) -> (Vec<&'a str>, usize) {
    let length = tokens[from..].iter().position(|token| *token == Token::Sign(end));
    let end = from + length.unwrap_or(tokens.len() - from);
    let word = |token: &Token<'a>| match token {
        Token::Word(word) => Some(*word),
        _ => None,
    };
    (tokens[from..end].iter().filter_map(word).collect(), end + 1)
}

fn tokens(mut rest: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '#' => (None, rest.find('\n').unwrap_or(rest.len())),
            // A range: durations, with a colon between them in a subquery.
            '[' => (Some(Token::Value), rest.find(']').map_or(rest.len(), |end| end + 1)),
            '"' | '\'' | '`' => (Some(Token::Value), string_length(rest, first)),
            '0'..='9' => {
                let is_part = |c: char| c.is_ascii_alphanumeric() || c == '.';
                (Some(Token::Value), rest.find(|c| !is_part(c)).unwrap_or(rest.len()))
            }
            'a'..='z' | 'A'..='Z' | '_' | ':' => {
                let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
                let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
                (Some(Token::Word(&rest[..length])), length)
            }
            sign => ((!sign.is_whitespace()).then_some(Token::Sign(sign)), sign.len_utf8()),
        };
        tokens.extend(token);
        rest = &rest[length..];
    }
    tokens
}

/// How long the string at the beginning of `text` is, with its quotes.
fn string_length(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if quote != '`' => is_escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expression: &str, selectors: &[(&str, &[&str])], grouped: &[&str]) {
        let asked = Asked::parse(expression);
        let found: Vec<_> = asked.selectors.iter().map(|one| (one.metric, one.labels.as_slice())).collect();
        assert_eq!(found, selectors, "{expression}");
        assert_eq!(asked.grouped, grouped, "{expression}");
    }

    #[test]
    fn metrics_are_told_from_functions_keywords_and_labels() {
        check("up", &[("up", &[])], &[]);
        check(r#"a{x="1",y!~"b{c}\""}[5m] offset 1h > bool 1e-9"#, &[("a", &["x", "y"])], &[]);
        check(
            "histogram_quantile(0.99, sum by (le, tool) (rate(t_bucket[1h:5m])))",
            &[("t_bucket", &[])],
            &["le", "tool"],
        );
        check("sum(a) without (x) and b unless inf # c", &[("a", &[]), ("b", &[])], &["x"]);
        check("a * on (x) group_left (y) b or vector(0)", &[("a", &[]), ("b", &[])], &["x", "y"]);
        check("a * on (x) group_left b", &[("a", &[]), ("b", &[])], &["x"]);
        check("{x='1'}", &[("{", &[]), ("x", &[])], &[]);
    }

    #[test]
    fn a_line_of_an_exposition_is_a_selector_with_a_value() {
        check(r#"a_bucket{server="s",le="+Inf"} 3"#, &[("a_bucket", &["server", "le"])], &[]);
        check("a 0.5", &[("a", &[])], &[]);
    }
}
