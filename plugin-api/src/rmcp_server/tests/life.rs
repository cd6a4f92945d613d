//! How an rmcp server is made, spoken to, listened to and let go.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use rmcp::{
    ErrorData, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, InitializeRequestParams, InitializeResult, ProtocolVersion,
        ResourceUpdatedNotificationParam, SubscribeRequestParams, UnsubscribeRequestParams,
    },
};
use serde_json::json;

use super::{Context, said, says, shop::Shop, start};
use crate::{
    CallInfo, Ctx, NoSettings, Plugin,
    ctx::Link,
    testing::{Client, Recorder, TestServer},
};

#[test]
fn changes_reach_the_gateway_from_a_peer_kept_and_from_one_of_a_call() {
    let server = start(Shop::default);
    server.call("restocks", json!({}));
    let changed = said("notifications/tools/list_changed", json!({}));
    assert_eq!(server.notices(), [changed.clone(), changed]);
}

#[test]
fn a_subscription_is_listened_to_until_nobody_cares() {
    let shop = Shop::default();
    let (watched, kept) = ("shop://till", shop.listening.clone());
    let server = start(move || shop);
    server.subscribe(watched);
    // The server's task gets its turn while a call waits.
    server.call("logs", json!({}));
    assert_eq!(server.notices(), [said("notifications/resources/updated", json!({ "uri": watched }))]);
    assert!(kept.lock().expect("no panic").contains(watched));
    server.unsubscribe(watched);
}

#[test]
fn a_server_of_sessions_is_subscribed_to_and_announces_over_the_peer_it_kept() {
    #[derive(Clone, Default)]
    struct Feed(Arc<Mutex<Vec<String>>>);
    impl ServerHandler for Feed {
        async fn subscribe(&self, params: SubscribeRequestParams, context: Context) -> Result<(), ErrorData> {
            let updated = ResourceUpdatedNotificationParam::new(params.uri);
            context.peer.notify_resource_updated(updated).await.expect("it lasts");
            Ok(())
        }

        async fn unsubscribe(&self, params: UnsubscribeRequestParams, _: Context) -> Result<(), ErrorData> {
            self.0.lock().expect("no panic").push(params.uri);
            Ok(())
        }
    }
    let feed = Feed::default();
    let gone = feed.0.clone();
    let server = start(move || feed);
    server.subscribe("feed://a");
    assert_eq!(server.notices(), [said("notifications/resources/updated", json!({ "uri": "feed://a" }))]);
    server.unsubscribe("feed://a");
    assert_eq!(*gone.lock().expect("no panic"), ["feed://a"]);
}

#[test]
fn every_way_to_make_a_server_is_one_the_macro_takes() {
    #[derive(serde::Deserialize, schemars::JsonSchema)]
    struct Settings {}
    async fn connected(_: Settings) -> crate::Result<Shop> {
        Ok(Shop::default())
    }
    // As `export_rmcp_server!` has it.
    let _: fn(_) -> crate::Result<Plugin> = |settings| Ok(Plugin::from_rmcp(settings, Shop::default));
    let _: fn(_) -> crate::Result<Plugin> =
        |settings| Ok(Plugin::from_rmcp(settings, |_: Settings| Ok(Shop::default())));
    let _: fn(_) -> crate::Result<Plugin> = |settings| Ok(Plugin::from_rmcp(settings, connected));
    let routed = start(|| rmcp::handler::server::router::Router::new(Shop::default()));
    assert_eq!(routed.tools(), json!([]), "what is not in the router is not listed");
}

#[test]
fn a_call_that_is_dropped_takes_everything_with_it() {
    const CALLS: usize = 500;
    let shop = Shop::default();
    let (dropped, cancelled) = (shop.dropped.clone(), shop.cancelled.clone());
    let mut plugin = Plugin::from_rmcp(NoSettings {}, move || shop);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        for hook in std::mem::take(&mut plugin.on_start) {
            hook().await.expect("it starts");
        }
        let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let (before, offer) = (tasks(), Arc::new(plugin.offer));
        let params = json!({ "name": "waits" }).to_string();
        for call in 1..=CALLS {
            let recorder = Recorder::new(Client::new(), CallInfo::default(), Arc::default());
            let ctx = Ctx::new(1, Link::Test(recorder));
            let mut work =
                Box::pin(offer.clone().call(ctx, "tools/call", params.as_bytes(), Default::default()));
            assert!(is_at_work(&mut work).await, "it waits");
            drop(work);
            assert_eq!(dropped.load(Relaxed), call, "the handler's future is gone");
        }
        // What it spawned ends by the token.
        while cancelled.load(Relaxed) < CALLS || tasks() > before {
            tokio::task::yield_now().await;
        }
    });
}

/// Whether the future is still at work after it had a turn.
async fn is_at_work<F: Future + Unpin>(future: &mut F) -> bool {
    std::future::poll_fn(|cx| std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx).is_pending()))
        .await
}

#[test]
fn a_server_that_knows_only_sessions_is_spoken_to_in_one() {
    struct Old;
    impl ServerHandler for Old {
        fn supported_protocol_versions(&self) -> std::borrow::Cow<'static, [ProtocolVersion]> {
            vec![ProtocolVersion::V_2025_03_26, ProtocolVersion::V_2025_06_18].into()
        }

        async fn call_tool(
            &self,
            _: CallToolRequestParams,
            context: Context,
        ) -> Result<CallToolResponse, ErrorData> {
            Ok(says(context.protocol_version().expect("there is a session").to_string()))
        }
    }
    assert_eq!(start(|| Old).call("any", json!({})).text(), "2025-06-18");
}

#[test]
#[should_panic(expected = "the plugin declined to start: it refuses to be initialized: closed on Sundays")]
fn a_server_that_refuses_to_be_initialized_does_not_start() {
    struct Closed;
    impl ServerHandler for Closed {
        async fn initialize(
            &self,
            _: InitializeRequestParams,
            _: Context,
        ) -> Result<InitializeResult, ErrorData> {
            Err(ErrorData::internal_error("closed on Sundays", None))
        }
    }
    start(|| Closed);
}

#[test]
#[should_panic(expected = "the plugin declined to start: no key")]
fn a_server_that_cannot_be_made_does_not_start() {
    async fn connect(_: NoSettings) -> crate::Result<Shop> {
        tokio::task::yield_now().await;
        Err(crate::Error::new("no key"))
    }
    start(connect);
}

#[test]
fn nothing_is_made_to_describe_the_plugin() {
    let made = Arc::new(AtomicBool::new(false));
    let set = made.clone();
    let plugin = Plugin::from_rmcp(NoSettings {}, move |_: NoSettings| {
        set.store(true, Relaxed);
        Ok(Shop::default())
    });
    assert!(plugin.offer.lists().is_empty() && !made.load(Relaxed));
    TestServer::start(plugin);
    assert!(made.load(Relaxed));
}
