//! An answer's body that keeps something, such as its call, open until it is sent or given up; and one that ends before
//! its time.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};

/// `body`, with `guard` kept for as long as it lives.
pub(super) fn held<G: Send + Sync + Unpin + 'static>(body: Body, guard: Option<G>) -> Body {
    match guard {
        Some(guard) => Body::new(Held { body, _guard: guard }),
        None => body,
    }
}

struct Held<G> {
    body: Body,
    _guard: G,
}

impl<G: Unpin> HttpBody for Held<G> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    // Exact where the inner one is, so that the answer has a length and not chunks.
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// `body`, which ends as soon as `end` is over.
pub(super) fn until(body: Body, end: impl Future<Output = ()> + Send + 'static) -> Body {
    Body::new(Until { body, end: Box::pin(end) })
}

struct Until {
    body: Body,
    end: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl HttpBody for Until {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match self.end.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => Pin::new(&mut self.body).poll_frame(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{mount::MountTable, serve::state::tests::gateway};

    #[test]
    fn a_call_is_open_until_its_answer_is_dropped_and_the_answer_keeps_its_length() {
        let gateway = gateway();
        gateway.install(MountTable::default());
        let body = held(Body::from("hello"), gateway.begin_call().ok());
        assert_eq!((gateway.calls_open(), body.size_hint().exact()), (1, Some(5)));
        drop(body);
        assert_eq!(gateway.calls_open(), 0);
    }

    #[tokio::test]
    async fn a_body_ends_before_its_time() {
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let never = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        let body = until(never, async { drop(ended.await) });
        let reading = tokio::spawn(axum::body::to_bytes(body, 10));
        end.send(()).expect("it is read");
        assert!(reading.await.expect("it does not panic").expect("it ends well").is_empty());
    }
}
