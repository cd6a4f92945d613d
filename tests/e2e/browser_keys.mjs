// The documentation pages of a gateway that asks for a key, except at one server. Screenshots: keys-*.png.

import { rmSync } from "node:fs";

import { close, visit } from "./chromium.mjs";
import { calls, check, same } from "./report.mjs";

const key = `mgw_e2etests_${"A".repeat(43)}`;
const [greet, bye] = calls;
const pages = ["docs", "redoc"];

for (const name of pages.flatMap((page) => [`keys-${page}`, `keys-${page}-alone`, `keys-${page}-asks`, `keys-${page}-refused`, `${page}-failed`])) {
  rmSync(`${name}.png`, { force: true });
}

/** The first mention of a tool's path. */
const mention = (page, call) => page.getByText(`${call.prefix}/tools/${call.tool}`).first();

/** Types `text` into the form and sends it; the answer of the gateway. */
async function say(page, text) {
  await page.getByLabel("Key or token").fill(text);
  const answered = page.waitForResponse((answer) => answer.url().endsWith("/openapi.json"));
  await page.getByRole("button", { name: "Show", exact: true }).click();
  return answered;
}

/** Nothing that outlives the page, nor its address, has the key. */
async function keepsNothing(page) {
  same("address", page.url().includes("mgw_"), false);
  const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]));
  same("kept", kept.includes("mgw_"), false);
}

/** As if no server were open to all: a request without a key is refused. */
async function refuseNobody(page) {
  await page.route("**/openapi.json", (route) =>
    route.request().headers().authorization ? route.continue() : route.fulfill({ status: 401, json: { status: 401 } }),
  );
}

for (const name of pages) {
  await check(`/${name} asks for a key, and shows what its holder may use`, () =>
    visit(
      `/${name}`,
      async (page) => {
        // One server is open to all.
        await mention(page, bye).waitFor({ state: "attached", timeout: 20_000 });
        same("hidden from nobody in particular", await mention(page, greet).count(), 0);
        await page.screenshot({ path: `keys-${name}-asks.png` });

        same("status for a wrong key", (await say(page, "mgw_nobody")).status(), 401);
        await page.getByRole("alert").filter({ hasText: "does not know" }).waitFor();
        await page.screenshot({ path: `keys-${name}-refused.png` });

        const answer = await say(page, key);
        same("what it shows", await answer.request().headerValue("authorization"), `Bearer ${key}`);
        for (const call of calls) await mention(page, call).waitFor({ state: "attached", timeout: 20_000 });
        same("the form is gone", await page.getByLabel("Key or token").count(), 0);
        await page.screenshot({ path: `keys-${name}.png` });
        await keepsNothing(page);
      },
      { refused: 1 },
    ),
  );
}

for (const name of pages) {
  await check(`/${name} asks first where nobody may use anything`, () =>
    visit(
      `/${name}`,
      async (page) => {
        await page.getByLabel("Key or token").waitFor();
        same("what is typed goes to", await page.evaluate(() => document.activeElement.id), "credential");
        await page.screenshot({ path: `keys-${name}-alone.png` });
        await page.keyboard.type(key);
        await page.keyboard.press("Enter");
        for (const call of calls) await mention(page, call).waitFor({ state: "attached", timeout: 20_000 });
        await keepsNothing(page);
      },
      { refused: 1, before: refuseNobody },
    ),
  );
}

await check(`/docs: "Execute" shows the key where one is asked for, and nowhere else`, () =>
  visit("/docs", async (page) => {
    await say(page, key);
    for (const [call, shown] of [[greet, `Bearer ${key}`], [bye, null]]) {
      const operation = page.locator(".opblock", { hasText: `${call.prefix}/tools/${call.tool}` });
      await operation.locator(".opblock-summary-control").first().click();
      await operation.locator("textarea.body-param__text").fill(JSON.stringify(call.arguments));
      const answered = page.waitForResponse((answer) => answer.request().method() === "POST");
      await operation.locator("button.execute").click();
      const answer = await answered;
      same("answer", await answer.json(), call.structured);
      same("credential", await answer.request().headerValue("authorization"), shown);
    }
    await keepsNothing(page);
  }),
);

await close();
