"""The API's documentation as one page of plain HTML, from its OpenAPI document: nothing is loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any


def docs_page(document: dict[str, Any]) -> str:
    """The page. Nothing in it is a script."""
    title = escape(document["info"]["title"])
    return "".join(
        [
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>',
            '<meta name="viewport" content="width=device-width"><link rel="stylesheet" href="docs.css">',
            f"<main><h1>{title}</h1>",
            f"<p>{escape(document['info'].get('description', ''))}</p>",
            '<p>As a document for tools: <a href="openapi.json">openapi.json</a></p>',
            *_operations(document),
            "</main></html>",
        ]
    )


def _operations(document: dict[str, Any]) -> Iterator[str]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield f"<h2><code>{method.upper()} {escape(path)}</code></h2>"
            yield f"<p>{escape(operation.get('description', ''))}</p>"
            if operation.get("security"):
                yield "<p>Needs a bearer token: <code>Authorization: Bearer …</code></p>"
            given = [
                (f"<code>{escape(one['name'])}</code> ({one['in']})", escape(one.get("description", "")))
                for one in operation.get("parameters", [])
            ]
            yield from _table("Parameter", given)
            answers = operation["responses"].items()
            yield from _table("Answer", [(escape(code), escape(one["description"])) for code, one in answers])


def _table(heading: str, rows: list[tuple[str, str]]) -> Iterator[str]:
    if rows:
        yield f"<table><tr><th>{heading}<th>"
        yield from (f"<tr><td>{name}<td>{text}" for name, text in rows)
        yield "</table>"
