//! Completion: what an argument of a prompt or a variable of a resource template may be, while it is typed.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    pin::Pin,
    sync::Arc,
};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Ctx, Error, Result};

/// The most suggestions MCP allows in one answer.
const VALUES_MAX: usize = 100;

/// What has been typed so far.
#[derive(Debug, Clone, Default)]
pub struct Completing {
    /// The beginning of the argument in question; may be empty.
    pub value: String,
    /// The arguments that have been chosen already.
    pub chosen: BTreeMap<String, String>,
}

/// Suggestions, best first. Made from a list by `From`, which cuts it at the hundred that MCP allows.
#[derive(Debug, Clone, Default)]
pub struct Completion {
    values: Vec<String>,
    total: Option<u64>,
}

impl Completion {
    /// How many there are in all, if these are only some of them.
    pub fn total(mut self, total: u64) -> Self {
        self.total = Some(total);
        self
    }
}

impl<T: Into<String>> From<Vec<T>> for Completion {
    fn from(values: Vec<T>) -> Self {
        let total = Some(values.len() as u64).filter(|_| values.len() > VALUES_MAX);
        Self { values: values.into_iter().take(VALUES_MAX).map(Into::into).collect(), total }
    }
}

/// Completes one argument.
type Completer =
    Arc<dyn Fn(Ctx, Completing) -> Pin<Box<dyn Future<Output = Result<Completion>> + Send>> + Send + Sync>;

/// The completers of one prompt or template, by argument.
#[derive(Clone, Default)]
pub(crate) struct Completers(HashMap<String, Completer>);

impl Completers {
    pub(crate) fn add<C, E, F, Fut>(&mut self, argument: &str, function: F)
    where
        C: Into<Completion>,
        E: Into<Error>,
        F: Fn(Ctx, Completing) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<C, E>> + Send + 'static,
    {
        let completer: Completer = Arc::new(move |ctx, completing| {
            let completed = function(ctx, completing);
            Box::pin(async move { completed.await.map(Into::into).map_err(Into::into) })
        });
        self.0.insert(argument.into(), completer);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A `CompleteResult`. An argument nobody completes has no suggestions.
    pub(crate) async fn complete(&self, ctx: Ctx, asked: Asked) -> Result<Value> {
        let Completion { values, total } = match self.0.get(&asked.argument.name) {
            Some(completer) => {
                let chosen = asked.context.arguments;
                completer(ctx, Completing { value: asked.argument.value, chosen }).await?
            }
            None => Completion::default(),
        };
        let more = total.is_some_and(|total| total > values.len() as u64);
        let mut completion = json!({ "values": values, "hasMore": more });
        if let Some(total) = total {
            completion["total"] = total.into();
        }
        Ok(json!({ "completion": completion }))
    }
}

/// Parameters of `completion/complete`.
#[derive(Deserialize)]
pub(crate) struct Asked {
    #[serde(rename = "ref")]
    pub(crate) of: Reference,
    argument: Argument,
    #[serde(default)]
    context: Context,
}

/// What an argument belongs to.
#[derive(Deserialize)]
#[serde(tag = "type")]
pub(crate) enum Reference {
    #[serde(rename = "ref/prompt")]
    Prompt { name: String },
    #[serde(rename = "ref/resource")]
    Resource { uri: String },
}

#[derive(Deserialize)]
struct Argument {
    name: String,
    value: String,
}

#[derive(Deserialize, Default)]
struct Context {
    #[serde(default)]
    arguments: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_cut_and_counted() {
        let all: Vec<String> = (0..150).map(|n| n.to_string()).collect();
        let completion = Completion::from(all);
        assert_eq!((completion.values.len(), completion.total), (100, Some(150)));
        assert_eq!(Completion::from(vec!["a"]).total, None);
    }
}
