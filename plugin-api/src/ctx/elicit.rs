//! Asking the user behind a call.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Choice, Ctx, form};
use crate::{Error, Result};

impl Ctx {
    /// Asks the user to fill in a form, whose fields are those of `T`: text, numbers, bools, enums without data,
    /// and lists of such enums; an `Option` need not be filled in. Doc lines of the fields are shown.
    ///
    /// Code before it may run again, see [asking, and running again](Self#asking-and-running-again).
    ///
    /// # Errors
    /// If the client cannot show forms or took too long: protocol errors that end the call if passed on. If what
    /// it sent does not fit `T`: an ordinary one.
    pub async fn elicit<T: DeserializeOwned + JsonSchema>(
        &self,
        key: &str,
        message: &str,
    ) -> Result<Choice<T>> {
        let form = form::of::<T>()?;
        let params = json!({ "mode": "form", "message": message, "requestedSchema": form });
        let mut answer = match self.request(key, "elicitation/create", params).await? {
            Choice::Accepted(answer) => answer,
            Choice::Declined => return Ok(Choice::Declined),
            Choice::Cancelled => return Ok(Choice::Cancelled),
        };
        let content = answer.get_mut("content").map(Value::take).unwrap_or_else(|| json!({}));
        serde_json::from_value(content)
            .map(Choice::Accepted)
            .map_err(|error| Error::new(format!("the answer to `{key}` does not fit the question: {error}")))
    }

    /// Asks the user to open a page and do something there, e.g. to log in or to pay: what they do there does
    /// not pass through the client. `Accepted` means that they agreed to open it, not that they are done.
    ///
    /// Code before it may run again, see [asking, and running again](Self#asking-and-running-again).
    ///
    /// # Errors
    /// Protocol errors that end the call if passed on: if the client cannot open pages, or took too long.
    pub async fn elicit_url(&self, key: &str, message: &str, url: &str) -> Result<Choice<()>> {
        let params = json!({ "mode": "url", "message": message, "url": url });
        Ok(self.request(key, "elicitation/create", params).await?.map(drop))
    }
}
