//! What an answer leaves of its request's body. Where more of a body is to come, hyper ends the connection after the answer,
//! but the answer's head is gone by then and does not say so: the client would send its next request into nothing.
//!
//! In:   a request, and its answer.
//! Out:  the same answer, once the rest of the body is read, or with `connection: close` where that is not to be had.
//! Never: leave to send for a client that waits for it; a wait without end.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use axum::body::{Body, Bytes, HttpBody};
use http::{HeaderValue, Request, Response, header};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;

use crate::serve::body;

/// Gets what is not read of a body.
#[derive(Debug)]
pub(super) struct Unread {
    left: Left,
    /// Whether the client sends the body only when it is given leave to. To read would be to give it.
    waits_for_leave: bool,
}

type Left = Arc<Mutex<Option<Incoming>>>;

/// A request's body that is given back if nobody reads it to its end.
pub(super) struct Watched {
    /// `None`: given back.
    incoming: Option<Incoming>,
    is_over: bool,
    left: Left,
}

/// The same request, and what gets the rest of its body; that has one.
pub(super) fn watch(request: Request<Incoming>) -> (Request<Watched>, Unread) {
    let left = Left::default();
    let unread =
        Unread { left: left.clone(), waits_for_leave: request.headers().contains_key(header::EXPECT) };
    (request.map(|incoming| Watched { incoming: Some(incoming), is_over: false, left }), unread)
}

impl Unread {
    /// What is left once the answer is made; `None`: nothing.
    pub(super) fn take(&self) -> Option<Incoming> {
        lock(&self.left).take()
    }

    /// Makes the connection fit for the next request, or `answer` say that there cannot be one.
    pub(super) async fn settle(self, left: Incoming, mut answer: Response<Body>) -> Response<Body> {
        let close = HeaderValue::from_static("close");
        if answer.headers().get(header::CONNECTION) != Some(&close)
            && (self.waits_for_leave || !body::discard(&mut Body::new(left)).await)
        {
            answer.headers_mut().insert(header::CONNECTION, close);
        }
        answer
    }
}

fn lock(left: &Left) -> MutexGuard<'_, Option<Incoming>> {
    left.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(incoming).poll_frame(cx));
        self.is_over = !matches!(frame, Some(Ok(_)));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !self.is_over && !self.is_end_stream() {
            *lock(&self.left) = self.incoming.take();
        }
    }
}
