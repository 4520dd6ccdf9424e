"""The JSON objects that collections and shards carry: checked, and kept as texts. Pure."""

from __future__ import annotations

import json
from typing import Any

from orionfs.server.problems import invalid

METADATA_MAX_BYTES = 262_144


def encode_metadata(metadata: object) -> str:
    """A JSON object as it is kept. Refusal 422, `metadata_too_large` above 256 kB of compact UTF-8."""
    if metadata is None:
        metadata = {}
    if not isinstance(metadata, dict):
        raise invalid("metadata is a JSON object")
    try:
        text = json.dumps(metadata, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        size_bytes = len(text.encode())
    except (ValueError, RecursionError) as error:
        raise invalid("metadata holds what is no JSON or no Unicode text") from error
    if size_bytes > METADATA_MAX_BYTES:
        raise invalid(
            f"metadata has at most {METADATA_MAX_BYTES} bytes as JSON, not {size_bytes}", "metadata_too_large"
        )
    return text


def decode_metadata(text: str | None) -> dict[str, Any]:
    """The object that `encode_metadata` kept; nothing kept is an empty one."""
    metadata: dict[str, Any] = json.loads(text or "{}")
    return metadata
