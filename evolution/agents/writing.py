"""How an agent is asked to write its change: what it is told of the form, and the JSON schema of its reply."""

from typing import Any

from evolution.agents.conversation import PROMPTS

EDITS, DIFF, FILE, CHUNKS = "edits", "diff", "file", "chunks"  # as evolution.models.Mode has them

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_OPTIONAL: Schema = {"type": ["string", "null"]}
_REASONS: dict[str, Schema] = {"hypothesis": _TEXT, "rationale": _TEXT, "expected": _TEXT}


def _object(properties: dict[str, Schema]) -> Schema:
    """Strict structured output wants every key required, and no other."""
    return {
        "type": "object", "properties": properties, "required": list(properties), "additionalProperties": False,
    }


def _list(of: dict[str, Schema]) -> Schema:
    return {"type": "array", "items": _object(of)}


SCHEMAS: dict[str, Schema] = {
    EDITS: _object({**_REASONS, "edits": _list(
        {"path": _TEXT, "search": _OPTIONAL, "replace": _OPTIONAL, "content": _OPTIONAL}
    )}),
    DIFF: _object({**_REASONS, "diff": _TEXT}),
    FILE: _object({**_REASONS, "files": _list({"path": _TEXT, "content": _TEXT})}),
    CHUNKS: _object({**_REASONS, "content": _OPTIONAL}),
}
PROMPT = {EDITS: "answer_edits.md", DIFF: "answer_diff.md", FILE: "answer_file.md", CHUNKS: "answer_chunk.md"}


def response_format(mode: str) -> Schema:
    """What a server that knows structured output is asked for."""
    return {"type": "json_schema", "json_schema": {"name": "proposal", "strict": True, "schema": SCHEMAS[mode]}}


def form(mode: str) -> str:
    """What the model is told about the form of its reply."""
    return (PROMPTS / PROMPT[mode]).read_text(encoding="utf-8")
