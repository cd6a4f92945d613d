"""Python `mcp` 2.x against the everything plugin: questions, progress, tasks and change notices, in both eras."""

import json
import uuid
from typing import Any

import anyio
import httpx2 as httpx
from mcp import Client
from mcp.shared.subscriptions import ResourceUpdated, ToolsListChanged
from mcp_types import ElicitResult

from report import URL, Report, same

EVERYTHING = URL + "/everything/mcp"
TASKS = "io.modelcontextprotocol/tasks"
META = "io.modelcontextprotocol/"
# What the user of these tests answers, by the question's one field.
ANSWERS = {"day": "2026-07-28", "guests": 12, "send": True}
DEEDS = ["hall looked for", "hall reserved", "invitations sent"]


def answer(schema: dict[str, Any]) -> dict[str, Any]:
    return {field: ANSWERS[field] for field in schema["properties"]}


async def user(_context: object, params: Any) -> ElicitResult:
    return ElicitResult(action="accept", content=answer(params.requested_schema))


async def check_ledger(client: Client, reference: str) -> None:
    ledger = await client.read_resource(f"party://ledger/{reference}", cache_mode="bypass")
    same("what was done, each once", json.loads(ledger.contents[0].text), DEEDS)


def check_plan(plan: dict[str, Any] | None) -> None:
    same("plan", plan, {"day": "2026-07-28", "guests": 12, "invited": True, "done": DEEDS})


async def plan_party(mode: str) -> str:
    """Two questions at once, a third after them, progress between, each deed once."""
    steps: list[float] = []

    async def progress(done: float, _total: float | None, _message: str | None) -> None:
        steps.append(done)

    with anyio.fail_after(30):
        async with Client(EVERYTHING, mode=mode, elicitation_callback=user) as client:
            reference = uuid.uuid4().hex
            called = await client.call_tool("plan_party", {"reference": reference}, progress_callback=progress)
            same("isError", bool(called.is_error), False)
            check_plan(called.structured_content)
            await check_ledger(client, reference)
            if steps[-1] != 3.0 or steps[0] != 1.0:
                raise AssertionError(f"progress: {steps}")
            return client.protocol_version


async def plan_party_as_a_task() -> str:
    """The same tool in the background. The SDK has no tasks, so this speaks the protocol itself."""
    meta = {
        META + "protocolVersion": "2026-07-28",
        META + "clientCapabilities": {"elicitation": {"form": {}}, "extensions": {TASKS: {}}},
    }

    async def ask(http: httpx.AsyncClient, method: str, params: dict[str, Any]) -> dict[str, Any]:
        headers = {
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": "2026-07-28",
            "mcp-method": method,
            "mcp-name": params.get("name") or params["taskId"],
        }
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
        reply = (await http.post(EVERYTHING, headers=headers, json=message)).json()
        if "error" in reply:
            raise AssertionError(f"{method}: {reply['error']}")
        return reply["result"]

    rounds = 0
    with anyio.fail_after(30):
        async with httpx.AsyncClient() as http:
            reference = uuid.uuid4().hex
            arguments = {"reference": reference, "background": True}
            task = await ask(http, "tools/call", {"name": "plan_party", "arguments": arguments})
            same("resultType", task["resultType"], "task")
            while task["status"] not in ("completed", "failed", "cancelled"):
                if requests := task.get("inputRequests"):
                    rounds += 1
                    responses = {
                        key: {"action": "accept", "content": answer(request["params"]["requestedSchema"])}
                        for key, request in requests.items()
                    }
                    await ask(http, "tasks/update", {"taskId": task["taskId"], "inputResponses": responses})
                await anyio.sleep(0.02)
                task = {"taskId": task["taskId"], **await ask(http, "tasks/get", {"taskId": task["taskId"]})}
            same("status", task["status"], "completed")
            check_plan(task["result"]["structuredContent"])
        async with Client(EVERYTHING) as client:
            await check_ledger(client, reference)
    return f"{rounds} rounds of input"


async def changes_reach_a_listener() -> None:
    with anyio.fail_after(30):
        async with Client(EVERYTHING, mode="2026-07-28") as client:
            async with client.listen(
                tools_list_changed=True, resource_subscriptions=["test://watched-resource"]
            ) as subscription:
                await client.call_tool("test_trigger_tool_change", {})
                event = await anext(subscription)
                same("event", isinstance(event, ToolsListChanged), True)
                await client.call_tool("trigger_resource_change", {})
                event = await anext(subscription)
                same("event", isinstance(event, ResourceUpdated) and event.uri, "test://watched-resource")


async def changes_reach_a_session() -> None:
    seen: list[str] = []
    arrived = anyio.Event()

    async def message(incoming: Any) -> None:
        method = getattr(incoming, "method", None) or getattr(getattr(incoming, "root", None), "method", "")
        seen.append(method)
        if {"notifications/tools/list_changed", "notifications/resources/updated"} <= set(seen):
            arrived.set()

    with anyio.fail_after(30):
        async with Client(EVERYTHING, mode="legacy", message_handler=message) as client:
            await client.subscribe_resource("test://watched-resource")
            await client.call_tool("test_trigger_tool_change", {})
            await client.call_tool("trigger_resource_change", {})
            await arrived.wait()


async def main() -> None:
    report = Report()
    for mode in ("legacy", "2026-07-28"):
        await report.check(f"mcp 2.x, {mode}: plan_party asks, reports and does each deed once", lambda: plan_party(mode))
    await report.check("2026-07-28: plan_party as a task", plan_party_as_a_task)
    await report.check("mcp 2.x, 2026-07-28: changes reach subscriptions/listen", changes_reach_a_listener)
    await report.check("mcp 2.x, legacy: changes reach the session's stream", changes_reach_a_session)
    report.end()


anyio.run(main)
