"""The OpenAPI documents are valid 3.1, and a tool call made from what they say gives what they promise."""

import json
import urllib.error
import urllib.request

import anyio
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from report import CALLS, URL, Report, same


def fetch(path: str, body: dict | None = None) -> tuple[int, str, object]:
    """Status, content type and JSON of the answer, whatever the status is."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers.get_content_type(), json.load(answer)
    except urllib.error.HTTPError as answer:
        return answer.code, answer.headers.get_content_type(), json.load(answer)


async def is_valid(path: str) -> str:
    status, content_type, document = fetch(path)
    same("status", status, 200)
    same("content type", content_type, "application/json")
    same("OpenAPI 3.1", document["openapi"].rpartition(".")[0], "3.1")
    OpenAPIV31SpecValidator(document).validate()
    return f"{len(document['paths'])} paths"


async def names_all(calls: list[dict]) -> None:
    paths = fetch("/openapi.json")[2]["paths"]
    for call in calls:
        path = f"{call['prefix']}/tools/{call['tool']}"
        if "post" not in paths.get(path, {}):
            raise AssertionError(f"no POST {path} in /openapi.json")


async def call_as_documented(call: dict, arguments: dict, expected_status: int) -> str:
    path = f"{call['prefix']}/tools/{call['tool']}"
    document = fetch("/openapi.json")[2]
    status, content_type, answer = fetch(path, arguments)
    same("status", status, expected_status)
    if expected_status == 200:
        same("answer", answer, call["structured"])
    responses = document["paths"][path]["post"]["responses"]
    response = resolve(document, responses[str(status)])
    schema = response["content"][content_type]["schema"]
    registry = Registry().with_resource("urn:document", Resource(document, DRAFT202012))
    absolute = json.loads(json.dumps(schema).replace('"#/', '"urn:document#/'))
    Draft202012Validator(absolute, registry=registry).validate(answer)
    return f"{status} {content_type}"


def resolve(document: dict, node: dict) -> dict:
    while "$ref" in node:
        target = document
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step.replace("~1", "/").replace("~0", "~")]
        node = target
    return node


async def main() -> None:
    report = Report()
    for path in ("/openapi.json", *(call["prefix"] + "/openapi.json" for call in CALLS)):
        await report.check(f"{path} is a valid OpenAPI 3.1 document", lambda: is_valid(path))
    await report.check("/openapi.json names every tool", lambda: names_all(CALLS))
    for call in CALLS:
        await report.check(
            f"{call['tool']} over REST answers as documented",
            lambda: call_as_documented(call, call["arguments"], 200),
        )
    await report.check(
        "arguments that do not fit are refused as documented",
        lambda: call_as_documented(CALLS[0], {"userName": 1}, 400),
    )
    report.end()


anyio.run(main)
