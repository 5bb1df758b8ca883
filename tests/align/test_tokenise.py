"""Tokens of prompt and completion: one boundary, first and end token once, cuts that are counted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from align.chat import DIALOGUE, ChatFormat, contents
from align.records import PreferenceTable
from align.tokenise import Limits, TokenisedExamples, tokenise
from data_prep.preferences import PreferencePlan, collect, file_source
from moltc.backbone.tokenizer import train_tokenizer

TEXT = "Human: name a colour. Assistant: blue is a colour, and so is red; green is one too."
TOKENIZER = train_tokenizer([TEXT, "colour " * 50], vocab_size=330)
BOS, EOS = TOKENIZER.bos_token_id, TOKENIZER.eos_token_id
CHATML = (
    "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def ids(text: str) -> list[int]:
    return TOKENIZER.encode(text, add_special_tokens=False)


def examples(*records: dict, limits: Limits | None = None, **options: object) -> TokenisedExamples:
    table = PreferenceTable.from_records(records)
    return tokenise(table, np.arange(len(table)), TOKENIZER, limits=limits, **options)


def pair(prompt: str = "name a colour", chosen: str = " blue", rejected: str = " red is one") -> dict:
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def parts(found: TokenisedExamples, place: int = 0, count: int = 2) -> tuple[list[int], list[list[int]]]:
    tree = found.tree(place, range(count))
    return tree.prompt_ids.tolist(), [completion.tolist() for completion in tree.completions]


class TestText:
    def test_prompt_and_completions(self) -> None:
        prompt, completions = parts(examples(pair()))
        assert prompt == [BOS, *ids("name a colour")]
        assert completions == [[*ids(" blue"), EOS], [*ids(" red is one"), EOS]]

    def test_first_and_end_tokens_stand_once(self) -> None:
        written = pair(f"{TOKENIZER.bos_token}name a colour", f" blue{TOKENIZER.eos_token}")
        assert parts(examples(written)) == parts(examples(pair()))

    def test_a_token_across_the_boundary_belongs_to_all_completions(self) -> None:
        """Promise: where one completion merges with the prompt's end, all begin at the same place."""
        assert len(ids(" colour")) == 1
        found = examples({"prompt": "name a col", "chosen": "our", "rejected": ["!", "umn"]})
        prompt, completions = parts(found, count=3)
        assert prompt == [BOS, *ids("name a")]
        assert completions[0] == [*ids(" colour"), EOS]
        assert completions[1] == [*ids(" col!"), EOS]
        assert found.cuts.merged == 1
        for completion, text in zip(completions, ["our", "!", "umn"], strict=True):
            assert TOKENIZER.decode(prompt[1:] + completion[:-1]) == "name a col" + text

    def test_joined_ids_are_those_of_the_whole_text(self) -> None:
        for text in (" blue", "s and so", "."):
            record = {"prompt": "name a colour", "completion": text, "label": True}
            prompt, (completion,) = parts(examples(record), count=1)
            assert prompt + completion == [BOS, *ids("name a colour" + text), EOS]

    def test_rows_are_those_of_the_table(self) -> None:
        table = PreferenceTable.from_records([pair(f"name {n}") for n in range(700)])
        rows = np.arange(1, 700, 2)
        found = tokenise(table, rows, TOKENIZER)
        np.testing.assert_array_equal(found.rows, rows)
        assert found.prompt(300).tolist() == [BOS, *ids("name 601")]
        trees = [found.tree(place, (0, 1)) for place in range(len(found))]
        lengths = [len(tree.prompt_ids) + sum(len(c) - 1 for c in tree.completions) for tree in trees]
        np.testing.assert_array_equal(found.tokens(), lengths)

    def test_tokens_of_fewer_completions(self) -> None:
        found = examples(
            {"prompt": "name", "chosen": " red", "rejected": [" blue", " a colour", " so"]}, pair()
        )
        whole = found.tokens()
        assert (found.tokens(2) <= whole).all()
        assert found.tokens(2)[1] == whole[1]
        np.testing.assert_array_equal(found.tokens(9), whole)

    def test_a_tokenizer_without_end_token_is_refused(self) -> None:
        other = train_tokenizer([TEXT], vocab_size=300)
        other.eos_token = None
        with pytest.raises(ValueError, match="no end token"):
            tokenise(PreferenceTable.from_records([pair()]), np.arange(1), other)

    def test_nothing_before_a_completion(self) -> None:
        other = train_tokenizer([TEXT, "colour " * 50], vocab_size=330)
        other.bos_token = None
        with pytest.raises(ValueError, match="records line 1: no token stands before the completion"):
            tokenise(PreferenceTable.from_records([pair("col", "our", "!")]), np.arange(1), other)


class TestCuts:
    LONG = pair("name a colour " * 10, " blue is a colour, and so is red", " no")

    def lengths(
        self, limits: Limits, record: dict | None = None, window: int | None = None
    ) -> tuple[int, ...]:
        found = examples(record or self.LONG, limits=limits, window=window)
        prompt, completions = parts(found)
        return len(prompt), *map(len, completions)

    def test_what_fits_is_left_alone(self) -> None:
        """Promise: a prompt longer than its own limit stays, as long as the whole fits."""
        whole = self.lengths(Limits())
        assert self.lengths(Limits(max_tokens=whole[0] + whole[1], max_prompt_tokens=5)) == whole
        assert self.lengths(Limits(max_tokens=whole[0] + whole[1] - 1, max_prompt_tokens=5))[0] == 5

    def test_the_prompt_goes_first_then_the_completions(self) -> None:
        prompt, chosen, rejected = self.lengths(Limits())
        assert self.lengths(Limits(max_tokens=prompt + chosen - 4)) == (prompt - 4, chosen, rejected)
        assert self.lengths(Limits(max_tokens=10, max_prompt_tokens=6)) == (6, 4, min(rejected, 4))
        assert self.lengths(Limits(max_tokens=chosen)) == (2, chosen - 2, rejected)

    def test_limits_of_their_own(self) -> None:
        assert self.lengths(Limits(max_prompt_tokens=7))[0] == 7
        assert self.lengths(Limits(max_completion_tokens=1)) == (self.lengths(Limits())[0], 1, 1)

    def test_the_window_holds_what_is_read(self) -> None:
        """Promise: the last token of a completion predicts nothing, so it needs no place in the window."""
        prompt, chosen, _ = self.lengths(Limits())
        assert self.lengths(Limits(), window=prompt + chosen - 1)[:2] == (prompt, chosen)
        assert self.lengths(Limits(), window=prompt + chosen - 2)[:2] == (prompt - 1, chosen)

    @pytest.mark.parametrize("part", ["start", "middle", "end"])
    def test_which_part_is_cut(self, part: str) -> None:
        whole = parts(examples(self.LONG))[0]
        cut = parts(examples(self.LONG, limits=Limits(max_prompt_tokens=7, truncate=part)))[0]
        expected = {
            "start": [BOS, *whole[-6:]],
            "middle": [*whole[:4], *whole[-3:]],
            "end": whole[:7],
        }
        assert cut == expected[part]

    def test_a_cut_completion_has_no_end_token(self) -> None:
        found = examples(self.LONG, limits=Limits(max_completion_tokens=3))
        whole = parts(examples(self.LONG))[1]
        assert parts(found)[1] == [completion[:3] for completion in whole]
        assert EOS not in parts(found)[1][0]

    def test_cuts_are_counted_and_told(self, caplog: pytest.LogCaptureFixture) -> None:
        whole = examples(self.LONG, pair())
        with caplog.at_level("WARNING"):
            found = examples(self.LONG, pair(), limits=Limits(max_prompt_tokens=9, max_completion_tokens=5))
        cuts = found.cuts
        assert (cuts.examples, cuts.prompts) == (2, 1)
        assert cuts.prompt_tokens == len(whole.prompt(0)) - 9
        assert cuts.completions == sum(len(whole.completion(p, c)) > 5 for p in (0, 1) for c in (0, 1))
        assert "1 prompts cut" in caplog.text

    def test_nothing_is_cut_when_that_is_asked_for(self) -> None:
        with pytest.raises(ValueError, match=r"records line 2: prompt of \d+ tokens .* room for 7 and"):
            examples(pair("name"), self.LONG, limits=Limits(max_prompt_tokens=7, truncate="error"))
        found = examples(pair("name"), limits=Limits(max_prompt_tokens=7, truncate="error"))
        assert found.cuts.prompts == 0

    def test_what_is_the_same_after_a_cut_is_left_out(self) -> None:
        records = [pair("name", " blue is a colour", " blue is red"), pair()]
        found = examples(*records, limits=Limits(max_completion_tokens=2))
        assert (len(found), found.rows.tolist(), found.cuts.identical) == (1, [1], 1)
        kept = examples(*records, limits=Limits(max_completion_tokens=2, drop_identical=False))
        assert len(kept) == 2

    @settings(max_examples=80, deadline=None)
    @given(
        prompt=st.integers(2, 60),
        longest=st.integers(1, 60),
        max_tokens=st.none() | st.integers(5, 50),
        max_prompt=st.none() | st.integers(2, 40),
        max_completion=st.none() | st.integers(1, 40),
        window=st.none() | st.integers(4, 50),
    )
    def test_room_is_never_exceeded_and_never_nothing(
        self, prompt, longest, max_tokens, max_prompt, max_completion, window
    ) -> None:
        """Promise: whatever the limits, both keep a token, none is longer than before, the whole fits."""
        if max_tokens is not None and max_prompt is not None and max_prompt >= max_tokens:
            max_prompt = max_tokens - 1
        room = Limits(max_tokens, max_prompt, max_completion).room(prompt, longest, window)
        assert 1 <= room.prompt <= prompt
        assert 1 <= room.completion <= longest
        if max_tokens is not None:
            assert room.prompt + room.completion <= max_tokens
        if window is not None:
            assert room.prompt + room.completion - 1 <= window
        if max_completion is not None:
            assert room.completion <= max_completion
        if max_prompt is not None and max_tokens is None:
            assert room.prompt <= max_prompt

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"max_tokens": 2}, "max_tokens must be at least 3"),
            ({"max_prompt_tokens": 1}, "max_prompt_tokens must be at least 2"),
            ({"max_completion_tokens": 0}, "max_completion_tokens must be at least 1"),
            ({"max_tokens": 512, "max_prompt_tokens": 512}, "leaves no token of max_tokens 512"),
            ({"truncate": "left"}, "truncate must be start, middle, end or error"),
        ],
        ids=["whole", "prompt", "completion", "no-room", "word"],
    )
    def test_limits_that_cannot_be(self, options: dict, words: str) -> None:
        with pytest.raises(ValueError, match=words):
            Limits(**options)

    def test_a_description_tells_limits_apart(self) -> None:
        assert Limits(max_tokens=9).describe() != Limits(max_tokens=10).describe()


MESSAGES = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "name a colour"}]
CHAT = {
    "prompt": MESSAGES,
    "chosen": [{"role": "assistant", "content": "blue"}],
    "rejected": [{"role": "assistant", "content": "red is one"}],
}


class TestChat:
    def text(self, chat: ChatFormat) -> tuple[str, list[str]]:
        prompt, completions = parts(examples(CHAT, chat=chat))
        return TOKENIZER.decode(prompt), [TOKENIZER.decode(completion) for completion in completions]

    def test_the_layout_of_hh(self) -> None:
        prompt, completions = self.text(ChatFormat("dialogue"))
        assert prompt == "<s>\n\nSystem: be brief\n\nHuman: name a colour\n\nAssistant:"
        assert completions == [" blue</s>", " red is one</s>"]

    def test_a_template_of_a_file(self, tmp_path: Path) -> None:
        """Promise: the first token stands once though the template writes it, and nothing follows the end."""
        (tmp_path / "chat.jinja").write_text(CHATML)
        prompt, completions = self.text(ChatFormat(str(tmp_path / "chat.jinja")))
        assert prompt == "<s><system>be brief</s>\n<user>name a colour</s>\n<assistant>"
        assert completions == ["blue</s>", "red is one</s>"]

    def test_the_header_may_belong_to_the_response(self, tmp_path: Path) -> None:
        (tmp_path / "chat.jinja").write_text(CHATML)
        chat = ChatFormat(str(tmp_path / "chat.jinja"), header_in_response=True)
        prompt, completions = self.text(chat)
        assert prompt.endswith("name a colour</s>\n")
        assert completions[0] == "<assistant>blue</s>"

    def test_the_tokenizer_s_own_template(self) -> None:
        other = train_tokenizer([TEXT], vocab_size=330)
        with pytest.raises(ValueError, match="no chat template: set chat_template to 'dialogue' or a file"):
            ChatFormat().render(other, json.dumps(MESSAGES), ["blue"])
        other.chat_template = CHATML
        alone, whole = ChatFormat().render(other, json.dumps(MESSAGES), ["blue"])
        assert whole == alone + "blue</s>"

    def test_a_template_that_refuses(self, tmp_path: Path) -> None:
        (tmp_path / "chat.jinja").write_text("{{ raise_exception('no system role') }}")
        with pytest.raises(ValueError, match="refuses a dialogue of system, user: no system role"):
            examples(CHAT, chat=ChatFormat(str(tmp_path / "chat.jinja")))

    def test_a_template_that_is_not_there(self) -> None:
        with pytest.raises(ValueError, match="neither 'dialogue' nor a file"):
            examples(CHAT, chat=ChatFormat("chatml"))

    def test_a_description_tells_templates_apart(self) -> None:
        formats = [ChatFormat(), ChatFormat("dialogue"), ChatFormat("dialogue", header_in_response=True)]
        assert len({one.describe(TOKENIZER) for one in formats}) == 3
        assert DIALOGUE in formats[1].describe(TOKENIZER)

    def test_contents_of_a_dialogue(self) -> None:
        assert contents(json.dumps(MESSAGES)) == ["be brief", "name a colour"]


@pytest.mark.real_data
class TestPublishedSets:
    def test_hh_keeps_the_end_of_the_prompt(self, real_data: Path) -> None:
        """Promise: with the limits of the DPO recipe every prompt still ends in the assistant's turn."""
        path = real_data / "hh_rlhf" / "harmless-base" / "test.jsonl.gz"
        table = PreferenceTable.of(collect([file_source(path)], PreferencePlan()).frame[:200], "hh")
        texts = [table.texts(row) for row in range(200)]
        tokenizer = train_tokenizer([prompt + replies[0] for prompt, _, replies in texts], vocab_size=600)
        limits = Limits(max_tokens=200, max_prompt_tokens=100)
        found = tokenise(table, np.arange(len(table)), tokenizer, limits=limits)
        assert found.cuts.prompts > 20
        end = tokenizer.encode("\n\nAssistant:", add_special_tokens=False)
        for place in range(len(found)):
            tree = found.tree(place, (0, 1))
            assert tree.prompt_ids[0] == tokenizer.bos_token_id
            assert tree.prompt_ids[-len(end) :].tolist() == end
            assert len(tree.prompt_ids) + max(map(len, tree.completions)) <= 200

    def test_dialogues_of_the_demo(self, real_data: Path) -> None:
        path = real_data / "llamafactory_demo" / "dpo_en_demo.json"
        table = PreferenceTable.from_records(json.loads(path.read_text())[:40])
        found = tokenise(table, np.arange(len(table)), TOKENIZER, chat=ChatFormat("dialogue"))
        for place in range(0, len(found), 7):
            prompt, _, completions = table.texts(int(found.rows[place]))
            assert contents(prompt)[-1] in TOKENIZER.decode(found.prompt(place))
            text = TOKENIZER.decode(found.completion(place, 0), skip_special_tokens=True)
            assert text.strip() == completions[0].strip()
