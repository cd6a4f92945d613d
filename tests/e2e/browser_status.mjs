// The status page of a gateway with servers in trouble, in Chromium: by mouse, by keyboard, in light and dark, narrow and
// wide. Screenshots: status-*.png.

import { readdirSync, rmSync } from "node:fs";

import { close, violations, visit } from "./chromium.mjs";
import { calls, check, same, url } from "./report.mjs";

const greet = calls[0];

// What an earlier run left must not be taken for this one's.
for (const file of readdirSync(".").filter((file) => /^status-.*\.png$/.test(file))) rmSync(file);

/** The front page. What it was not to do is what `visit` looks for. */
const open = (body, options = {}) => visit("/", body, { name: "status", ...options });

const server = (page, name) => page.locator(`#server-${name}`);
const tool = (page, name, of) => server(page, name).locator(".tool").filter({ has: page.locator(`summary code:text-is("${of}")`) });

/** Opens the form of a tool. */
async function openTool(page, name, of) {
  await server(page, name).locator("> summary").click();
  await tool(page, name, of).locator("> summary").click();
  return tool(page, name, of);
}

/** The next answer to the page's question how the gateway is. */
const nextLook = (page) => page.waitForResponse((answer) => answer.url().endsWith("/admin/status"));

/** Tab, until what has the focus is that. */
async function tabTo(page, selector) {
  for (let press = 0; press < 120; press += 1) {
    await page.keyboard.press("Tab");
    if (await page.evaluate((selector) => document.activeElement.matches(selector), selector)) return;
  }
  throw new Error(`the tab key never came to ${selector}`);
}

// Its calls take too long: one is enough for a quarantine.
const slow = await fetch(`${url}/slow/tools/slow_compute`, {
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify({ seconds: 30 }),
});
await slow.text();

await check("/ shows every server with its state, and first what is wrong", () =>
  open(async (page) => {
    same("a call took too long", slow.status, 504);
    const states = await page.locator(".server").evaluateAll((all) =>
      all.map((one) => [one.querySelector("h3").textContent, one.querySelector(".badge .word").textContent].join(" ")),
    );
    same("states", states, ["greet Running", "bye Running", "math Running", "everything Running", "nowhere Failed", "slow Quarantined"]);
    const matters = await page.locator("#attention-list strong").allTextContents();
    same("what needs attention", matters, ["nowhere has failed", "slow is quarantined"]);
    same("title", await page.title(), "(2) gateway");
    const first = page.getByRole("tabpanel", { name: "Failures" }).getByRole("row").nth(1);
    same("the latest failure", (await first.textContent()).includes("slow_compute"), true);
    await page.screenshot({ path: "status-trouble.png", fullPage: true });
    await page.locator("#attention-list").getByRole("link", { name: "Show slow" }).click();
    await server(page, "slow").getByText(/1 fault, the last/).waitFor();
  }),
);

await check(`the form of ${greet.tool} calls it and shows the answer, and the call is listed`, () =>
  open(async (page) => {
    const form = await openTool(page, "greet", greet.tool);
    await form.getByLabel("userName").fill("Ada");
    const posted = page.waitForResponse((answer) => answer.request().method() === "POST");
    await form.getByRole("button", { name: "Call" }).click();
    const answer = await posted;
    same("answer", await answer.json(), greet.structured);
    await form.getByText("Hello, Ada!").waitFor();
    const id = await answer.headerValue("x-request-id");
    await form.locator(".foot").getByText(id).waitFor();
    await page.getByRole("tab", { name: /^All/ }).click();
    await page.getByRole("tabpanel", { name: /^All/ }).locator(`code[title="${id}"]`).waitFor();
    await page.getByLabel("Server", { exact: true }).selectOption("greet");
    same("rows of others", await page.locator(".calls tr:visible", { hasText: "slow" }).count(), 0);
  }),
);

await check("a wrong argument is told at its field, by the page and by the gateway", () =>
  open(
    async (page) => {
      const add = await openTool(page, "math", "add");
      await add.getByLabel("a required").fill("1");
      await add.getByRole("button", { name: "Call" }).click();
      const missing = add.getByLabel("b required");
      same("described", await missing.getAttribute("aria-invalid"), "true");
      await add.getByText("Needs a value.").waitFor();
      same("focused", await missing.evaluate((field) => document.activeElement === field), true);

      // What the page would not send by itself.
      await page.route("**/greet/tools/*", (route) => route.continue({ postData: '{"userName":3}' }));
      const echo = await openTool(page, "greet", greet.tool);
      const field = echo.getByLabel("userName");
      await field.fill("Ada");
      await echo.getByRole("button", { name: "Call" }).click();
      await echo.locator(".field .error", { hasText: 'is not of type "string"' }).waitFor();
      same("invalid", await field.getAttribute("aria-invalid"), "true");
      await echo.getByText("Invalid arguments", { exact: true }).waitFor();
      await page.screenshot({ path: "status-wrong.png", fullPage: true });
    },
    { shown: [400] },
  ),
);

await check("a tool is called by keyboard alone, and a refresh leaves focus and text alone", () =>
  open(async (page) => {
    await page.keyboard.press("Tab");
    same("first comes", await page.evaluate(() => document.activeElement.textContent), "Skip to the content");
    await page.keyboard.press("Enter");
    await tabTo(page, "#server-greet > summary");
    await page.keyboard.press("Enter");
    await tabTo(page, "#server-greet .tool > summary");
    await page.keyboard.press("Enter");
    await tabTo(page, "#server-greet form input");
    await page.keyboard.type("Ad");
    await (await nextLook(page)).finished();
    await page.keyboard.type("a");
    same("typed", await page.evaluate(() => document.activeElement.value), "Ada");
    await page.keyboard.press("Enter");
    await server(page, "greet").getByText("Hello, Ada!").waitFor();
    await tabTo(page, '#server-greet [role="tab"]');
    await page.keyboard.press("ArrowRight");
    same("tab", await page.evaluate(() => document.activeElement.textContent), "VS Code");
    await server(page, "greet").getByRole("tabpanel", { name: "VS Code" }).waitFor();
  }),
);

await check("a button copies what connects a client", () =>
  open(async (page) => {
    await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
    await server(page, "greet").locator("> summary").click();
    await server(page, "greet").getByRole("button", { name: "Copy the lines for Claude Code" }).click();
    const copied = () => page.evaluate(() => navigator.clipboard.readText());
    same("copied", await copied(), `claude mcp add --transport http greet ${url}/greet/mcp`);
    await server(page, "greet").getByRole("button", { name: "Copy SHA-256" }).click();
    same("a whole hash", /^[0-9a-f]{64}$/.test(await copied()), true);
    await page.getByRole("status").getByText("Copied SHA-256").waitFor();
  }),
);

await check("a page that is paused asks nothing", () =>
  open(
    async (page) => {
      let looks = 0;
      page.on("request", (request) => {
        looks += request.url().endsWith("/admin/status") ? 1 : 0;
      });
      const again = nextLook(page);
      await page.clock.fastForward(6000);
      await again;
      await page.getByRole("button", { name: "Pause" }).click();
      const before = looks;
      await page.clock.fastForward(60_000);
      same("looks while paused", looks - before, 0);
      const resumed = nextLook(page);
      await page.getByRole("button", { name: "Resume" }).click();
      await resumed;
    },
    { before: (page) => page.clock.install() },
  ),
);

/** A tool with a field of every kind, whose plugin would like to be more than text. */
const made = {
  name: "made",
  description: "<img src=x onerror=alert(1)> & more",
  path: "/greet/tools/made",
  annotations: { destructiveHint: true },
  has_output_schema: false,
  inputSchema: {
    type: "object",
    required: ["title", "count"],
    $defs: { Color: { type: "string", enum: ["red", "green"] }, Loop: { type: "object", properties: { again: { $ref: "#/$defs/Loop" } } } },
    properties: {
      title: { type: "string", examples: ["An example"] },
      body: { type: "string", maxLength: 1000 },
      color: { $ref: "#/$defs/Color" },
      count: { type: "integer", minimum: 1, maximum: 9 },
      ratio: { type: ["number", "null"] },
      loud: { type: "boolean", default: true },
      sure: { type: "boolean" },
      tags: { type: "array", items: { type: "string" } },
      place: { type: "object", required: ["city"], properties: { city: { type: "string" }, zip: { type: "string" } } },
      rest: { type: "array", items: { type: "object" } },
      loop: { $ref: "#/$defs/Loop" },
    },
  },
};

/** The gateway's state, with that tool in the place of those of greet. */
async function withMadeTool(page) {
  await page.route("**/admin/status", async (route) => {
    const told = await (await route.fetch()).json();
    told.servers[0].tools = [made];
    await route.fulfill({ json: told });
  });
  await page.route("**/greet/tools/made", (route) => route.fulfill({ json: { sent: route.request().postData() } }));
}

await check("every kind of field sends what its schema asks for", () =>
  open(
    async (page) => {
      const form = await openTool(page, "greet", "made");
      await form.locator("summary").getByText(made.description).waitFor();
      await form.getByText("may destroy", { exact: false }).first().waitFor();
      const send = async () => {
        const posted = page.waitForRequest((request) => request.method() === "POST");
        await form.getByRole("button", { name: /^Call/ }).click();
        return JSON.parse((await posted).postData());
      };
      await form.getByLabel("count").fill("3");
      same("what is filled in", await send(), { title: "An example", count: 3, loud: true });
      await form.getByLabel("body").fill("two\nlines");
      await form.getByLabel("color").selectOption("green");
      await form.getByLabel("ratio").fill("0.5");
      await form.getByLabel("loud").uncheck();
      await form.getByLabel("sure").selectOption("false");
      await form.getByRole("button", { name: "Add to tags" }).click();
      await page.keyboard.type("one");
      await form.getByRole("button", { name: "Add to tags" }).click();
      await page.keyboard.type("two");
      await form.getByRole("button", { name: "Remove tags 1" }).click();
      await form.getByLabel("city").fill("Berlin");
      await form.getByLabel("rest").fill('[{"any": 1}]');
      const all = {
        title: "An example",
        count: 3,
        body: "two\nlines",
        color: "green",
        ratio: 0.5,
        loud: false,
        sure: false,
        tags: ["two"],
        place: { city: "Berlin" },
        rest: [{ any: 1 }],
      };
      same("all of it", await send(), all);
      await page.screenshot({ path: "status-fields.png", fullPage: true });

      await form.getByRole("button", { name: "Edit as JSON" }).click();
      const text = form.getByLabel("Arguments as JSON");
      same("as JSON", JSON.parse(await text.inputValue()), all);
      await text.fill('{"title": "x", "count": 12345678901234567890}');
      const posted = page.waitForRequest((request) => request.method() === "POST");
      await form.getByRole("button", { name: /^Call/ }).click();
      same("as it was typed", (await posted).postData(), '{"title": "x", "count": 12345678901234567890}');
      await text.fill('{"title": "y", "count": 4}');
      await form.getByRole("button", { name: "Edit as JSON" }).click();
      same("back in its field", await form.getByLabel("title").inputValue(), "y");
    },
    { before: withMadeTool },
  ),
);

for (const [width, height] of [[1600, 1000], [1280, 900], [390, 844], [360, 740]]) {
  for (const colorScheme of ["light", "dark"]) {
    await check(`it is fit for everybody at ${width} px, ${colorScheme}`, () =>
      open(
        async (page) => {
          const form = await openTool(page, "greet", greet.tool);
          await form.getByLabel("userName").fill("Ada");
          await form.getByRole("button", { name: "Call" }).click();
          await form.getByText("Hello, Ada!").waitFor();
          await server(page, "nowhere").locator("> summary").click();
          same("violations", await violations(page), []);
          const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
          same("pixels beyond the edge", over, 0);
          await page.screenshot({ path: `status-${width}-${colorScheme}.png`, fullPage: true });
        },
        {
          before: async (page) => {
            await page.setViewportSize({ width, height });
            await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
          },
        },
      ),
    );
  }
}

await close();
