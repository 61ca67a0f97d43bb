"""JSON from anywhere: of a bounded size, and not nested until Python's stack ends."""

import json
from pathlib import Path
from typing import Any

_LARGEST = 50_000_000  # bytes


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no JSON in UTF-8, larger than 50 MB, or nested some thousand deep.
    """
    with path.open("rb") as file:
        data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise ValueError(f"it has more than {_LARGEST:,} bytes")
    try:
        return json.loads(data.decode("utf-8-sig"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
