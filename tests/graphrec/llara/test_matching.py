"""Which candidate a text names."""

from __future__ import annotations

import pytest

from graphrec.llara.matching import answer_metrics, match_title

TITLES = ["Heat", "Fargo", "Batman", "Batman & Robin", "It", "8½ (Otto e mezzo)", "M*A*S*H"]


@pytest.mark.parametrize(
    ("text", "strict", "reference"),
    [
        pytest.param("Heat", 0, 0, id="title"),
        pytest.param("  fargo \nHeat", 1, 1, id="case-blanks-next-line"),
        pytest.param("Batman & Robin", 3, None, id="title-within-a-title"),
        pytest.param("I would say Batman & Robin.", 3, None, id="longest-of-nested"),
        pytest.param("Batman, or Batman & Robin", None, None, id="nested-and-alone"),
        pytest.param("Heat or Fargo", None, None, id="two"),
        pytest.param("Solaris", None, None, id="none"),
        pytest.param("Heathers", None, 0, id="within-a-word"),
        pytest.param("Visitors", None, 4, id="short-title-within-a-word"),
        pytest.param("see M*A*S*H!", 6, 6, id="signs-of-patterns"),
        pytest.param("8½  (OTTO e Mezzo)", 5, None, id="unicode-form-and-blanks"),
        pytest.param("\nHeat", None, None, id="empty-first-line"),
        pytest.param("", None, None, id="nothing"),
    ],
)
def test_matchers(text: str, strict: int | None, reference: int | None) -> None:
    assert match_title(text, TITLES) == (() if strict is None else (strict,))
    assert match_title(text, TITLES, "reference") == (() if reference is None else (reference,))


def test_candidates_of_one_title_are_named_together() -> None:
    titles = ["Chasing Amy", "Heat", "chasing amy"]
    assert match_title("Chasing Amy", titles) == (0, 2)
    assert match_title("Chasing Amy", titles, "reference") == ()
    assert answer_metrics(["Chasing Amy"], [titles], [2]).hit_ratio == 1


def test_invalid_answers_are_misses() -> None:
    found = answer_metrics(["Heat", "Fargo", "no idea"], [["Heat", "Fargo"]] * 3, [0, 0, 0])
    assert (found.valid_ratio, found.hit_ratio, found.count) == (2 / 3, 1 / 3, 3)
    assert found.hits_among_valid == pytest.approx(0.5)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="candidate 1 has no title"):
        match_title("Heat", ["Heat", " "])
    with pytest.raises(ValueError, match="at least one"):
        answer_metrics([], [], [])
