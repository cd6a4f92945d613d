// The documentation pages in Chromium, as a person sees them. Screenshots: docs.png, docs-called.png, redoc.png.

import { rmSync } from "node:fs";

import { close, visit } from "./chromium.mjs";
import { calls, check, same } from "./report.mjs";

const greet = calls[0];

// What an earlier run left must not be taken for this one's.
for (const name of ["docs", "docs-called", "docs-failed", "redoc", "redoc-failed"]) rmSync(`${name}.png`, { force: true });

await check("/docs renders every tool, and asks no other host", () =>
  visit("/docs", async (page) => {
    for (const call of calls) {
      await page.getByText(`${call.prefix}/tools/${call.tool}`, { exact: true }).first().waitFor({ timeout: 20_000 });
    }
    await page.screenshot({ path: "docs.png", fullPage: true });
  }),
);

await check(`/docs: "Execute" calls ${greet.tool} and shows the answer`, () =>
  visit("/docs", async (page) => {
    const operation = page.locator(".opblock", { hasText: `${greet.prefix}/tools/${greet.tool}` });
    await operation.locator(".opblock-summary-control").first().click();
    await operation.locator("textarea.body-param__text").fill(JSON.stringify(greet.arguments));
    const answered = page.waitForResponse((answer) => answer.request().method() === "POST");
    await operation.locator("button.execute").click();
    same("answer", await (await answered).json(), greet.structured);
    const shown = operation.locator(".live-responses-table .highlight-code pre").first();
    await shown.waitFor({ timeout: 10_000 });
    same("shown", JSON.parse(await shown.innerText()), greet.structured);
    await page.screenshot({ path: "docs-called.png", fullPage: true });
  }),
);

await check("/redoc renders every tool, and asks no other host", () =>
  visit("/redoc", async (page) => {
    for (const call of calls) {
      await page.getByText(`${call.prefix}/tools/${call.tool}`).first().waitFor({ state: "attached", timeout: 20_000 });
    }
    await page.screenshot({ path: "redoc.png" });
  }),
);

await check(`/redoc: the search, which runs in a worker, finds ${greet.tool}`, () =>
  visit("/redoc", async (page) => {
    await page.getByPlaceholder("Search...").fill(greet.tool);
    await page.locator('[data-role="search:results"] li').first().waitFor({ timeout: 20_000 });
  }),
);

await close();
