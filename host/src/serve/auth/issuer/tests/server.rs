//! An issuer's web server, on this machine: it answers what it was told to, and counts.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    http::{HeaderName, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::serve::auth::token::tests::Signer;

/// Ends when it is dropped.
pub(super) struct Server {
    base: String,
    state: Arc<State>,
    task: JoinHandle<()>,
}

struct State {
    answers: Mutex<HashMap<String, (StatusCode, HeaderName, String)>>,
    asked: watch::Sender<Vec<String>>,
    is_held: watch::Sender<bool>,
}

impl State {
    async fn answer(&self, path: &str) -> Response {
        self.asked.send_modify(|asked| asked.push(path.to_owned()));
        let mut is_held = self.is_held.subscribe();
        is_held.wait_for(|is_held| !is_held).await.expect("the server outlives its requests");
        let answer = self.answers.lock().expect("no test panics in it").get(path).cloned();
        match answer {
            Some((status, header, text)) if header == header::LOCATION => {
                (status, [(header, text)]).into_response()
            }
            Some((status, header, text)) => {
                (status, [(header, "application/json".to_owned())], text).into_response()
            }
            None => StatusCode::NOT_FOUND.into_response(),
        }
    }
}

impl Server {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("it is bound"));
        let (answers, asked, is_held) =
            (Mutex::default(), watch::Sender::default(), watch::Sender::default());
        let state = Arc::new(State { answers, asked, is_held });
        let answering = state.clone();
        let answer = async move |uri: Uri| answering.answer(uri.path()).await;
        let router = Router::new().fallback(answer);
        let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { base, state, task }
    }

    /// The URL of `path`.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn set(&self, path: &str, status: StatusCode, header: HeaderName, text: String) {
        let mut answers = self.state.answers.lock().expect("no test panics in it");
        answers.insert(path.to_owned(), (status, header, text));
    }

    /// From now on it answers this at `path`.
    pub(super) fn answer(&self, path: &str, json: Value) {
        self.set(path, StatusCode::OK, header::CONTENT_TYPE, json.to_string());
    }

    /// These are the keys at `/jwks`.
    pub(super) fn publish(&self, signers: &[&Signer]) {
        let keys: Vec<Value> = signers.iter().map(|signer| signer.jwk()).collect();
        self.answer("/jwks", json!({"keys": keys}));
    }

    pub(super) fn fail(&self, path: &str) {
        self.set(path, StatusCode::INTERNAL_SERVER_ERROR, header::CONTENT_TYPE, String::new());
    }

    pub(super) fn redirect(&self, path: &str, to: &str) {
        self.set(path, StatusCode::FOUND, header::LOCATION, to.to_owned());
    }

    /// Requests are not answered until they are released.
    pub(super) fn hold(&self) {
        self.state.is_held.send_replace(true);
    }

    pub(super) fn release(&self) {
        self.state.is_held.send_replace(false);
    }

    /// How often `path` was asked for.
    pub(super) fn requests(&self, path: &str) -> usize {
        self.state.asked.borrow().iter().filter(|asked| *asked == path).count()
    }

    /// Waits until `path` was asked for that often.
    pub(super) async fn asked(&self, path: &str, times: usize) {
        let mut asked = self.state.asked.subscribe();
        let is_so = |asked: &Vec<String>| asked.iter().filter(|asked| *asked == path).count() >= times;
        asked.wait_for(is_so).await.expect("the server is there");
    }

    /// Nothing listens at its address any more.
    pub(super) async fn stop(mut self) {
        self.task.abort();
        // That it was aborted is what was wanted.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}
