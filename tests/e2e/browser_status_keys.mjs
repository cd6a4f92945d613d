// The status page of a gateway that asks who is looking. Screenshots: keys-status-*.png.

import { readdirSync, rmSync } from "node:fs";

import { close, violations, visit } from "./chromium.mjs";
import { calls, check, same } from "./report.mjs";

const secret = "A".repeat(43);
const [user, admin] = [`mgw_e2etests_${secret}`, `mgw_e2eadmin_${secret}`];
const [greet, bye] = calls;

for (const file of readdirSync(".").filter((file) => /^keys-status-.*\.png$/.test(file))) rmSync(file);

/** Types `text` into the form and sends it; the status that the page is told. */
async function say(page, text) {
  await page.getByLabel("Key or token").fill(text);
  const answered = page.waitForResponse((answer) => answer.url().endsWith("/admin/status"));
  await page.getByRole("button", { name: "Show", exact: true }).click();
  return answered;
}

/** Nothing that outlives the page, nor its address, has the key. */
async function keepsNothing(page) {
  same("address", page.url().includes("mgw_"), false);
  const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]));
  same("kept", kept.includes("mgw_"), false);
}

await check("/ asks who is looking, says what is wrong with a key, and shows all to an admin", () =>
  visit(
    "/",
    async (page) => {
      await page.getByText("is for who has the scope").waitFor();
      // One server is open to all.
      await page.getByRole("link", { name: "bye" }).waitFor();
      same("hidden from nobody in particular", await page.getByText("greet", { exact: true }).count(), 0);
      same("violations", await violations(page), []);
      await page.screenshot({ path: "keys-status-asks.png" });

      same("status for a wrong key", (await say(page, "mgw_nobody")).status(), 401);
      await page.getByRole("alert").filter({ hasText: "does not know" }).waitFor();

      same("status without the scope", (await say(page, user)).status(), 403);
      await page.getByRole("alert").filter({ hasText: "lacks the scope" }).waitFor();
      // It is told what it may use all the same.
      await page.getByRole("link", { name: "greet" }).waitFor();
      await page.screenshot({ path: "keys-status-refused.png" });

      const answer = await say(page, admin);
      same("what it shows", await answer.request().headerValue("authorization"), `Bearer ${admin}`);
      await page.getByText("key:admin").waitFor();
      same("the form is gone", await page.getByLabel("Key or token").count(), 0);
      same("servers", await page.locator(".server").count(), 5);
      await page.screenshot({ path: "keys-status.png" });
      await keepsNothing(page);
    },
    { refused: 2, shown: [403], name: "keys-status" },
  ),
);

await check("a form shows the key where one is asked for, and nowhere else", () =>
  visit(
    "/",
    async (page) => {
      await say(page, admin);
      for (const [name, call, shown] of [["greet", greet, `Bearer ${admin}`], ["bye", bye, null]]) {
        const server = page.locator(`#server-${name}`);
        await server.locator("> summary").click();
        await server.locator(".tool > summary").first().click();
        await server.getByLabel("userName").fill("Ada");
        const posted = page.waitForResponse((answer) => answer.request().method() === "POST");
        await server.getByRole("button", { name: "Call" }).click();
        const answer = await posted;
        same("answer", await answer.json(), call.structured);
        same("credential", await answer.request().headerValue("authorization"), shown);
      }
      await keepsNothing(page);
    },
    { refused: 1, name: "keys-status" },
  ),
);

await check("whoever signs out is asked again", () =>
  visit(
    "/",
    async (page) => {
      await page.getByLabel("Key or token").fill(admin);
      await page.keyboard.press("Enter");
      await page.getByRole("button", { name: "Sign out" }).click();
      await page.getByLabel("Key or token").waitFor();
      same("what was shown is gone", await page.locator(".server").count(), 0);
    },
    { refused: 2, name: "keys-status" },
  ),
);

await close();
