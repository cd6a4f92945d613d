// What the Node checks share: the expected calls, and one line per check.

import { readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";

export const calls = JSON.parse(readFileSync(new URL("calls.json", import.meta.url), "utf8"));
export const url = process.argv[2];

/** Runs `body`, which may return a fact worth printing. Whatever it throws, or 60 seconds, fails this check alone. */
export async function check(what, body) {
  let timer;
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("no answer within 60 s")), 60_000);
  });
  try {
    const fact = await Promise.race([body(), limit]);
    console.log(`ok   ${what}${fact ? ` (${fact})` : ""}`);
  } catch (error) {
    process.exitCode = 1;
    console.log(`FAIL ${what}: ${String(error).split("\n")[0]}`);
    console.error(error);
  } finally {
    clearTimeout(timer);
  }
}

/** Like `assert.deepStrictEqual`, but says both on one line. */
export function same(what, found, expected) {
  if (!isDeepStrictEqual(found, expected)) {
    throw new Error(`${what}: found ${JSON.stringify(found)}, expected ${JSON.stringify(expected)}`);
  }
}

/** Lists the tools and makes `call` with a connected client of either SDK generation. */
export async function listAndCall(client, call) {
  const { tools } = await client.listTools();
  const tool = tools.find((tool) => tool.name === call.tool);
  same("the tool is listed", tool !== undefined, true);
  same("required arguments", [...tool.inputSchema.required].sort(), Object.keys(call.arguments).sort());
  const result = await client.callTool({ name: call.tool, arguments: call.arguments });
  same("isError", result.isError ?? false, false);
  same("structuredContent", result.structuredContent, call.structured);
  if (call.text !== null) {
    const texts = result.content.filter((block) => block.type === "text").map((block) => block.text);
    same("text content", texts, [call.text]);
  }
}
