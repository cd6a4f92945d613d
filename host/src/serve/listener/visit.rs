//! What answers the requests of one connection: the router, told who asks, while the connection counts as busy.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::{
    Router,
    body::{Body, Bytes, HttpBody},
    routing::future::RouteFuture,
};
use http::Response;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tower::Service;

use super::{
    connections::{Connection, Request},
    unread::{self, Unread},
};
use crate::{config::Digest, serve::Peer};

/// Answers the requests of one connection.
#[derive(Debug, Clone)]
pub(super) struct Visit {
    router: Router,
    peer: Peer,
    connection: Arc<Connection>,
}

impl Visit {
    pub(super) fn new(router: Router, peer: Peer, connection: Arc<Connection>) -> Self {
        Self { router, peer, connection }
    }

    /// The same, once a handshake has shown who it is.
    pub(super) fn over_tls(mut self, certificate: Option<Digest>) -> Self {
        self.peer = Peer { certificate, is_tls: true, ..self.peer };
        self
    }
}

impl Service<http::Request<Incoming>> for Visit {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: http::Request<Incoming>) -> Answering {
        let open = Some(self.connection.begin());
        request.extensions_mut().insert(self.peer);
        if request.body().is_end_stream() {
            return Answering { answer: self.router.call(request), unread: None, settling: None, open };
        }
        let (request, unread) = unread::watch(request);
        Answering { answer: self.router.call(request), unread: Some(unread), settling: None, open }
    }
}

/// An answer that is being made.
pub(super) struct Answering {
    answer: RouteFuture<Infallible>,
    /// `None`: the request has no body, or its answer is made.
    unread: Option<Unread>,
    /// The answer, made before all of the body was read.
    settling: Option<Pin<Box<dyn Future<Output = Response<Body>> + Send>>>,
    open: Option<Request>,
}

impl Future for Answering {
    type Output = Result<Response<Answer>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = match &mut self.settling {
            Some(settling) => ready!(settling.as_mut().poll(cx)),
            None => {
                let answer = ready!(Pin::new(&mut self.answer).poll(cx))?;
                let unread = self.unread.take();
                match unread.and_then(|unread| unread.take().map(|left| (unread, left))) {
                    None => answer,
                    Some((unread, left)) => {
                        let settling = self.settling.insert(Box::pin(unread.settle(left, answer)));
                        ready!(settling.as_mut().poll(cx))
                    }
                }
            }
        };
        let open = self.open.take();
        Poll::Ready(Ok(answer.map(|body| Answer { body, _open: open })))
    }
}

/// An answer's body. The request is under way for as long as it lives. As [`held`](crate::serve::held), without a box.
pub(super) struct Answer {
    body: Body,
    _open: Option<Request>,
}

impl HttpBody for Answer {
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

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
