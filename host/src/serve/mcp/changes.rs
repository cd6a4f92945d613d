//! Follows what a plugin says that is about no call: changes of its lists and resources, and of what it offers.
//!
//! In:   the plugin's notices.
//! Out:  changes, published to the door's clients; a new mount, once a new manifest is good.
//! Never: stops serving what was good because of what is not; works on more than the latest of several manifests.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use rmcp::model::ServerCapabilities;
use tokio::sync::mpsc::Receiver;

use super::{handler::Handler, hub::Change, offer::Offer};
use crate::{
    load::{Instance, Manifest, Notice, chain},
    mount::Mount,
    serve::Gateway,
};

/// Least time between two manifests of one plugin: each costs the compiling of its schemas.
const PAUSE: Duration = Duration::from_millis(100);

/// Passes on what `notices` of `instance` bring, until the plugin is gone.
pub(super) async fn follow(
    handler: Handler,
    instance: Arc<Instance>,
    mut notices: Receiver<Notice>,
    gateway: Weak<Gateway>,
) {
    while let Some(notice) = notices.recv().await {
        match notice {
            Notice::Notification { method, params } => publish(&handler, change(&method, &params)),
            Notice::Manifest => {
                if let Some(json) = instance.take_manifest() {
                    remount(&instance, json, &gateway).await;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

fn change(method: &str, params: &serde_json::Value) -> Option<Change> {
    match method {
        "notifications/tools/list_changed" => Some(Change::Tools),
        "notifications/prompts/list_changed" => Some(Change::Prompts),
        "notifications/resources/list_changed" => Some(Change::Resources),
        "notifications/resources/updated" => Some(Change::Resource(params["uri"].as_str()?.to_owned())),
        _ => None,
    }
}

/// Tells clients, if the server has declared that it would.
fn publish(handler: &Handler, change: Option<Change>) {
    if let Some(change) = change.filter(|change| is_declared(handler.offer().capabilities(), change)) {
        handler.hub().publish(&change);
    }
}

/// Tells clients what differs between `old` and what is offered now, if either has declared that it would.
pub(super) fn publish_differences(handler: &Handler, old: &Offer) -> Vec<Change> {
    let new = handler.offer();
    let differing = differing(&old.mount.manifest, &new.mount.manifest);
    let declared =
        |change: &&Change| is_declared(old.capabilities(), change) || is_declared(new.capabilities(), change);
    differing.iter().filter(declared).for_each(|change| handler.hub().publish(change));
    differing
}

/// Tells clients that each list may be another one for them.
pub(super) fn publish_all(handler: &Handler) {
    for change in [Change::Tools, Change::Prompts, Change::Resources] {
        publish(handler, Some(change));
    }
}

fn is_declared(offered: &ServerCapabilities, change: &Change) -> bool {
    let declared = match change {
        Change::Tools => offered.tools.as_ref().and_then(|tools| tools.list_changed),
        Change::Prompts => offered.prompts.as_ref().and_then(|prompts| prompts.list_changed),
        Change::Resources => offered.resources.as_ref().and_then(|resources| resources.list_changed),
        Change::Resource(_) => offered.resources.as_ref().and_then(|resources| resources.subscribe),
    };
    declared == Some(true)
}

/// Serves a new manifest in the place of the old one.
async fn remount(instance: &Arc<Instance>, json: Vec<u8>, gateway: &Weak<Gateway>) {
    let server = instance.entry().name.clone();
    let compiled = tokio::task::spawn_blocking({
        let instance = instance.clone();
        move || {
            let manifest = Manifest::parse(&json).map_err(|error| chain(&error))?;
            Mount::of(instance, Arc::new(manifest)).map_err(|error| chain(&error))
        }
    });
    let mount = match compiled.await {
        Ok(Ok(mount)) => Arc::new(mount),
        Ok(Err(reason)) => {
            tracing::warn!(server = server.as_str(), reason, "new manifest refused, the old one stays");
            return;
        }
        // The gateway is stopping.
        Err(_) => return,
    };
    if let Some(gateway) = gateway.upgrade() {
        gateway.replace(&mount);
    }
}

fn differing(old: &Manifest, new: &Manifest) -> Vec<Change> {
    let tools = |manifest: &Manifest| manifest.tools.iter().map(|tool| tool.wire.clone()).collect::<Vec<_>>();
    let is_dynamic = |list: &str| old.is_dynamic(list) != new.is_dynamic(list);
    let changes = [
        (tools(old) != tools(new) || is_dynamic("tools/list"), Change::Tools),
        (old.prompts != new.prompts || is_dynamic("prompts/list"), Change::Prompts),
        (
            old.resources != new.resources
                || old.resource_templates != new.resource_templates
                || is_dynamic("resources/list")
                || is_dynamic("resources/templates/list"),
            Change::Resources,
        ),
    ];
    changes.into_iter().filter_map(|(differs, change)| differs.then_some(change)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_differs_between_two_manifests_is_named() {
        let manifest = |members: serde_json::Value| {
            let mut whole = json!({ "name": "p", "version": "1" });
            whole
                .as_object_mut()
                .expect("an object")
                .extend(members.as_object().cloned().expect("an object"));
            Manifest::parse(whole.to_string().as_bytes()).expect("the test's own manifest")
        };
        let empty = manifest(json!({}));
        let tool = manifest(json!({ "tools": [{ "name": "t", "inputSchema": { "type": "object" } }] }));
        let more = manifest(json!({ "prompts": [{ "name": "p" }], "dynamic": ["resources/list"] }));
        assert_eq!(differing(&empty, &empty), []);
        assert_eq!(differing(&empty, &tool), [Change::Tools]);
        assert_eq!(differing(&tool, &more), [Change::Tools, Change::Prompts, Change::Resources]);
    }

    #[test]
    fn only_what_clients_can_use_is_a_change() {
        let changed = |method: &str, params| change(&format!("notifications/{method}"), &params);
        assert_eq!(changed("tools/list_changed", json!({})), Some(Change::Tools));
        assert_eq!(changed("resources/updated", json!({ "uri": "a" })), Some(Change::Resource("a".into())));
        assert_eq!(changed("resources/updated", json!({ "uri": 5 })), None);
        assert_eq!(changed("roots/list_changed", json!({})), None);
        let offered: ServerCapabilities =
            serde_json::from_value(json!({ "tools": {}, "resources": { "subscribe": true } })).expect("fits");
        assert!(is_declared(&offered, &Change::Resource("a".into())));
        assert!(!is_declared(&offered, &Change::Tools) && !is_declared(&offered, &Change::Resources));
    }
}
