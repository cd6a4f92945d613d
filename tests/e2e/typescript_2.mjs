// `@modelcontextprotocol/client` 2.x: both eras; of itself it speaks the older one.

import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";

import { calls, check, listAndCall, same, url } from "./report.mjs";

const modes = [
  { name: "default", options: {}, version: "2025-11-25" },
  { name: "auto", options: { versionNegotiation: { mode: "auto" } }, version: "2026-07-28" },
  {
    name: "pinned 2026-07-28",
    options: { versionNegotiation: { mode: { pin: "2026-07-28" } } },
    version: "2026-07-28",
  },
];

for (const { name, options, version } of modes) {
  for (const call of calls) {
    for (const path of [`${call.prefix}/mcp`, call.prefix]) {
      await check(`client 2.x, ${name}: list and call ${call.tool} at ${path}`, async () => {
        const client = new Client({ name: "e2e", version: "1.0.0" }, options);
        await client.connect(new StreamableHTTPClientTransport(new URL(url + path)));
        try {
          same("protocol version", client.getNegotiatedProtocolVersion(), version);
          await listAndCall(client, call);
        } finally {
          await client.close();
        }
        return version;
      });
    }
  }
}
