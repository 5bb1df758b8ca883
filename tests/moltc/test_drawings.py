"""Which test pairs are shown, and the page that shows them."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moltc.drawings import chosen_pairs, describe, distinct_molecules, png, svg, write_pairs_page

SMILES = ("CCO", "O", "c1ccccc1", "CC(=O)O", "F[B-](F)(F)F.[Na+]")


def answered(truth, value, *, answer: str = "value", **columns) -> pl.DataFrame:
    """A table of predictions; molecules repeat after five pairs."""
    a = [SMILES[n % 5] for n in range(len(truth))]
    b = [SMILES[(n + 1) % 5] for n in range(len(truth))]
    return pl.DataFrame({"smiles_a": a, "smiles_b": b, "truth": truth, answer: value, **columns})


# -- drawings --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("smiles", SMILES)
def test_molecule_is_drawn(smiles):
    shapes = svg(smiles)
    assert shapes.count("<path") > 0
    assert not re.search(r"<\?xml|<svg|</svg|class=|<rect", shapes)
    assert png(smiles).startswith(b"\x89PNG")


@pytest.mark.parametrize("draw", [svg, png])
def test_smiles_that_cannot_be_read_is_named(draw):
    with pytest.raises(ValueError, match=r"'C\(C' cannot be drawn"):
        draw("C(C")


# -- choice ----------------------------------------------------------------------------------------------


def test_half_are_the_worst_in_order_of_error():
    frame = answered([0.0] * 10, [1.0, -9.0, 2.0, 8.0, 0.0, -3.0, 4.0, 5.0, 6.0, 7.0])
    chosen = chosen_pairs(frame, 6)
    assert chosen["chosen"].to_list() == ["worst"] * 3 + ["sample"] * 3
    assert chosen["value"].head(3).to_list() == [-9.0, 8.0, 7.0]
    assert chosen["error"].head(3).to_list() == [9.0, 8.0, 7.0]
    said = "6 of 10 test pairs: the 3 with the largest error, and a sample drawn with the run's seed."
    assert describe(chosen, 10) == said


def test_small_tables_are_shown_whole():
    chosen = chosen_pairs(answered([0.0] * 3, [1.0, 3.0, 2.0]), 200)
    assert chosen["value"].to_list() == [3.0, 2.0, 1.0]
    assert describe(chosen, 3) == "All 3 test pairs, the 2 with the largest error first."


def test_sample_depends_on_the_seed_alone():
    frame = answered([0.0] * 100, [float(n) for n in range(100)])
    samples = [chosen_pairs(frame, 20, seed)["value"].to_list() for seed in (1, 1, 2)]
    assert samples[0] == samples[1] != samples[2]


def test_error_of_yes_or_no_is_the_distance_of_its_probability():
    frame = answered([1.0, 0.0, 1.0], [0.9, 0.8, 0.4], answer="probability")
    assert chosen_pairs(frame, 3)["error"].to_list() == pytest.approx([0.8, 0.6, 0.1])


def test_wrong_classes_come_first_and_the_surest_of_them_at_the_top():
    chosen = chosen_pairs(
        answered([3.0, 3.0, 3.0, 3.0], [0.4, 0.9, 0.6, 0.8], answer="probability", **{"class": [1, 3, 3, 2]}),
        4,
    )
    assert chosen["error"].to_list() == [1.0, 1.0, 0.0, 0.0]
    assert chosen["probability"].to_list()[:2] == [0.8, 0.4]
    assert chosen_pairs(chosen.drop("error", "chosen").tail(2), 1)["probability"].to_list() == [0.6]


@pytest.mark.parametrize(
    "frame",
    [
        answered([float("nan")] * 4, [1.0] * 4),
        answered([float("nan")] * 4, [0.5] * 4, answer="probability", **{"class": [1] * 4}),
        answered([None] * 4, ["a caption"] * 4, answer="text").drop("truth"),
    ],
    ids=["unknown-number", "unknown-class", "texts"],
)
def test_answers_without_error_come_as_a_sample(frame):
    chosen = chosen_pairs(frame, 3)
    assert chosen["chosen"].to_list() == ["sample"] * 3
    assert chosen["error"].null_count() == 3
    assert describe(chosen, 4) == "3 of 4 test pairs: a sample drawn with the run's seed."


@settings(max_examples=25, deadline=None)
@given(
    values=st.lists(st.floats(-50, 50) | st.just(float("nan")), min_size=1, max_size=30),
    count=st.integers(1, 40),
)
def test_no_pair_twice_and_none_worse_is_left_out(values, count):
    """Promise: the choice is a part of the table, and no pair outside it is worse than its worst half."""
    frame = answered([0.0] * len(values), values, pair_id=list(range(len(values))))
    chosen = chosen_pairs(frame, count)
    assert chosen.height == min(count, frame.height) == chosen["pair_id"].n_unique()
    left = frame.filter(~pl.col("pair_id").is_in(chosen["pair_id"].to_list()))["value"].abs().fill_nan(None)
    worst = chosen.filter(pl.col("chosen") == "worst")["error"]
    if len(worst) and left.drop_nulls().len():
        assert worst.min() >= left.max()


def test_at_least_one_pair_is_chosen():
    with pytest.raises(ValueError, match="at least 1, not 0"):
        chosen_pairs(answered([0.0], [1.0]), 0)


# -- page ------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Ids, references and open elements of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.references: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        named = dict(attrs)
        self.ids += [named["id"]] if "id" in named else []
        self.references += [value for name, value in attrs if name in ("href", "src")]


def written(tmp_path, frame: pl.DataFrame) -> str:
    file = write_pairs_page(tmp_path / "pairs.html", frame, title="pairs <1>", notes=["a & b"])
    return file.read_text(encoding="utf-8")


def test_page_draws_each_molecule_once_and_refers_to_nothing_else(tmp_path):
    """Promise: the page is self-contained."""
    frame = chosen_pairs(answered([0.0] * 12, [float(n) for n in range(12)]), 12)
    page = Page(written(tmp_path, frame))
    assert page.tags.count("symbol") == len(page.ids) == len(set(page.ids)) == len(SMILES)
    assert page.tags.count("use") == 24
    assert set(page.references) == {f"#{name}" for name in page.ids}
    assert page.tags.count("tr") == 13


def test_page_shows_the_figures_and_escapes_every_text(tmp_path):
    frame = answered(
        [1.0], [2.5], text=["<script>alert(1)</script>"], low=[float("nan")], high=[None], secret=["unshown"]
    )
    text = written(tmp_path, chosen_pairs(frame, 1))
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "pairs &lt;1&gt;" in text
    assert "a &amp; b" in text
    assert '<td class="number">1.5</td>' in text
    assert text.count("<td>–</td>") == 2
    assert "unshown" not in text


@pytest.mark.parametrize("absent", [None, ""], ids=["null", "empty"])
def test_pair_of_one_molecule_is_drawn_alone(tmp_path, absent):
    frame = pl.DataFrame({"smiles_a": ["CCO"], "smiles_b": [absent], "text": ["a caption"]})
    assert distinct_molecules(frame) == ["CCO"]
    assert Page(written(tmp_path, frame)).tags.count("use") == 1
