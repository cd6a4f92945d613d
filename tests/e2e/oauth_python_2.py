"""The OAuth client of Python `mcp` 2.x: from a 401 to a called tool, also if the first token lacks a scope."""

from urllib.parse import parse_qs, urlsplit

import anyio
import httpx2
from mcp import Client, MCPError
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientMetadata

from report import CALLS, URL, Report, check_result, root, same

MODES = ["auto", "legacy", "2026-07-28"]
HOME = "http://127.0.0.1:9/home"


class Memory:
    """Where the client keeps what it was given."""

    def __init__(self) -> None:
        self.tokens = None
        self.client = None
        # The scopes of each token, the first one's first.
        self.granted: list[str] = []

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens
        self.granted.append(tokens.scope)

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


class Browser:
    """Goes where a user would be sent, agrees to everything, and tells where it is sent back to."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.answer: dict[str, str] = {}

    async def visit(self, url: str) -> None:
        self.asked.append(parameters(url))
        async with httpx2.AsyncClient() as client:
            response = await client.get(url)
        same("status of the authorization endpoint", response.status_code, 302)
        location = response.headers["location"]
        same("where the code is sent", location.split("?")[0], HOME)
        self.answer = parameters(location)

    async def come_back(self) -> AuthorizationCodeResult:
        return AuthorizationCodeResult(**self.answer)

    def scopes(self) -> list[list[str]]:
        """What was asked for each time, sorted."""
        return [sorted(asked["scope"].split()) for asked in self.asked]


def parameters(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def protected(url: str, browser: Browser, memory: Memory):
    """A transport that asks `browser` for access when it has to."""
    metadata = OAuthClientMetadata(client_name="e2e", redirect_uris=[HOME])
    provider = OAuthClientProvider(url, metadata, memory, browser.visit, browser.come_back)
    return streamable_http_client(url, http_client=create_mcp_http_client(auth=provider))


async def called(client: Client, call: dict) -> None:
    result = await client.call_tool(call["tool"], call["arguments"])
    texts = [block.text for block in result.content if block.type == "text"]
    check_result(call, result.is_error, texts, result.structured_content)


async def from_401_to_a_tool(path: str, mode: str) -> str:
    browser, memory = Browser(), Memory()
    call = next(call for call in CALLS if call["prefix"] == "/greet")
    with anyio.fail_after(30):
        async with Client(protected(URL + path, browser, memory), mode=mode) as client:
            await client.list_tools()
            await called(client, call)
    same("scopes asked for", browser.scopes(), [["greet"]])
    same("resource", browser.asked[0]["resource"], URL + path)
    with anyio.fail_after(30):
        async with Client(protected(URL + path, browser, memory), mode=mode) as client:
            await called(client, call)
    same("times that a user was asked", len(browser.asked), 1)
    return memory.tokens.scope


async def step_up(mode: str) -> str:
    """The first token is for `math` alone, although more was asked for; the server refuses it and says what it needs."""
    browser, memory = Browser(), Memory()
    call = next(call for call in CALLS if call["prefix"] == "/calc")

    async def connect_and_call() -> None:
        with anyio.fail_after(30):
            async with Client(protected(URL + "/calc/mcp", browser, memory), mode=mode) as client:
                await called(client, call)
                await called(client, call)

    connections = 1
    try:
        await connect_and_call()
    except BaseExceptionGroup as error:
        # The client gets itself one token for each request: what is asked without any, then with the first, fails. It
        # keeps the token, and asks for more at its next request.
        same("what the first connection ends with", type(root(error)), MCPError)
        same("scopes granted by then", memory.granted, ["math"])
        connections = 2
        await connect_and_call()
    same("scopes asked for", browser.scopes(), [["math", "math:extra"]] * 2)
    same("scopes granted", memory.granted, ["math", "math math:extra"])
    return f"{memory.tokens.scope}; connections: {connections}"


async def main() -> None:
    report = Report()
    for mode in MODES:
        for path in ("/greet/mcp", "/greet"):
            await report.check(
                f"mcp 2.x, {mode}: from 401 to a called tool at {path}",
                lambda: from_401_to_a_tool(path, mode),
            )
        await report.check(f"mcp 2.x, {mode}: a token that lacks a scope, and one that has it", lambda: step_up(mode))
    report.end()


anyio.run(main)
