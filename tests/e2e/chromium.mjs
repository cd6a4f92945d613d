// Chromium, in which pages must not do what they should not: what the browser checks share.

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { chromium } from "playwright-core";

import { same, url } from "./report.mjs";

const executablePath = process.argv[3];

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

/**
 * Opens `path` and runs `body`; fails on anything the page should not have done meanwhile. `refused`: how many of its requests
 * are to be answered with 401; `shown`: other errors that it may be answered with; `before`: what is done to the page first;
 * `name`: of the screenshot of a failure.
 */
export async function visit(path, body, { refused = 0, shown = [], before = async () => {}, name = path.slice(1) } = {}) {
  const page = await context.newPage();
  const wrong = [];
  let refusals = 0;
  page.on("request", (request) => {
    const asked = new URL(request.url());
    if (asked.origin !== url && !["data:", "blob:"].includes(asked.protocol)) {
      wrong.push(`request to ${asked.href}`);
    }
  });
  page.on("response", (response) => {
    if (response.status() === 401) refusals += 1;
    else if (response.status() >= 400 && !shown.includes(response.status())) wrong.push(`status ${response.status()} for ${response.url()}`);
  });
  page.on("console", (message) => {
    // Chromium tells of each refusal by itself.
    if ([401, ...shown].some((status) => message.text().includes(`status of ${status}`))) return;
    if (["error", "warning"].includes(message.type())) wrong.push(`console ${message.type()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => wrong.push(`uncaught ${error}`));
  await page.exposeFunction("reportViolation", (text) => wrong.push(`content security policy: ${text}`));
  await page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) =>
      window.reportViolation(`${event.effectiveDirective} ${event.blockedURI}`),
    );
  });
  await before(page);
  try {
    const answer = await page.goto(url + path, { waitUntil: "networkidle", timeout: 45_000 });
    same("status", answer.status(), 200);
    same("a policy is sent", (answer.headers()["content-security-policy"] ?? "").includes("default-src 'none'"), true);
    await body(page);
    same("requests refused", refusals, refused);
    if (wrong.length > 0) throw new Error("it did what it should not have done");
    return await page.title();
  } catch (error) {
    await page.screenshot({ path: `${name}-failed.png` }).catch(() => {});
    throw wrong.length > 0 ? new Error(`${error.message.split("\n")[0]}: ${wrong.join("; ")}`) : error;
  } finally {
    await page.close();
  }
}

/** What keeps somebody from using the page, as axe-core sees it. */
export async function violations(page) {
  await page.evaluate(readFileSync("node_modules/axe-core/axe.min.js", "utf8"));
  const found = await page.evaluate(() => window.axe.run(document));
  return found.violations
    .filter(({ impact }) => ["serious", "critical"].includes(impact))
    .map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.target.join(" ")).slice(0, 3).join(", ")}`);
}

/** Ends the browser. */
export async function close() {
  await context.close();
  rmSync(profile, { recursive: true, force: true });
}
