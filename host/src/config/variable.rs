//! `${VAR}` and `${VAR:-default}` inside strings; `$${` stands for `${` itself.
//!
//! Works on strings of the parsed tree, never on the text of the file: a variable's value cannot add a key.

/// Why a reference cannot be replaced.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadReference {
    /// The reference as written, from its `${` to its `}` or to the end of the string.
    pub(super) reference: String,
    /// What is wrong.
    pub(super) message: String,
    /// What to do next.
    pub(super) remedy: String,
}

/// `text` with every reference replaced; all that cannot be, in order. As in a shell, `:-` also replaces an empty value.
pub(super) fn replace_variables(
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<String, Vec<BadReference>> {
    let mut replaced = String::with_capacity(text.len());
    let mut bad = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            replaced.push_str(&rest[..at - 1]);
            replaced.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        replaced.push_str(&rest[..at]);
        let reference = &rest[at..];
        let Some(end) = reference.find('}') else {
            bad.push(BadReference {
                reference: reference.to_owned(),
                message: "`${` without its `}`".into(),
                remedy: "close it, or write `$${` for a plain `${`".into(),
            });
            rest = "";
            break;
        };
        rest = &reference[end + 1..];
        match value_of(&reference[2..end], env) {
            Ok(value) => replaced.push_str(&value),
            Err((message, remedy)) => {
                bad.push(BadReference { reference: reference[..=end].to_owned(), message, remedy });
            }
        }
    }
    replaced.push_str(rest);
    if bad.is_empty() { Ok(replaced) } else { Err(bad) }
}

fn value_of(inside: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, (String, String)> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(good) {
        return Err((
            format!("{} is not the name of a variable", super::excerpt::quoted(name)),
            "write `${NAME}` or `${NAME:-default}`; `$${` is a plain `${`".into(),
        ));
    }
    if default.is_some_and(|default| default.contains("${")) {
        return Err((
            format!("the default of `{name}` holds another variable"),
            "a default is plain text; set the variable instead".into(),
        ));
    }
    let unset =
        || (format!("the variable `{name}` is not set"), format!("set it, or write `${{{name}:-default}}`"));
    match (env(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(unset()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, &[&str]>) {
        let env = |name: &str| match name {
            "HOST" => Some("box".to_owned()),
            "EMPTY" => Some(String::new()),
            "TRICKY" => Some("\"\n${HOST}".to_owned()),
            _ => None,
        };
        let found = replace_variables(text, &env)
            .map_err(|bad| bad.into_iter().map(|bad| bad.message).collect::<Vec<_>>());
        assert_eq!(
            found,
            expected.map(str::to_owned).map_err(|e| e.iter().map(|m| (*m).to_owned()).collect())
        );
    }

    #[test]
    fn references_are_replaced_once_and_all_bad_ones_are_named() {
        check("plain $ $$ $HOST {HOST}", Ok("plain $ $$ $HOST {HOST}"));
        check("a${HOST}b${HOST}", Ok("aboxbbox"));
        check("${NONE:-x}${EMPTY:-y}${HOST:-z}${EMPTY}", Ok("xybox"));
        check("$${HOST} $$${HOST}", Ok("${HOST} $${HOST}"));
        check("${TRICKY}", Ok("\"\n${HOST}"));
        check("${NONE:-}", Ok(""));
        check(
            "${A}${1B}${}${C:-${HOST}}${",
            Err(&[
                "the variable `A` is not set",
                "`1B` is not the name of a variable",
                "`` is not the name of a variable",
                "the default of `C` holds another variable",
                "`${` without its `}`",
            ]),
        );
    }
}
