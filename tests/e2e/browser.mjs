// The documentation pages in Chromium, as a person sees them. Screenshots: docs.png, docs-called.png, redoc.png.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { chromium } from "playwright-core";

import { calls, check, same, url } from "./report.mjs";

const executablePath = process.argv[3];
const greet = calls[0];

// What an earlier run left must not be taken for this one's.
for (const name of ["docs", "docs-called", "docs-failed", "redoc", "redoc-failed"]) rmSync(`${name}.png`, { force: true });

const profile = mkdtempSync(join(tmpdir(), "gateway-e2e-"));
const context = await chromium.launchPersistentContext(profile, {
  executablePath,
  headless: true,
  viewport: { width: 1280, height: 1000 },
  args: [
    // Chromium's own sandbox needs user namespaces, which containers often lack. It only opens our own pages.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});

/** Opens `path` and runs `body`; fails on anything the page should not have done meanwhile. */
async function visit(path, body) {
  const page = await context.newPage();
  const wrong = [];
  page.on("request", (request) => {
    const asked = new URL(request.url());
    if (asked.origin !== url && !["data:", "blob:"].includes(asked.protocol)) {
      wrong.push(`request to ${asked.href}`);
    }
  });
  page.on("response", (response) => {
    if (response.status() >= 400) wrong.push(`status ${response.status()} for ${response.url()}`);
  });
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) wrong.push(`console ${message.type()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => wrong.push(`uncaught ${error}`));
  await page.exposeFunction("reportViolation", (text) => wrong.push(`content security policy: ${text}`));
  await page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) =>
      window.reportViolation(`${event.effectiveDirective} ${event.blockedURI}`),
    );
  });
  try {
    const answer = await page.goto(url + path, { waitUntil: "networkidle", timeout: 45_000 });
    same("status", answer.status(), 200);
    same("a policy is sent", (answer.headers()["content-security-policy"] ?? "").includes("default-src 'none'"), true);
    await body(page);
    if (wrong.length > 0) throw new Error("it did what it should not have done");
    return await page.title();
  } catch (error) {
    await page.screenshot({ path: `${path.slice(1)}-failed.png` }).catch(() => {});
    throw wrong.length > 0 ? new Error(`${error.message.split("\n")[0]}: ${wrong.join("; ")}`) : error;
  } finally {
    await page.close();
  }
}

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

await context.close();
rmSync(profile, { recursive: true, force: true });
