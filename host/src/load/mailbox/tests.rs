//! The mailbox, with the test as its plugin.

use std::sync::mpsc::channel;

use abi_stable::std_types::{RSlice, RVec};
use plugin_api::abi::Event;

use super::*;
use crate::load::CallEvent;

fn mailbox() -> Arc<Mailbox> {
    let name = ServerName::parse("test").expect("a name");
    Mailbox::new(name, channel().0).expect("a descriptor")
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
    drop(call(&mailbox).expect("open"));
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
fn only_the_first_manifest_is_kept() {
    let (said, stages) = channel();
    let mailbox = Mailbox::new(ServerName::parse("test").expect("a name"), said).expect("a descriptor");
    let host = mailbox.host();
    for _ in 0..3 {
        (host.table.ready())(host.context, RSlice::from_slice(b"{}"));
    }
    assert_eq!(stages.try_iter().count(), 1);
}
