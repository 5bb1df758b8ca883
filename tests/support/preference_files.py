"""Records of preferences, in memory and on disk, for tests of what is made of them."""

from __future__ import annotations

import json
from pathlib import Path

from data_prep.preferences import PreferencePlan, Preferences, collect, record_source


def pairs(count: int) -> list[dict]:
    """Pairs under different prompts."""
    return [{"prompt": f"p{n}", "chosen": f"a{n}", "rejected": f"b{n}"} for n in range(count)]


def read(*records: object, plan: PreferencePlan | None = None) -> Preferences:
    """The table of some records."""
    return collect([record_source(records)], plan or PreferencePlan())


def write_lines(path: Path, *records: object) -> Path:
    """Records as a JSONL file."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path
