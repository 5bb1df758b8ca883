"""Items as pieces of a prompt."""

from __future__ import annotations

from typing import Any

import pytest

from graphrec.llara.items import item_pieces
from moltc.backbone.prompt import Soft


def test_forms() -> None:
    titles = ["Heat", "Fargo"]
    assert item_pieces(titles, "hybrid", first_slot=3) == [
        "Heat ",
        Soft("item", 3),
        ", Fargo ",
        Soft("item", 4),
    ]
    assert item_pieces(titles, "text")[1] == Soft("placeholder", 1)
    assert item_pieces(["", ""], "token") == [Soft("item", 1), ", ", Soft("item", 2)]


def test_refusals() -> None:
    unknown: Any = "index"
    with pytest.raises(ValueError, match="form='index' is not known"):
        item_pieces(["Heat"], unknown)
    with pytest.raises(ValueError, match="item 1 has no title to show"):
        item_pieces(["Heat", ""], "text")
