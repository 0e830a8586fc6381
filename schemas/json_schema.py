"""The wire contract as JSON Schema (draft 2020-12), for other languages. `python -m schemas.json_schema` writes it.

Derived from the types that read and describe the records, so that there is one definition. What validates against the
schema of the input is read; what does not is a dead letter, or skipped for its `type`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import orjson
from pydantic import BaseModel

from schemas.codec import WireAction, WirePayload
from schemas.user_context import UserContext, VisitorContext

FOLDER = Path(__file__).with_name("json")
DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]

_ID_RANGE = {"minimum": -(2**63), "maximum": 2**64 - 1}  # a larger integer cannot be kept exactly and is refused

_PAYLOAD_NOTES = {
    "type": "Missing or null is `actions`. Records of another type are skipped.",
    "product_id": "The product that the session belongs to. Blanks around an id do not count; an empty one is none.",
    "session_id": "Key of the record. A payload without one is skipped.",
    "user_id": "Who is behind the session, once that is known.",
    "email": "The user's address, if known.",
    "conversation_id": "The chat conversation that the session is linked to.",
    "actions": "What happened, in order.",
    "count": "Not used: the actions are counted.",
    "forwarded_at": "Event time in Unix seconds. Missing, or ahead of the clock: the record's timestamp counts.",
}
_ACTION_NOTES = {
    "title": "The page or the element.",
    "description": "What the user did, in words. Stands in the context.",
    "canonical_url": "The address with variable parts taken out. Stands in the context.",
    "index": "Place of the action in the session, from 0. Stands in the context.",
    "type": "Kind of event, as pageview or click. Stands in the context.",
    "timestamp_start": "Unix seconds.",
    "timestamp_end": "Unix seconds.",
    "raw_url": "The address as it was seen.",
}


def documents() -> dict[str, bytes]:
    """File name to content, for every file in `schemas/json/`."""
    return {
        "actions_payload.schema.json": _encoded(_input_schema()),
        "user_context.schema.json": _encoded(_output_schema(UserContext)),
        "visitor_context.schema.json": _encoded(_output_schema(VisitorContext)),
    }


def write(folder: Path = FOLDER) -> None:
    """Bring the files up to date."""
    folder.mkdir(exist_ok=True)
    for name, content in documents().items():
        (folder / name).write_bytes(content)


def _input_schema() -> Schema:
    _, parts = msgspec.json.schema_components([WirePayload], ref_template="#/$defs/{name}")
    payload, action = parts[WirePayload.__name__], parts[WireAction.__name__]
    _describe(payload, _PAYLOAD_NOTES)
    _describe(action, _ACTION_NOTES)
    payload["properties"]["type"] = {"enum": ["actions", None], "description": _PAYLOAD_NOTES["type"]}
    payload["properties"]["actions"]["anyOf"][0]["items"] = {"$ref": "#/$defs/SlimAction"}
    payload["title"] = "ActionsPayload"
    payload["description"] = (
        "What somebody did in one session. Any field may be missing or null; unknown fields are ignored."
    )
    action["title"] = "SlimAction"
    action["description"] = "One action. Ids in here are ignored, whatever they hold: those of the payload count."
    return {"$schema": DIALECT, **payload, "$defs": {"SlimAction": action}}


def _describe(part: Schema, notes: dict[str, str]) -> None:
    del part["required"]
    for name, field in part["properties"].items():
        del field["default"]
        for option in field["anyOf"]:
            if option["type"] == "integer":
                option.update(_ID_RANGE)
        field["description"] = notes[name]


def _output_schema(model: type[BaseModel]) -> Schema:
    return {"$schema": DIALECT, **model.model_json_schema(mode="serialization")}


def _encoded(schema: Schema) -> bytes:
    return orjson.dumps(schema, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


if __name__ == "__main__":
    write()
