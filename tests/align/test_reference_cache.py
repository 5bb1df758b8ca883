"""Cached reference log-probabilities are those computed online, and another run's are refused."""

from __future__ import annotations

import hashlib
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_preferences import TINY, batch, lora, moved, policy, trees, write_llama

from align.policy import Policy
from align.reference import FrozenCopy
from align.reference_cache import (
    CachedReference,
    CacheMismatchError,
    LogpStore,
    completion_keys,
    fingerprint,
    weights_digest,
)
from moltc.backbone.prompt import PromptTree, SlotRun

ABOUT = {"source": "start", "dtype": "float32", "template": "none", "truncation": "start"}


@pytest.fixture(scope="module")
def made() -> Policy:
    return policy()


class TestKeys:
    def test_a_completion_keeps_its_key_in_any_company(self) -> None:
        several = trees((3, 2))
        alone = [tree.with_completions([ids]) for tree in several for ids in tree.completions]
        np.testing.assert_array_equal(completion_keys(several), completion_keys(alone))

    def test_other_prompts_entities_and_completions_have_other_keys(self) -> None:
        prompt, ids = np.arange(5), np.arange(3)
        variants = [
            PromptTree(prompt, (ids,)),
            PromptTree(prompt, (ids + 1,)),
            PromptTree(prompt + 1, (ids,)),
            PromptTree(np.arange(4), (np.append(4, ids),)),  # the same ids, cut elsewhere
            PromptTree(prompt, (ids,), (SlotRun(0, 2, "drug", 3),)),
            PromptTree(prompt, (ids,), (SlotRun(0, 2, "drug", 4),)),
            PromptTree(prompt, (ids,), (SlotRun(0, 2, "solvent", 3),)),
        ]
        assert len(set(completion_keys(variants).tolist())) == len(variants)

    def test_a_key_is_a_hash_of_the_ids_alone(self) -> None:
        tree = PromptTree(np.array([1, 2, 3]), (np.array([4]),))
        content = np.array([1, 2, 3]).tobytes() + b"|completion|" + np.array([4]).tobytes()
        digest = hashlib.blake2b(content, digest_size=8).digest()
        assert completion_keys([tree]).tolist() == [int.from_bytes(digest, "little") >> 1]


class TestCache:
    def test_cached_values_equal_online_ones(self, made: Policy) -> None:
        """Promise: to 1e-6 in float32, in batches of any composition."""
        reference = FrozenCopy(made)
        cached = CachedReference(LogpStore({}), reference, made.pack)
        examples = batch(made, (2, 4, 3, 2, 6))
        cached.fill(examples.cut(2, made.pack))
        cached.online = None
        torch.testing.assert_close(cached(examples), reference(examples), rtol=1e-6, atol=1e-6)
        turned = examples.take(np.array([4, 0, 2]), made.pack)
        torch.testing.assert_close(cached(turned), reference(turned), rtol=1e-6, atol=1e-6)

    def test_redrawn_negatives_find_their_values(self, made: Policy) -> None:
        """Promise: what was scored with all completions serves any draw of them."""
        cached = CachedReference(LogpStore({}), FrozenCopy(made), made.pack)
        examples = batch(made, (5, 5, 5))
        cached.fill([examples])
        cached.online = None
        wanted = np.tile([True, False, True, False, True], 3)
        drawn = examples.only(wanted, made.pack)
        torch.testing.assert_close(cached(drawn), cached(examples)[torch.from_numpy(wanted)])

    def test_only_what_is_lacking_is_computed(self, made: Policy) -> None:
        scored: list[int] = []

        def online(part):
            scored.append(len(part.packed.lengths))
            return FrozenCopy(made)(part)

        cached = CachedReference(LogpStore({}), online, made.pack)
        examples = batch(made, (3, 2, 4))
        cached(examples.only(np.array([1, 0, 0, 0, 0, 1, 1, 1, 1], dtype=bool), made.pack))
        found = cached(examples)
        cached(examples)
        assert scored == [5, 4]
        torch.testing.assert_close(found, FrozenCopy(made)(examples), rtol=1e-6, atol=1e-6)

    def test_an_unknown_completion_is_an_error(self, made: Policy) -> None:
        with pytest.raises(ValueError, match="16 completions .*100, 101, 102.* no cached reference"):
            CachedReference(LogpStore({}), None, made.pack)(batch(made))

    def test_what_was_computed_is_read_back(self, made: Policy, tmp_path: Path) -> None:
        about = fingerprint(made.model, made.language_model.tokenizer, **ABOUT)
        cached = CachedReference(LogpStore(about), FrozenCopy(made), made.pack)
        examples = batch(made)
        values, file = cached(examples), tmp_path / "reference/logps.safetensors"
        cached.save(file)
        again = CachedReference(LogpStore.load(file, about), None, made.pack)
        torch.testing.assert_close(again(examples), values, rtol=0, atol=0)
        written = file.stat().st_mtime_ns
        again.save(file)
        assert file.stat().st_mtime_ns == written, "nothing new, yet written"


class TestRefusal:
    @pytest.mark.parametrize("part", ["model", "adapter", "tokenizer", "template", "truncation", "dtype"])
    def test_another_part_is_refused_by_name(self, part: str, made: Policy, tmp_path: Path) -> None:
        about = fingerprint(made.model, made.language_model.tokenizer, **ABOUT)
        LogpStore(about).save(tmp_path / "logps.safetensors")
        with pytest.raises(CacheMismatchError, match=f"of another {part} .*remove it"):
            LogpStore.load(tmp_path / "logps.safetensors", about | {part: "something else"})

    def test_fingerprint_follows_weights_adapter_and_tokenizer(self, tmp_path: Path) -> None:
        first = policy(lora(write_llama(tmp_path)))
        about = fingerprint(first.model, first.language_model.tokenizer, **ABOUT)
        second = moved(deepcopy(first))  # moves the adapter alone
        changed = fingerprint(second.model, second.language_model.tokenizer, **ABOUT)
        assert {name for name in about if about[name] != changed[name]} == {"adapter"}
        base = ABOUT | {"source": "base"}
        assert fingerprint(first.model, first.language_model.tokenizer, **base) == fingerprint(
            second.model, second.language_model.tokenizer, **base
        )
        tokenizer = deepcopy(first.language_model.tokenizer)
        tokenizer.add_tokens(["another"])
        changed = fingerprint(first.model, tokenizer, **ABOUT)
        assert {name for name in about if about[name] != changed[name]} == {"tokenizer"}

    def test_digest_tells_one_changed_number(self) -> None:
        first = policy(TINY)
        second = deepcopy(first)
        next(second.parameters()).data.view(-1)[7] += 1e-4
        assert weights_digest(first, adapter=False) != weights_digest(second, adapter=False)

    @pytest.mark.parametrize("content", [b"", b"half a file", b"\x08\0\0\0\0\0\0\0{}      "])
    def test_a_broken_file_is_refused(self, content: bytes, tmp_path: Path) -> None:
        (tmp_path / "logps.safetensors").write_bytes(content)
        with pytest.raises(CacheMismatchError, match="logps"):
            LogpStore.load(tmp_path / "logps.safetensors", {})
