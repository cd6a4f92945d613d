"""Python `mcp` 1.x: sessions, as every client of 2025 has them."""

import anyio
from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client

from report import CALLS, URL, Report, check_result, same


async def list_and_call(url: str, call: dict) -> str:
    with anyio.fail_after(30):
        async with streamablehttp_client(url) as (read, write, _), ClientSession(read, write) as session:
            version = (await session.initialize()).protocolVersion
            same("protocol version", version, "2025-11-25")
            tools = {tool.name: tool for tool in (await session.list_tools()).tools}
            tool = tools[call["tool"]]
            same("required arguments", sorted(tool.inputSchema["required"]), sorted(call["arguments"]))
            result = await session.call_tool(call["tool"], call["arguments"])
            texts = [block.text for block in result.content if block.type == "text"]
            check_result(call, result.isError, texts, result.structuredContent)
            return version


async def main() -> None:
    report = Report()
    for call in CALLS:
        for path in (call["prefix"] + "/mcp", call["prefix"]):
            await report.check(
                f"mcp 1.x: list and call {call['tool']} at {path}",
                lambda: list_and_call(URL + path, call),
            )
    report.end()


anyio.run(main)
