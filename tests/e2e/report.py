"""What the Python checks share: the expected calls, and one line per check."""

import json
import sys
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

CALLS = json.loads(Path(__file__).with_name("calls.json").read_text())
URL = sys.argv[1]


class Report:
    """Prints `ok` or `FAIL` lines; `end` turns them into the exit code."""

    def __init__(self) -> None:
        self.failed = False

    async def check(self, what: str, body: Callable[[], Awaitable[str | None]]) -> None:
        """Runs `body`, which may return a fact worth printing. Whatever it raises fails this check alone."""
        try:
            fact = await body()
            print(f"ok   {what}" + (f" ({fact})" if fact else ""), flush=True)
        except BaseException as error:  # Task groups wrap what went wrong in groups that are no `Exception`.
            if isinstance(error, KeyboardInterrupt):
                raise
            self.failed = True
            print(f"FAIL {what}: {first_line(root(error))}", flush=True)
            traceback.print_exc()

    def end(self) -> None:
        sys.exit(1 if self.failed else 0)


def root(error: BaseException) -> BaseException:
    """The first error inside of nested groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def first_line(error: BaseException) -> str:
    return (f"{type(error).__name__}: {error}").splitlines()[0]


def same(what: str, found: object, expected: object) -> None:
    """Like `assert found == expected`, but says both."""
    if found != expected:
        raise AssertionError(f"{what}: found {found!r}, expected {expected!r}")


def check_result(call: dict, is_error: bool | None, texts: list[str], structured: dict | None) -> None:
    """The result of a tool call, whatever class the SDK puts it in."""
    same("isError", bool(is_error), False)
    same("structuredContent", structured, call["structured"])
    if call["text"] is not None:
        same("text content", texts, [call["text"]])
