//! The mailbox, with the test as its plugin.

use std::sync::mpsc::{Sender, channel};

use abi_stable::std_types::{RSlice, RVec};
use plugin_api::abi::{Event, LogRecord};
use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt as _};

use super::*;
use crate::{
    config::Prefix,
    load::{CallEvent, CallFacts, Tasks},
};

fn mailbox() -> Arc<Mailbox> {
    mailbox_that_tells(channel().0)
}

fn mailbox_that_tells(stages: Sender<Stage>) -> Arc<Mailbox> {
    let name = ServerName::parse("test").expect("a name");
    let entry = ServerEntry::new(name, "test.so".into(), Prefix::parse("/test").expect("a prefix"));
    Mailbox::new(&entry, stages).expect("a descriptor")
}

fn peek(mailbox: &Arc<Mailbox>) -> Option<(u32, u64)> {
    let (host, mut event) = (mailbox.host(), Event::empty());
    (host.table.next())(host.context, abi::PEEK, &mut event).then_some((event.kind, event.call))
}

fn call(mailbox: &Arc<Mailbox>) -> Result<OpenCall, Closed> {
    mailbox.call(Request::new("tools/call"), CallOptions::default())
}

#[test]
fn a_call_cancelled_before_the_plugin_takes_it_leaves_nothing_behind() {
    let mailbox = mailbox();
    let kept = call(&mailbox).expect("open");
    let mut other = call(&mailbox).expect("open");
    assert_eq!(other.cancel(CancelReason::Timeout), Taken::No);
    assert_eq!(mailbox.calls_open(), 1);
    assert_eq!(peek(&mailbox), Some((abi::CALL, kept.id)));
    assert_eq!(peek(&mailbox), None);
}

#[test]
fn a_call_cancelled_after_the_plugin_took_it_counts_until_its_future_is_gone() {
    let mailbox = mailbox();
    let id = call(&mailbox).map(|open| {
        assert_eq!(peek(&mailbox), Some((abi::CALL, open.id)));
        open.id
    });
    let id = id.expect("open");
    assert_eq!(peek(&mailbox), Some((abi::CANCEL, id)));
    assert_eq!(mailbox.calls_open(), 1);
    let host = mailbox.host();
    (host.table.dropped())(host.context, id);
    assert_eq!(mailbox.calls_open(), 0);
}

#[test]
fn the_plugin_is_told_why_a_call_is_cancelled() {
    let mailbox = mailbox();
    let mut open = call(&mailbox).expect("open");
    peek(&mailbox);
    open.cancel(CancelReason::Timeout);
    let (host, mut event) = (mailbox.host(), Event::empty());
    assert!((host.table.next())(host.context, abi::PEEK, &mut event));
    assert_eq!((event.kind, event.call, event.code), (abi::CANCEL, open.id, abi::BY_TIMEOUT));
    // Told once.
    drop(open);
    assert_eq!(peek(&mailbox), None);
}

#[tokio::test]
async fn a_reply_after_the_end_of_the_plugin_is_nobodys() {
    let mailbox = mailbox();
    let mut open = call(&mailbox).expect("open");
    mailbox.abandon();
    let host = mailbox.host();
    (host.table.reply())(host.context, open.id, abi::RESULT, RVec::new());
    assert!(matches!(open.next().await, CallEvent::Done(Answer::Gone)));
    assert!(call(&mailbox).is_err());
    assert_eq!(mailbox.calls_open(), 0);
}

#[test]
fn the_first_manifest_starts_the_server_and_of_later_ones_the_latest_is_kept() {
    let (said, stages) = channel();
    let mailbox = mailbox_that_tells(said);
    let host = mailbox.host();
    let answers: Vec<u32> = (0..1000)
        .map(|number| {
            (host.table.ready())(host.context, RSlice::from_slice(format!("{{\"n\":{number}}}").as_bytes()))
        })
        .collect();
    assert_eq!(stages.try_iter().count(), 1);
    let mut notices = mailbox.take_notices().expect("nobody has them");
    assert_eq!(notices.try_recv(), Ok(Notice::Manifest));
    assert!(notices.try_recv().is_err(), "it is said once");
    assert_eq!(mailbox.take_manifest().as_deref(), Some(b"{\"n\":999}".as_slice()));
    assert_eq!(mailbox.take_manifest(), None);
    assert_eq!((answers[1], answers[999]), (abi::DELIVERED, abi::DELIVERED));
    (host.table.ready())(host.context, RSlice::from_slice(b"{}"));
    assert_eq!(notices.try_recv(), Ok(Notice::Manifest), "and again once it has been taken");
    // What is too large is not kept, nor are more notices than somebody takes.
    let large = vec![b' '; 5 << 20];
    assert_eq!((host.table.ready())(host.context, large.as_slice().into()), abi::DROPPED);
    let notify = |params: &[u8]| (host.table.notify())(host.context, 0, "n".into(), params.into());
    assert_eq!(notify(&large), abi::DROPPED);
    assert_eq!((0..1000).filter(|_| notify(b"{}") == abi::DELIVERED).count(), NOTICES_MAX);
}

#[tokio::test]
async fn a_question_is_answered_by_the_door_or_at_once_by_an_earlier_round() {
    let mailbox = mailbox();
    let value = serde_json::json!({ "action": "accept" });
    let answer = ClientAnswer { status: AnswerStatus::Accepted, value };
    let options =
        CallOptions { answers: [("old".to_owned(), answer.clone())].into(), ..CallOptions::default() };
    let mut open = mailbox.call(Request::new("tools/call"), options).expect("open");
    peek(&mailbox);
    let (host, mut event) = (mailbox.host(), Event::empty());
    for key in ["old", "new"] {
        let params = RSlice::from_slice(b"{}");
        (host.table.request())(host.context, open.id, key.into(), "elicitation/create".into(), params);
    }
    // Not parked: the answer to the old one is on its way.
    (host.table.parked())(host.context, open.id);
    assert!((host.table.next())(host.context, abi::PEEK, &mut event));
    assert_eq!((event.kind, event.name(), event.code), (abi::ANSWER, "old", abi::ACCEPTED));
    assert_eq!(event.body(), br#"{"action":"accept"}"#);

    assert!(matches!(open.next().await, CallEvent::Asked { key, .. } if key == "new"));
    (host.table.parked())(host.context, open.id);
    assert!(matches!(open.next().await, CallEvent::Parked));
    (host.table.parked())(host.context, open.id);
    open.answer("new", &answer);
    assert!((host.table.next())(host.context, abi::PEEK, &mut event));
    assert_eq!((event.kind, event.name()), (abi::ANSWER, "new"));
    // Nor is it still said to be parked.
    (host.table.reply())(host.context, open.id, abi::RESULT, RVec::new());
    assert!(matches!(open.next().await, CallEvent::Done(Answer::Result(_))));
}

#[test]
fn a_call_becomes_a_task_once_and_only_where_that_is_allowed() {
    let mailbox = mailbox();
    let into_task = |tasks| {
        let options = CallOptions { tasks, ..CallOptions::default() };
        let open = mailbox.call(Request::new("tools/call"), options).expect("open");
        let host = mailbox.host();
        let ask = || (host.table.into_task())(host.context, open.id, RSlice::from_slice(b"{}"));
        (ask(), ask())
    };
    assert_eq!(into_task(Tasks::Refused), (false, false));
    assert_eq!(into_task(Tasks::Allowed), (true, true));
}

#[test]
fn a_plugin_is_told_what_is_known_of_a_call_and_nothing_of_the_rest() {
    let mailbox = mailbox();
    let facts = CallFacts { request_id: "r".into(), state: Some(7.into()), ..CallFacts::default() };
    let open = mailbox.call(Request::new("tools/call"), CallOptions { facts, ..CallOptions::default() });
    let (host, mut out) = (mailbox.host(), RVec::new());
    assert!((host.table.info())(host.context, open.expect("open").id, &mut out));
    assert_eq!(out.as_slice(), br#"{"requestId":"r","state":7}"#);
}

#[test]
fn the_oldest_message_that_nobody_takes_is_known() {
    let mailbox = mailbox();
    assert_eq!(mailbox.waits_since(), None);
    let first = call(&mailbox).expect("open");
    let since = mailbox.waits_since().expect("it was not taken");
    let second = call(&mailbox).expect("open");
    assert_eq!(mailbox.waits_since(), Some(since));
    peek(&mailbox);
    assert!(mailbox.waits_since().is_some_and(|next| next >= since));
    peek(&mailbox);
    assert_eq!(mailbox.waits_since(), None);
    drop((first, second));
}

/// Counts the events of plugins.
#[derive(Clone, Default)]
struct Heard(Arc<AtomicU64>);

impl<S: tracing::Subscriber> Layer<S> for Heard {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        if event.metadata().target() == crate::observe::PLUGIN {
            self.0.fetch_add(1, Relaxed);
        }
    }
}

fn say(mailbox: &Arc<Mailbox>, level: u32, target: &str) {
    let record = LogRecord {
        size: size_of::<LogRecord<'_>>() as u32,
        kind: abi::LOG_EVENT,
        level,
        line: 0,
        call: 0,
        span: 0,
        parent: 0,
        target: target.into(),
        message: "said".into(),
        fields: RSlice::from_slice(b"{}"),
        file: "".into(),
        reserved: [0; 4],
    };
    let host = mailbox.host();
    (host.table.log())(host.context, &record);
}

#[test]
fn what_nobody_would_see_takes_no_room_and_is_not_counted() {
    let check = |filter: &str, level: u32, is_heard: bool| {
        let (mailbox, heard) = (mailbox(), Heard::default());
        let log = tracing_subscriber::registry().with(EnvFilter::new(filter)).with(heard.clone());
        tracing::subscriber::with_default(log, || {
            (0..ServerEntry::LOG_MAX_PER_SECOND * 2).for_each(|_| say(&mailbox, level, "a"));
        });
        let logged: u64 = mailbox.flood().logged().iter().sum();
        assert_eq!(logged > 0, is_heard, "{level} under {filter}");
        assert_eq!(heard.0.load(Relaxed), logged, "{level} under {filter}");
        assert_eq!(mailbox.flood().dropped() > 0, is_heard, "{level} under {filter}");
    };
    check("info", 3, true);
    check("info", 4, false);
    // As they come where traces take more than the log does.
    check("warn", 3, false);
    check("warn", 2, true);
    check("info,gateway::plugin=warn", 3, false);
    check("error,gateway::plugin=info", 3, true);
    check("off", 1, false);
}

#[test]
fn why_the_process_ends_is_logged_whatever_room_there_is() {
    let (mailbox, heard) = (mailbox(), Heard::default());
    let log = tracing_subscriber::registry().with(EnvFilter::new("error")).with(heard.clone());
    tracing::subscriber::with_default(log, || {
        (0..ServerEntry::LOG_MAX_PER_SECOND * 2).for_each(|_| say(&mailbox, 1, "a"));
        let before = heard.0.load(Relaxed);
        assert!(mailbox.flood().dropped() > 0);
        say(&mailbox, 1, "stderr");
        say(&mailbox, 2, "stderr");
        assert_eq!(heard.0.load(Relaxed) - before, 1);
    });
}

#[test]
fn of_a_call_that_nobody_waits_for_only_what_the_log_says_is_kept() {
    let facts = CallFacts { request_id: "r".into(), state: Some(7.into()), ..CallFacts::default() };
    let options = CallOptions { method: "tools/call", subject: "t".into(), facts, ..CallOptions::default() };
    let mut call = Call::Awaited { options, exchange: Arc::default() };
    assert!(call.cancel().is_some() && call.cancel().is_none());
    let Call::Cancelled(About { method, subject, request_id }) = call else { panic!("it is awaited") };
    assert_eq!((method, &*subject, &*request_id), ("tools/call", "t", "r"));
}
