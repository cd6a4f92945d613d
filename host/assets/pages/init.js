// Fetches the document, asks for a key or a token if the gateway does, and starts whichever of the two viewers the page has
// loaded. A file of its own, because the pages' content security policy allows no script inside of them.
"use strict";

/** Where the viewer is; another element each time it starts. */
let place = document.getElementById("page");

/** The form that asks who is calling, while it is shown. */
let form = null;

/**
 * The document for who shows `credential`, which is kept nowhere: neither stored, nor in an address.
 * Nothing: the gateway does not take it, or takes nobody without one.
 */
async function load(credential) {
  const headers = credential ? { authorization: `Bearer ${credential}` } : {};
  const answer = await fetch("openapi.json", { headers });
  if (answer.status === 401) return undefined;
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.detail);
  return body;
}

function show(api, credential) {
  const empty = document.createElement("main");
  place.replaceWith(empty);
  place = empty;
  if (window.SwaggerUIBundle) {
    const viewer = window.SwaggerUIBundle({
      spec: api,
      domNode: place,
      layout: "BaseLayout",
      deepLinking: true,
      displayRequestDuration: true,
      persistAuthorization: false,
      tryItOutEnabled: true,
      // Otherwise it would send the document to a validator on another host.
      validatorUrl: null,
      onComplete: () => {
        // Only for the link: the document is there.
        viewer.specActions.updateUrl("openapi.json");
        // What "Execute" calls gets it too: the document has no other servers than this gateway.
        if (credential) viewer.preauthorizeApiKey("bearer", credential);
      },
    });
  }
  if (window.Redoc) {
    window.Redoc.init(api, { expandResponses: "200" }, place);
  }
}

/** Asks who is calling: before anything is shown, or above what everybody may see. */
function ask(what, isAlone) {
  form = document.createElement("form");
  form.className = isAlone ? "ask alone" : "ask";
  // The field has no name, so it would not get into an address even if the browser sent the form.
  form.innerHTML = `
    <h1>Gateway API</h1>
    <p class="what"></p>
    <label for="credential">Key or token</label>
    <div>
      <input id="credential" type="password" autocomplete="off" spellcheck="false" required aria-describedby="refused">
      <button>Show</button>
    </div>
    <p id="refused" role="alert"></p>`;
  form.querySelector("h1").hidden = !isAlone;
  form.querySelector(".what").textContent = what;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    answered(form.querySelector("input"));
  });
  place.before(form);
  if (isAlone) form.querySelector("input").focus();
}

/** Goes on with what was typed into the form. */
async function answered(input) {
  const refused = form.querySelector("#refused");
  refused.textContent = "";
  input.removeAttribute("aria-invalid");
  const credential = input.value.trim();
  try {
    const found = await load(credential);
    if (found) {
      form.remove();
      show(found, credential);
      return;
    }
    refused.textContent = "The gateway does not know this key or token.";
  } catch (error) {
    refused.textContent = `That did not work: ${error.message}`;
  }
  input.setAttribute("aria-invalid", "true");
  input.select();
}

async function start() {
  try {
    const found = await load("");
    if (!found) {
      ask("This gateway asks who is calling. What you type goes to it alone, and is gone with this page.", true);
      return;
    }
    show(found, "");
    if (found.components.securitySchemes?.bearer) {
      ask("This is what everybody may use. There may be more for you.", false);
    }
  } catch (error) {
    place.setAttribute("role", "alert");
    place.className = "ask alone";
    place.textContent = `The description of the API is not to be had: ${error.message}`;
  }
}

start();
