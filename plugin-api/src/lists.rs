//! Lists that are made call by call, because they depend on who asks or on the moment.

use std::{future::Future, pin::Pin, sync::Arc};

use crate::{Ctx, Error, Result};

/// Makes one kind of list for one call.
pub(crate) struct Dynamic<T>(Option<Maker<T>>);

type Maker<T> = Arc<dyn Fn(Ctx) -> Pin<Box<dyn Future<Output = Result<Vec<T>>> + Send>> + Send + Sync>;

impl<T> Default for Dynamic<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: 'static> Dynamic<T> {
    pub(crate) fn set<E, F, Fut>(&mut self, function: F)
    where
        E: Into<Error>,
        F: Fn(Ctx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<T>, E>> + Send + 'static,
    {
        self.0 = Some(Arc::new(move |ctx| {
            let list = function(ctx);
            Box::pin(async move { list.await.map_err(Into::into) })
        }));
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.is_some()
    }

    /// The list for this call; empty if there is none.
    pub(crate) async fn list(&self, ctx: &Ctx) -> Result<Vec<T>> {
        match &self.0 {
            Some(maker) => maker(ctx.clone()).await,
            None => Ok(Vec::new()),
        }
    }
}
