"""What one record of each format says, and what is wrong with bad ones."""

from __future__ import annotations

import json

import pytest
from preference_files import pairs, read

from data_prep.errors import DataError
from data_prep.preference_records import BadRow
from data_prep.preferences import PreferencePlan
from data_prep.readers.preferences import FORMATS, detect_format

USER, REPLY, OTHER = (
    {"role": "user", "content": "a colour?"},
    {"role": "assistant", "content": "blue"},
    {"role": "assistant", "content": "seven"},
)
DIALOGUE = json.dumps([USER])
RECORDS = {
    "pair": ({"prompt": "p", "chosen": " a", "rejected": " b"}, "p", [" a", " b"], "pair"),
    "list": ({"prompt": "p", "chosen": "a", "rejected": ["b", "c"]}, "p", ["a", "b", "c"], "listwise"),
    "columns": (
        {"prompt": "p", "chosen": "a", "rejected10": "d", "rejected2": "c", "rejected1": "b"},
        "p",
        ["a", "b", "c", "d"],
        "listwise",
    ),
    "implicit_text": (
        {"chosen": "It is a blue one.", "rejected": "It is a blunt one."},
        "It is a",
        [" blue one.", " blunt one."],
        "pair",
    ),
    "explicit_messages": (
        {"prompt": [USER], "chosen": [REPLY], "rejected": [OTHER]},
        DIALOGUE,
        ["blue", "seven"],
        "pair",
    ),
    "implicit_messages": (
        {"chosen": [USER, REPLY], "rejected": [USER, OTHER]},
        DIALOGUE,
        ["blue", "seven"],
        "pair",
    ),
    "text_prompt_and_dialogues": (
        {"prompt": "a colour?", "chosen": [USER, REPLY], "rejected": [USER, OTHER]},
        DIALOGUE,
        ["blue", "seven"],
        "pair",
    ),
    "several_dialogues": (
        {"prompt": [USER], "chosen": [REPLY], "rejected": [[OTHER], [OTHER | {"content": "no"}]]},
        DIALOGUE,
        ["blue", "seven", "no"],
        "listwise",
    ),
    "unpaired": ({"prompt": "p", "completion": "a", "label": True}, "p", ["a"], "unpaired"),
    "unpaired_messages": ({"messages": [USER, REPLY], "label": False}, DIALOGUE, ["blue"], "unpaired"),
    "demonstration": ({"prompt": "p", "completion": "a"}, "p", ["a"], "unpaired"),
    "hh": (
        {"chosen": "\n\nHuman: hi\n\nAssistant: a b", "rejected": "\n\nHuman: hi\n\nAssistant: a c"},
        "\n\nHuman: hi\n\nAssistant:",
        [" a b", " a c"],
        "pair",
    ),
    "sharegpt": (
        {
            "conversations": [{"from": "human", "value": "a colour?"}],
            "chosen": {"from": "gpt", "value": "blue"},
            "rejected": {"from": "gpt", "value": "seven"},
        },
        DIALOGUE,
        ["blue", "seven"],
        "pair",
    ),
    "alpaca": (
        {"instruction": "a colour?", "input": "", "output": "blue"},
        DIALOGUE,
        ["blue"],
        "unpaired",
    ),
    "judged": (
        {"instruction": "a colour?", "output_1": "seven", "output_2": "blue", "preference": 2.0},
        DIALOGUE,
        ["blue", "seven"],
        "pair",
    ),
    "autoj": (
        {"prompt": "a colour?", "response 1": "blue", "response 2": "seven", "label": 0},
        DIALOGUE,
        ["blue", "seven"],
        "pair",
    ),
    "pandalm": (
        {"instruction": "a colour?", "input": "", "response1": "seven", "response2": "blue"}
        | {"annotator1": 2, "annotator2": 0, "annotator3": 2},
        DIALOGUE,
        ["blue", "seven"],
        "pair",
    ),
    "stack_exchange": (
        {"question": "a colour?", "response_j": "blue", "response_k": "seven"},
        DIALOGUE,
        ["blue", "seven"],
        "pair",
    ),
}


class TestRecords:
    @pytest.mark.parametrize("case", RECORDS)
    def test_what_a_record_says(self, case: str) -> None:
        record, prompt, completions, kind = RECORDS[case]
        found = read(record)
        assert not found.rejected
        row = found.frame.row(0, named=True)
        assert (row["prompt"], row["completions"], row["kind"]) == (prompt, completions, kind)
        assert row["chat"] == (prompt == DIALOGUE)
        expected = record.get("label", True) if kind == "unpaired" else None
        assert row["desirable"] is expected

    def test_each_winner_of_a_list_of_comparisons_is_an_example(self) -> None:
        """Promise: (0 over 1), (0 over 2), (2 over 1) give [0, 1, 2] and [2, 1]."""
        record = {"prompt": "p", "responses": ["x", "y", "z"], "pairs": [[0, 1], [2, 1], [0, 2]]}
        frame = read(record | {"sft_target": "z"}).frame
        assert frame["completions"].to_list() == [["x", "y", "z"], ["z", "y"]]
        assert set(frame["kind"]) == {"multi"}
        assert set(frame["sft_target"]) == {"z"}
        assert frame["prompt_group"].n_unique() == 1

    def test_all_other_candidates_are_rejected(self) -> None:
        record = {"historyList": "x::y", "itemList": ["b", "gold", "c"], "trueSelection": "gold"}
        row = read(record).frame.row(0, named=True)
        assert row["completions"] == [" gold", " b", " c"]
        assert "x, y." in row["prompt"]
        assert "b, gold, c." in row["prompt"]
        assert row["prompt"].endswith("Answer:")

    def test_pairs_become_single_completions(self) -> None:
        frame = read(
            {"prompt": "p", "chosen": "a", "rejected": ["b", "c"]}, plan=PreferencePlan(unpair=True)
        ).frame
        assert frame["completions"].to_list() == [["a"], ["b"], ["c"]]
        assert frame["desirable"].to_list() == [True, False, False]

    def test_formats_are_told_apart_by_their_fields(self) -> None:
        for record, *_ in RECORDS.values():
            assert detect_format(record) in FORMATS
        assert detect_format({"text": "x"}) is None
        with pytest.raises(DataError, match="the fields text are of no known format; rename"):
            read({"text": "x"})

    def test_fields_that_are_not_read_are_named(self) -> None:
        found = read({"prompt": "p", "chosen": "a", "rejected": "b", "score_chosen": 3})
        assert found.unused == ["score_chosen"]

    def test_the_number_of_an_example_is_its_content_s(self) -> None:
        """Promise: neither order nor neighbours change an id, and every part of the content does."""
        first, second = read(*pairs(3)).frame, read(*reversed(pairs(3))).frame
        assert set(first["example_id"]) == set(second["example_id"])
        assert (
            len(
                {
                    *first["example_id"],
                    *read({"prompt": "p0", "chosen": "b0", "rejected": "a0"}).frame["example_id"],
                }
            )
            == 4
        )
        assert (first["example_id"] > 0).all()


BAD = {
    "missing_field": ({"prompt": "p", "chosen": "a"}, "missing field", "rejected is missing"),
    "null_field": ({"prompt": "p", "chosen": None, "rejected": "b"}, "missing field", "chosen is missing"),
    "no_rejected": ({"prompt": "p", "chosen": "a", "rejected": []}, "missing field", "an empty list"),
    "empty_response": ({"prompt": "p", "chosen": " \n", "rejected": "b"}, "empty response", "response 0"),
    "empty_prompt": ({"prompt": "", "chosen": "a", "rejected": "b"}, "empty prompt", "nothing would stand"),
    "identical_pair": ({"prompt": "p", "chosen": "a", "rejected": "a"}, "identical pair", "cannot be both"),
    "identical_in_list": (
        {"prompt": "p", "chosen": "a", "rejected": ["b", "a"]},
        "identical pair",
        "cannot be both",
    ),
    "number_for_text": (
        {"prompt": "p", "chosen": "a", "rejected": 3},
        "wrong type",
        "int 3 stands beside texts",
    ),
    "number_for_prompt": ({"prompt": 3, "chosen": "a", "rejected": "b"}, "wrong type", "prompt must be text"),
    "not_an_object": (["a"], "wrong type", "an object with named fields is needed"),
    "odd_role": (
        {"prompt": [{"role": "judge", "content": "x"}], "chosen": "a", "rejected": "b"},
        "wrong type",
        "role 'judge'",
    ),
    "half_a_character": ({"prompt": "p", "chosen": "\ud800", "rejected": "b"}, "not UTF-8", "half of a char"),
    "dialogues_part": (
        {"chosen": [USER, REPLY], "rejected": [USER | {"content": "?"}, OTHER]},
        "prompts differ",
        "part before their last message",
    ),
    "user_has_the_last_word": (
        {"chosen": [USER, USER], "rejected": [USER, OTHER]},
        "wrong type",
        "role 'user', not the assistant's",
    ),
    "nothing_shared": ({"chosen": "one", "rejected": "two"}, "prompts differ", "do not begin alike"),
    "both_kinds_of_rejected": (
        {"prompt": "p", "chosen": "a", "rejected": "b", "rejected1": "c"},
        "wrong type",
        "not both",
    ),
}


class TestBadRows:
    @pytest.mark.parametrize("case", BAD)
    def test_a_bad_row_is_set_aside_with_its_line(self, case: str) -> None:
        record, kind, words = BAD[case]
        found = read(*pairs(1), record, *pairs(2)[1:])
        assert len(found.frame) == 2
        (rejected,) = found.rejected
        assert (rejected.line, rejected.kind) == (2, kind)
        assert words in rejected.reason

    @pytest.mark.parametrize(
        ("record", "kind"),
        [
            ({"prompt": "p", "completion": "a", "label": "maybe"}, "wrong type"),
            ({"instruction": "i", "output_1": "a", "output_2": "b", "preference": None}, "not judged"),
            ({"instruction": "i", "output_1": "a", "output_2": "b", "preference": 0}, "tie"),
            ({"prompt": "p", "response 1": "a", "response 2": "b", "label": 2}, "tie"),
            ({"prompt": "p", "responses": ["a", "b"], "pairs": [[0, 2]]}, "wrong type"),
            ({"historyList": "x", "itemList": ["a"], "trueSelection": "b"}, "choice missing"),
            ({"chosen": "Q\n\nAssistant: a", "rejected": "R\n\nAssistant: b"}, "prompts differ"),
            (
                {"chosen": "\n\nAssistant: a", "rejected": "\n\nAssistant: b\n\nHuman: c\n\nAssistant: d"},
                "more turns",
            ),
        ],
        ids=[
            "label",
            "no-verdict",
            "tie",
            "tie-label",
            "pair-number",
            "choice",
            "other-prompt",
            "more-turns",
        ],
    )
    def test_bad_rows_of_single_formats(self, record: dict, kind: str) -> None:
        with pytest.raises(BadRow) as error:
            FORMATS[str(detect_format(record))].parse(record)
        assert error.value.kind == kind

    def test_no_majority(self) -> None:
        votes = {"annotator1": 0, "annotator2": 1, "annotator3": 2}
        with pytest.raises(BadRow, match=r"the three annotators say \[0, 1, 2\]"):
            FORMATS["pandalm"].parse({"instruction": "i", "response1": "a", "response2": "b"} | votes)

    def test_labels_that_judge_nothing(self) -> None:
        row = {"prompt": "p", "response 1": "a", "response 2": "b"}
        for label in (5, "first", [1]):
            with pytest.raises(BadRow, match="known are 1, 2 and ties"):
                FORMATS["autoj"].parse(row | {"label": label})

    def test_a_contradiction_is_not_taken_apart(self) -> None:
        """Promise: a text is not both desirable and undesirable for having been its own rival."""
        found = read(
            *pairs(1), {"prompt": "p", "chosen": "a", "rejected": "a"}, plan=PreferencePlan(unpair=True)
        )
        assert len(found.frame) == 2
        assert [one.kind for one in found.rejected] == ["identical pair"]

    def test_identical_pairs_may_be_kept(self) -> None:
        same = {"prompt": "p", "chosen": "a", "rejected": "a"}
        assert len(read(same, plan=PreferencePlan(drop_identical=False)).frame) == 1

    def test_nothing_left_is_an_error(self) -> None:
        with pytest.raises(DataError, match=r"No row of records can be used \(1 are set aside\).*line 1"):
            read({"prompt": "p", "chosen": "a", "rejected": "a"})
        with pytest.raises(DataError, match="records holds no record"):
            read()
