//! A tool with everything in it: it plans a party, asking the date and the number of guests together, then whether
//! to go ahead, with progress between. What it does on the way it does once, however often it runs: see
//! [`Plan::once`].

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use plugin_api::prelude::*;

/// How to plan.
#[derive(Deserialize, JsonSchema)]
struct Party {
    /// Under which name the ledger is kept: `party://ledger/<reference>`.
    reference: String,
    /// Go on in the background, if the client can wait for that.
    #[serde(default)]
    background: bool,
}

/// When the party is.
#[derive(Deserialize, JsonSchema)]
struct When {
    /// The day, e.g. 2026-07-28.
    #[schemars(extend("format" = "date"))]
    day: String,
}

/// Who comes.
#[derive(Deserialize, JsonSchema)]
struct Guests {
    /// How many.
    #[schemars(range(min = 1, max = 100))]
    guests: u32,
}

/// The last word.
#[derive(Deserialize, JsonSchema)]
struct GoAhead {
    /// Send the invitations.
    send: bool,
}

/// What came of it.
#[derive(Serialize, JsonSchema)]
struct Planned {
    /// The day.
    day: String,
    /// How many come.
    guests: u32,
    /// Whether they have been invited.
    invited: bool,
    /// What has been done, in order.
    done: Vec<String>,
}

/// What was really done, by reference: stands for the world outside, where doing a thing twice shows.
#[derive(Clone, Default)]
struct Ledger(Arc<Mutex<HashMap<String, Vec<String>>>>);

/// What this call has done: the state that is carried from one run to the next.
struct Plan<'a> {
    ctx: &'a Ctx,
    ledger: &'a Ledger,
    reference: &'a str,
    done: Vec<String>,
}

impl Plan<'_> {
    /// Does something that no earlier run of this call has done, and notes that it is done.
    fn once(&mut self, deed: &str) -> Result<()> {
        if self.done.iter().any(|done| done == deed) {
            return Ok(());
        }
        self.ledger.enter(self.reference, deed);
        self.done.push(deed.into());
        self.ctx.set_state(&self.done)
    }
}

async fn plan_party(ctx: Ctx, args: Party, ledger: Ledger) -> Result<Planned> {
    if args.background {
        ctx.into_task(
            TaskOptions::new().poll_interval(Duration::from_millis(100)).status_message("planning"),
        );
    }
    let done = ctx.state()?.unwrap_or_default();
    let mut plan = Plan { ctx: &ctx, ledger: &ledger, reference: &args.reference, done };
    plan.once("hall looked for")?;
    ctx.progress(1.0, 3.0, "asking when and who");
    let (when, who) = tokio::join!(
        ctx.elicit::<When>("when", "When is the party?"),
        ctx.elicit::<Guests>("who", "How many guests will come?"),
    );
    let (When { day }, Guests { guests }) = (when?.accepted()?, who?.accepted()?);

    plan.once("hall reserved")?;
    ctx.progress(2.0, 3.0, "asking whether to go ahead");
    let question = format!("Invite {guests} guests for {day}?");
    let GoAhead { send } = ctx.elicit("send", &question).await?.accepted()?;

    if send {
        plan.once("invitations sent")?;
    }
    ctx.progress(3.0, 3.0, "done");
    Ok(Planned { day, guests, invited: send, done: plan.done })
}

impl Ledger {
    fn enter(&self, reference: &str, deed: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(reference.into()).or_default().push(deed.into());
    }

    fn of(&self, reference: &str) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(reference).cloned().unwrap_or_default()
    }
}

/// Variables of the ledger's template.
#[derive(Deserialize)]
struct Page {
    reference: String,
}

pub(crate) fn add(plugin: Plugin) -> Plugin {
    let ledger = Ledger::default();
    let read = ledger.clone();
    let page = ResourceTemplate::new("party://ledger/{reference}", "ledger", move |_, page: Page| {
        let deeds = read.of(&page.reference);
        async move { Contents::json(&deeds) }
    });
    let plan = Tool::new("plan_party", "Plans a party with its user.", move |ctx, args: Party| {
        plan_party(ctx, args, ledger.clone())
    });
    plugin.with_tool(plan.title("Plan a party").task_optional()).resource_template(
        page.description("What was really done for a party.").mime_type("application/json"),
    )
}

#[cfg(test)]
mod tests {
    use plugin_api::testing::{Called, Client, TestServer};
    use serde_json::{Value, json};

    use crate::tests::server;

    fn client() -> Client {
        Client::new()
            .accepts("when", json!({ "day": "2026-07-28" }))
            .accepts("who", json!({ "guests": 12 }))
            .accepts("send", json!({ "send": true }))
    }

    fn plan(client: Client, background: bool) -> (TestServer, Called) {
        let mut server = server();
        server.set_client(client);
        let called = server.call("plan_party", json!({ "reference": "r", "background": background }));
        (server, called)
    }

    fn ledger(server: &TestServer) -> Value {
        serde_json::from_str(&server.read("party://ledger/r").text()).expect("JSON")
    }

    /// The last progress, and how many there were in all.
    fn progress(called: &Called) -> (Option<f64>, usize) {
        let last = called.notifications.last().and_then(|(_, params)| params["progress"].as_f64());
        (last, called.notifications.len())
    }

    #[test]
    fn each_deed_is_done_once_whatever_the_client() {
        let deeds = json!(["hall looked for", "hall reserved", "invitations sent"]);
        let check = |client: Client, background: bool, rounds: &[&[&str]], notifications: usize| {
            let (server, called) = plan(client, background);
            assert_eq!(
                called.value(),
                json!({ "day": "2026-07-28", "guests": 12, "invited": true, "done": deeds })
            );
            assert_eq!(ledger(&server), deeds);
            assert_eq!(called.rounds, rounds);
            assert_eq!(progress(&called), (Some(3.0), notifications));
            assert_eq!(called.task.is_some(), background);
        };
        check(client(), false, &[], 3);
        // Three runs: the first tells of one step, the second of two, the third of all.
        check(client().replays(), false, &[&["when", "who"], &["send"]], 6);
        check(client().tasks().replays(), true, &[], 3);
    }

    #[test]
    fn what_was_refused_is_not_done() {
        let (server, called) = plan(client().declines("who").replays(), false);
        assert_eq!(called.tool_error().as_deref(), Some("the user declined"));
        assert_eq!(ledger(&server), json!(["hall looked for"]));
        let (server, called) = plan(client().accepts("send", json!({ "send": false })).replays(), false);
        assert_eq!(called.value()["invited"], false);
        assert_eq!(ledger(&server), json!(["hall looked for", "hall reserved"]));
    }
}
