//! When a call is parked, and when it is not.

use std::{future::poll_fn, sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::*;
use crate::{
    CallInfo, Choice, Ctx, Result, abi,
    ctx::Link,
    testing::{Client, Recorder},
};

/// A call whose client never answers by itself.
fn held() -> (Ctx, Arc<Recorder>) {
    let recorder = Recorder::new(Client::holds(), CallInfo::default(), Arc::default());
    (Ctx::new(1, Link::Test(recorder.clone())), recorder)
}

async fn ask(ctx: &Ctx, key: &str) -> Result<Choice<Value>> {
    ctx.request(key, "roots/list", json!({})).await
}

/// Polls `future` for so long, as often as it wants; answers whether it is still pending.
async fn goes_on<F: Future + Unpin>(future: &mut F, time: Duration) -> bool {
    tokio::time::timeout(time, future).await.is_err()
}

/// Time passes only when there is nothing else to do: how busy the machine is makes no difference.
fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(test)
}

const SOON: Duration = Duration::from_millis(50);
const LATE: Duration = Duration::from_millis(600);

#[test]
fn two_requests_together_park_the_call_once_with_both() {
    run(async {
        let (ctx, recorder) = held();
        let call = ctx.call.clone();
        let work = Box::pin(async { tokio::join!(ask(&ctx, "a"), ask(&ctx, "b")) });
        let mut work = Watched::new(call.clone(), work);
        assert!(goes_on(&mut work, SOON).await);
        assert_eq!((recorder.parks(), recorder.asked()), (1, vec!["a".into(), "b".into()]));

        call.answer("a", abi::ACCEPTED, b"1");
        assert!(goes_on(&mut work, SOON).await);
        assert_eq!(recorder.parks(), 2, "it waits for the other alone");

        call.answer("b", abi::DECLINED, b"null");
        let (a, b) = work.await;
        assert_eq!(a.expect("answered"), Choice::Accepted(json!(1)));
        assert_eq!(b.expect("answered"), Choice::Declined);
        assert_eq!(recorder.parks(), 2);
    });
}

#[test]
fn a_request_raced_with_a_timer_parks_late() {
    run(async {
        let (ctx, recorder) = held();
        let work = Box::pin(tokio::time::timeout(Duration::from_secs(60), ask(&ctx, "a")));
        let mut work = Watched::new(ctx.call.clone(), work);
        assert!(goes_on(&mut work, SOON).await);
        assert_eq!(recorder.parks(), 0, "the timer may end it");
        assert!(goes_on(&mut work, LATE).await);
        assert_eq!(recorder.parks(), 1, "nothing happened for a while");
    });
}

#[test]
fn work_that_goes_on_beside_a_request_does_not_park() {
    run(async {
        let (ctx, recorder) = held();
        let beside = async {
            for _ in 0..12 {
                tokio::time::sleep(SOON).await;
            }
        };
        let work = Box::pin(async { tokio::join!(ask(&ctx, "a"), beside) });
        let mut work = Watched::new(ctx.call.clone(), work);
        assert!(goes_on(&mut work, LATE - SOON).await);
        assert_eq!(recorder.parks(), 0);
        assert!(goes_on(&mut work, LATE).await);
        assert_eq!(recorder.parks(), 1, "the work beside is done");
    });
}

#[test]
fn a_request_in_a_task_of_its_own_parks_late() {
    run(async {
        let (ctx, recorder) = held();
        let work = Box::pin(async {
            let ctx = ctx.clone();
            tokio::spawn(async move { ask(&ctx, "a").await }).await
        });
        let mut work = Watched::new(ctx.call.clone(), work);
        // In one go, and with the clock in a task of its own: nothing else may poll the call.
        let early = tokio::spawn({
            let recorder = recorder.clone();
            async move {
                tokio::time::sleep(QUIET.mul_f64(0.9)).await;
                recorder.parks()
            }
        });
        assert!(goes_on(&mut work, LATE).await);
        let early = early.await.expect("it does not panic");
        assert_eq!((early, recorder.parks()), (0, 1), "the task may do more than ask");
    });
}

#[test]
fn a_request_that_was_given_up_is_not_waited_for() {
    run(async {
        let (ctx, recorder) = held();
        let work = Box::pin(async {
            let _ = tokio::time::timeout(Duration::from_millis(5), ask(&ctx, "a")).await;
            std::future::pending::<()>().await;
        });
        let mut work = Watched::new(ctx.call.clone(), work);
        assert!(goes_on(&mut work, LATE).await);
        assert_eq!(recorder.parks(), 0);
    });
}

#[test]
fn waiting_for_its_own_end_beside_a_request_does_not_keep_a_call_from_parking() {
    run(async {
        let (ctx, recorder) = held();
        let work = Box::pin(async {
            tokio::select! {
                _ = ask(&ctx, "a") => {}
                _ = ctx.cancelled() => {}
            }
        });
        let mut work = Watched::new(ctx.call.clone(), work);
        assert!(goes_on(&mut work, SOON).await);
        assert_eq!(recorder.parks(), 1);
    });
}

#[test]
fn a_call_that_is_about_to_go_on_is_not_parked() {
    run(async {
        let (ctx, recorder) = held();
        let mut left = 3;
        // Wakes itself and keeps no waker: only the mark tells that it is not done.
        let busy = poll_fn(|cx| {
            left -= 1;
            if left == 0 {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        let work = Box::pin(async { tokio::join!(ask(&ctx, "a"), busy) });
        let mut work = Watched::new(ctx.call.clone(), work);
        assert!(goes_on(&mut work, SOON).await);
        assert_eq!(recorder.parks(), 1, "once, when the busy half was done");
    });
}
