// Starts whichever of the two viewers the page has loaded. A file of its own, because the pages' content security
// policy allows no script inside of them.
"use strict";

const page = document.getElementById("page");

if (window.SwaggerUIBundle) {
  window.SwaggerUIBundle({
    url: "openapi.json",
    domNode: page,
    layout: "BaseLayout",
    deepLinking: true,
    displayRequestDuration: true,
    persistAuthorization: false,
    tryItOutEnabled: true,
    // Otherwise it would send the document to a validator on another host.
    validatorUrl: null,
  });
}

if (window.Redoc) {
  window.Redoc.init("openapi.json", { expandResponses: "200" }, page);
}
