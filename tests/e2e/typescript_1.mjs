// `@modelcontextprotocol/sdk` 1.x: sessions, as every client of 2025 has them.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

import { calls, check, listAndCall, same, url } from "./report.mjs";

for (const call of calls) {
  for (const path of [`${call.prefix}/mcp`, call.prefix]) {
    await check(`sdk 1.x: list and call ${call.tool} at ${path}`, async () => {
      const client = new Client({ name: "e2e", version: "1.0.0" });
      const transport = new StreamableHTTPClientTransport(new URL(url + path));
      await client.connect(transport);
      try {
        same("protocol version", transport.protocolVersion, "2025-11-25");
        await listAndCall(client, call);
        // Ends the session, as a client that behaves does.
        await transport.terminateSession();
      } finally {
        await client.close();
      }
      return transport.protocolVersion;
    });
  }
}
