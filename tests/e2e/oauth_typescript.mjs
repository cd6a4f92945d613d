// The OAuth clients of both generations of the TypeScript SDK: from a 401 to a called tool, also if the first token
// lacks a scope.

import * as client2 from "@modelcontextprotocol/client";
import { UnauthorizedError } from "@modelcontextprotocol/sdk/client/auth.js";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

import { calls, check, listAndCall, same, url } from "./report.mjs";

const home = "http://127.0.0.1:9/home";

const generations = [
  {
    name: "sdk 1.x",
    sdk: { Client, StreamableHTTPClientTransport, UnauthorizedError },
    options: {},
    // It knows nothing of `iss`.
    finish: (transport, answer) => transport.finishAuth(answer.get("code")),
  },
  {
    name: "client 2.x, default",
    sdk: client2,
    options: {},
    finish: (transport, answer) => transport.finishAuth(answer),
  },
  {
    name: "client 2.x, auto",
    sdk: client2,
    options: { versionNegotiation: { mode: "auto" } },
    finish: (transport, answer) => transport.finishAuth(answer),
  },
];

/** What a client keeps, and the browser that it sends its user to; the user agrees to everything. */
class Provider {
  redirectUrl = home;
  clientMetadata = {
    client_name: "e2e",
    redirect_uris: [home],
    // No refresh: 1.x would refresh its token when it should ask for more.
    grant_types: ["authorization_code"],
    response_types: ["code"],
    token_endpoint_auth_method: "none",
  };
  /** Where the user was sent. */
  visits = [];
  /** The scopes of each token. */
  granted = [];

  state() {
    return "some state";
  }
  clientInformation() {
    return this.client;
  }
  saveClientInformation(client) {
    this.client = client;
  }
  tokens() {
    return this.saved;
  }
  saveTokens(tokens) {
    this.saved = tokens;
    this.granted.push(tokens.scope);
  }
  saveCodeVerifier(verifier) {
    this.verifier = verifier;
  }
  codeVerifier() {
    return this.verifier;
  }
  saveDiscoveryState(state) {
    this.discovery = state;
  }
  discoveryState() {
    return this.discovery;
  }
  redirectToAuthorization(url) {
    this.visits.push(url);
  }

  /** What the authorization server sends the browser back with, after its last visit. */
  async answer() {
    const response = await fetch(this.visits.at(-1), { redirect: "manual" });
    same("status of the authorization endpoint", response.status, 302);
    const location = new URL(response.headers.get("location"));
    same("where the code is sent", location.origin + location.pathname, home);
    same("state", location.searchParams.get("state"), "some state");
    return location.searchParams;
  }

  /** What was asked for each time, sorted. */
  scopes() {
    return this.visits.map((visit) => visit.searchParams.get("scope").split(" ").sort());
  }
}

/** Does what `body` does with a connected client; when that needs access, gets it and does it again. */
async function authorized({ sdk, options, finish }, path, provider, body) {
  for (let attempt = 0; ; attempt += 1) {
    const client = new sdk.Client({ name: "e2e", version: "1.0.0" }, options);
    const transport = new sdk.StreamableHTTPClientTransport(new URL(url + path), { authProvider: provider });
    try {
      await client.connect(transport);
      return await body(client);
    } catch (error) {
      if (!(error instanceof sdk.UnauthorizedError) || attempt === 2) {
        throw error;
      }
      await finish(transport, await provider.answer());
    } finally {
      await client.close();
    }
  }
}

async function called(client, call) {
  const result = await client.callTool({ name: call.tool, arguments: call.arguments });
  same("isError", result.isError ?? false, false);
  same("structuredContent", result.structuredContent, call.structured);
}

const greet = calls.find((call) => call.prefix === "/greet");
const calc = calls.find((call) => call.prefix === "/calc");

for (const generation of generations) {
  for (const path of ["/greet/mcp", "/greet"]) {
    await check(`${generation.name}: from 401 to a called tool at ${path}`, async () => {
      const provider = new Provider();
      await authorized(generation, path, provider, (client) => listAndCall(client, greet));
      same("scopes asked for", provider.scopes(), [["greet"]]);
      same("resource", provider.visits[0].searchParams.get("resource"), `${url}${path}`);
      await authorized(generation, path, provider, (client) => called(client, greet));
      same("times that a user was asked", provider.visits.length, 1);
      return provider.saved.scope;
    });
  }
  await check(`${generation.name}: a token that lacks a scope, and one that has it`, async () => {
    const provider = new Provider();
    await authorized(generation, "/calc/mcp", provider, (client) => called(client, calc));
    const all = ["math", "math:extra"];
    // The first token is for `math` alone; the server refuses it and says what it needs.
    same("scopes asked for", provider.scopes(), [all, all]);
    same("scopes granted", provider.granted, ["math", "math math:extra"]);
    await authorized(generation, "/calc/mcp", provider, (client) => called(client, calc));
    same("times that a user was asked", provider.visits.length, 2);
    return provider.saved.scope;
  });
}
