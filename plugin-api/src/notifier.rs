//! Telling clients of changes, at any time.

use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};

use crate::{Delivery, ctx::Link};

/// Tells clients that something of this server has changed. Cheap to clone; usable on any thread, in calls and
/// outside of them. From [`Plugin::notifier`](crate::Plugin::notifier) or [`Ctx::notifier`](crate::Ctx::notifier).
///
/// Before the plugin serves, what it says is dropped. Only what the plugin declared reaches clients:
/// [`Plugin::resource_updates`](crate::Plugin::resource_updates),
/// [`tool_changes`](crate::Plugin::tool_changes) and its siblings.
#[derive(Clone, Default)]
pub struct Notifier(Arc<OnceLock<Link>>);

impl Notifier {
    pub(crate) fn linked(link: Link) -> Self {
        Self(Arc::new(link.into()))
    }

    /// From here on it reaches the gateway.
    pub(crate) fn connect(&self, link: Link) {
        // A plugin serves once: there is no second link.
        let _ = self.0.set(link);
    }

    /// The contents of a resource have changed. Clients that subscribed to it are told.
    pub fn resource_updated(&self, uri: &str) -> Delivery {
        self.say("notifications/resources/updated", &json!({ "uri": uri }))
    }

    /// The list of resources, or of resource templates, has changed.
    pub fn resources_changed(&self) -> Delivery {
        self.say("notifications/resources/list_changed", &json!({}))
    }

    /// The list of tools has changed.
    pub fn tools_changed(&self) -> Delivery {
        self.say("notifications/tools/list_changed", &json!({}))
    }

    /// The list of prompts has changed.
    pub fn prompts_changed(&self) -> Delivery {
        self.say("notifications/prompts/list_changed", &json!({}))
    }

    fn say(&self, method: &str, params: &Value) -> Delivery {
        self.0.get().map_or(Delivery::Dropped, |link| link.notify(0, method, params))
    }
}
