"""Python `mcp` 2.x: it speaks both eras of the protocol, and chooses by itself in mode `auto`."""

import anyio
from mcp import Client

from report import CALLS, URL, Report, check_result, same

MODES = {"auto": "2026-07-28", "legacy": "2025-11-25", "2026-07-28": "2026-07-28"}


async def list_and_call(url: str, mode: str, call: dict) -> str:
    with anyio.fail_after(30):
        async with Client(url, mode=mode) as client:
            same("protocol version", client.protocol_version, MODES[mode])
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            tool = tools[call["tool"]]
            same("required arguments", sorted(tool.input_schema["required"]), sorted(call["arguments"]))
            result = await client.call_tool(call["tool"], call["arguments"])
            texts = [block.text for block in result.content if block.type == "text"]
            check_result(call, result.is_error, texts, result.structured_content)
            return client.protocol_version


async def main() -> None:
    report = Report()
    for mode in MODES:
        for call in CALLS:
            for path in (call["prefix"] + "/mcp", call["prefix"]):
                await report.check(
                    f"mcp 2.x, {mode}: list and call {call['tool']} at {path}",
                    lambda: list_and_call(URL + path, mode, call),
                )
    report.end()


anyio.run(main)
