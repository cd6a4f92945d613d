//! Resources: fixed, watched, and by template.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use plugin_api::prelude::*;
use serde_json::json;

use crate::content::PNG;

/// Variables of the template.
#[derive(Deserialize)]
struct Data {
    id: String,
}

async fn data(_: Ctx, Data { id }: Data) -> Result<Contents> {
    Contents::json(&json!({ "id": id, "templateTest": true, "data": format!("Data for ID: {id}") }))
}

async fn ids(_: Ctx, typed: Completing) -> Result<Vec<String>> {
    Ok((1..=3).map(|last| format!("{}{last}", typed.value)).collect())
}

async fn watched(_: Ctx) -> Result<&'static str> {
    Ok("This resource is watched.")
}

pub(crate) fn add(plugin: Plugin) -> Plugin {
    let text = Contents::text("This is the content of the static text resource.");
    let text = Resource::fixed("test://static-text", "static-text", text).title("Text");
    let binary = Contents::blob(PNG).mime_type("image/png");
    let binary = Resource::fixed("test://static-binary", "static-binary", binary).size(PNG.len() as u64);
    let watched = Resource::new("test://watched-resource", "watched-resource", watched)
        .mime_type("text/plain")
        .annotations(Annotations::new().audience(Role::Assistant).priority(0.5));
    let data = ResourceTemplate::new("test://template/{id}/data", "template-data", data);

    // Who watches what is itself a resource, so that a client can see its subscription arrive.
    let subscribed = Subscribed::default();
    let (added, removed, listed) = (subscribed.clone(), subscribed.clone(), subscribed);
    let subscriptions = Resource::new("test://subscriptions", "subscriptions", move |_| {
        let all = listed.with(|uris| uris.iter().cloned().collect::<Vec<_>>().join("\n"));
        async { Ok::<_, Error>(all) }
    });
    plugin
        .resource(text.description("Text that is always the same."))
        .resource(binary.description("An image that is always the same."))
        .resource(watched.description("Clients can subscribe to it."))
        .resource(subscriptions.description("What clients have subscribed to."))
        .resource_template(data.mime_type("application/json").complete("id", ids))
        .on_subscribe(move |uri| {
            added.with(|uris| uris.insert(uri));
            async { Ok(()) }
        })
        .on_unsubscribe(move |uri| {
            removed.with(|uris| uris.remove(&uri));
            async { Ok(()) }
        })
}

/// The URIs that somebody has subscribed to.
#[derive(Clone, Default)]
struct Subscribed(Arc<Mutex<BTreeSet<String>>>);

impl Subscribed {
    fn with<T>(&self, f: impl FnOnce(&mut BTreeSet<String>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use crate::tests::server;

    #[test]
    fn text_bytes_and_families_are_read() {
        let server = server();
        assert_eq!(
            server.read("test://static-text").text(),
            "This is the content of the static text resource."
        );
        let binary = server.read("test://static-binary").result()["contents"][0].clone();
        assert_eq!(binary["mimeType"], "image/png");
        assert!(binary["blob"].as_str().is_some_and(|blob| blob.starts_with("iVBOR")));
        let data = server.read("test://template/123/data").result()["contents"][0].clone();
        assert_eq!(data["text"], r#"{"id":"123","templateTest":true,"data":"Data for ID: 123"}"#);
        assert_eq!(
            (&data["mimeType"], &data["uri"]),
            (&"application/json".into(), &"test://template/123/data".into())
        );
        let none = server.read("test://none");
        assert_eq!(
            none.fault_code().map(|(code, data)| (code, data["uri"].clone())),
            Some((-32602, "test://none".into()))
        );
    }

    #[test]
    fn a_subscription_arrives_and_ends() {
        let server = server();
        server.subscribe("test://watched-resource");
        assert_eq!(server.read("test://subscriptions").text(), "test://watched-resource");
        server.unsubscribe("test://watched-resource");
        assert_eq!(server.read("test://subscriptions").text(), "");
    }

    #[test]
    fn a_variable_is_completed() {
        let called = server().complete_template("test://template/{id}/data", "id", "7");
        assert_eq!(called.result()["completion"]["values"], serde_json::json!(["71", "72", "73"]));
    }
}
