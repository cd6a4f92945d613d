//! Resource templates: families of resources, by a pattern of their URIs.

use std::{future::Future, pin::Pin, sync::Arc};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::{
    Annotations, Completing, Completion, Ctx, Error, Icon, IntoContents, Result,
    complete::Completers,
    content,
    resource::{self, Read},
    texts,
};

/// A family of resources.
///
/// ```
/// # use plugin_api::prelude::*;
/// #[derive(Deserialize)]
/// struct Row {
///     table: String,
///     id: u64,
/// }
///
/// async fn row(_: Ctx, row: Row) -> Result<Contents> {
///     Contents::json(&format!("row {} of {}", row.id, row.table))
/// }
/// let rows = ResourceTemplate::new("db://{table}/{id}", "row", row).mime_type("application/json");
/// ```
///
/// The pattern is RFC 6570's level 1: a `{variable}` is one or more characters other than `/`, given to
/// `function` without its percent-encoding. Fields are strings, or what can be read from one.
#[derive(Clone)]
pub struct ResourceTemplate {
    pub(crate) uri: String,
    pattern: Vec<Part>,
    declaration: Map<String, Value>,
    pub(crate) completers: Completers,
    reader: Reader,
}

type Variables = Vec<(String, String)>;
type Reader = Arc<dyn Fn(Ctx, Variables) -> Pin<Box<dyn Future<Output = Read> + Send>> + Send + Sync>;

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    Variable(String),
}

impl ResourceTemplate {
    /// Resources that `function` reads, given the variables in `uri`. `name`: short, for programs and people.
    pub fn new<P, R, E, F, Fut>(uri: &str, name: &str, function: F) -> Self
    where
        P: DeserializeOwned + Send + 'static,
        R: IntoContents,
        E: Into<Error>,
        F: Fn(Ctx, P) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, E>> + Send + 'static,
    {
        let function = Arc::new(function);
        let reader: Reader = Arc::new(move |ctx, variables| {
            let function = function.clone();
            Box::pin(async move {
                let variables = texts::read(variables)?;
                function(ctx, variables).await.map(R::into_contents).map_err(Into::into)
            })
        });
        let declaration = Map::from_iter([("uriTemplate".into(), uri.into()), ("name".into(), name.into())]);
        let completers = Completers::default();
        Self { uri: uri.into(), pattern: parse(uri), declaration, completers, reader }
    }

    /// A name for people.
    pub fn title(self, title: &str) -> Self {
        self.declare("title", title.into())
    }

    /// What these resources are, for models and people.
    pub fn description(self, description: &str) -> Self {
        self.declare("description", description.into())
    }

    /// What their contents are, e.g. `application/json`, if all are the same.
    pub fn mime_type(self, mime_type: &str) -> Self {
        self.declare("mimeType", mime_type.into())
    }

    /// Hints for the client.
    pub fn annotations(self, annotations: Annotations) -> Self {
        self.declare("annotations", json!(annotations))
    }

    /// Adds an icon.
    pub fn icon(mut self, icon: Icon) -> Self {
        content::add_icon(&mut self.declaration, &icon);
        self
    }

    /// Suggests values for a variable while it is typed: `function` answers with a list, best first.
    pub fn complete<C, E, F, Fut>(mut self, variable: &str, function: F) -> Self
    where
        C: Into<Completion>,
        E: Into<Error>,
        F: Fn(Ctx, Completing) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<C, E>> + Send + 'static,
    {
        self.completers.add(variable, function);
        self
    }

    /// The declaration, as MCP has it.
    pub(crate) fn declaration(&self) -> &Map<String, Value> {
        &self.declaration
    }

    /// The variables of a URI of this family.
    pub(crate) fn matches(&self, uri: &str) -> Option<Variables> {
        let mut variables = Vec::new();
        matched(&self.pattern, uri, &mut variables).then_some(variables)
    }

    /// Reads one of the family: a `ReadResourceResult`.
    pub(crate) async fn read(&self, ctx: Ctx, uri: &str, variables: Variables) -> Result<Value> {
        Ok(resource::result((self.reader)(ctx, variables).await?, uri, &self.declaration))
    }

    fn declare(mut self, member: &str, value: Value) -> Self {
        self.declaration.insert(member.into(), value);
        self
    }
}

/// Braces that do not pair are text.
fn parse(template: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = template;
    while let Some((text, (name, after))) =
        rest.split_once('{').and_then(|(text, rest)| Some((text, rest.split_once('}')?)))
    {
        if !text.is_empty() {
            parts.push(Part::Text(text.into()));
        }
        parts.push(Part::Variable(name.into()));
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.into()));
    }
    parts
}

/// Whether `uri` is of this pattern; its variables then lie in `variables`. A variable ends where the text after it
/// first occurs, the last one where the URI does: linear, whatever a client sends.
fn matched(pattern: &[Part], uri: &str, variables: &mut Variables) -> bool {
    let (name, value, rest, after) = match pattern {
        [] => return uri.is_empty(),
        [Part::Text(text), rest @ ..] => {
            return uri.strip_prefix(text.as_str()).is_some_and(|uri| matched(rest, uri, variables));
        }
        [Part::Variable(name)] => (name, uri, &[][..], ""),
        [Part::Variable(name), Part::Text(text)] => {
            let Some(value) = uri.strip_suffix(text.as_str()) else { return false };
            (name, value, &[][..], "")
        }
        [Part::Variable(name), rest @ ..] => {
            // At least one character; all of it, if two variables stand side by side.
            let Some(first) = uri.chars().next().map(char::len_utf8) else { return false };
            let end = match rest {
                [Part::Text(text), ..] => uri[first..].find(text.as_str()).map(|at| first + at),
                _ => Some(first),
            };
            let Some((value, after)) = end.map(|end| uri.split_at(end)) else { return false };
            (name, value, rest, after)
        }
    };
    let Some(value) = Some(value).filter(|value| !value.is_empty() && !value.contains('/')).and_then(decoded)
    else {
        return false;
    };
    variables.push((name.clone(), value));
    matched(rest, after, variables)
}

/// Without percent-encoding; `None` if it is broken.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
        let (high, low) = (digit()?, digit()?);
        bytes.push((high * 16 + low) as u8);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_is_matched_to_its_variables() {
        let check = |template: &str, uri: &str, expected: Option<&[(&str, &str)]>| {
            let mut variables = Vec::new();
            let found = matched(&parse(template), uri, &mut variables).then_some(variables);
            let expected = expected.map(|expected| {
                expected.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect::<Vec<_>>()
            });
            assert_eq!(found, expected, "{uri} as {template}");
        };
        let data = "test://template/{id}/data";
        check(data, "test://template/123/data", Some(&[("id", "123")]));
        check(data, "test://template/a%20%C3%A9/data", Some(&[("id", "a é")]));
        check(data, "test://template//data", None);
        check(data, "test://template/1/2/data", None);
        check(data, "test://template/1/data/", None);
        check("x:{a}-{b}.txt", "x:1-2-3.txt", Some(&[("a", "1"), ("b", "2-3")]));
        check("x:{a}{b}", "x:é2", Some(&[("a", "é"), ("b", "2")]));
        check("x:{a}-{b}/c", "x:1/2-3/c", None);
        check("x:{a}", "x:%zz", None);
        check("x:{a", "x:{a", Some(&[]));
    }
}
