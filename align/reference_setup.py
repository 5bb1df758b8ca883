"""The reference that a run uses: chosen by its settings, and scored in advance where it is cached.

All of this happens before the first step, and before a resumed run takes its weights back: the model in
training is then its own reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from align.batch import PreferenceBatch
from align.data import PreferenceDataModule
from align.policy import Policy
from align.reference import (
    FrozenCopy,
    OwnStart,
    Reference,
    ReferenceConfig,
    SecondModel,
    Source,
    WithoutAdapter,
)
from align.reference_cache import CachedReference, LogpStore, fingerprint
from align.scoring import load_model
from moltc.backbone.soft_prompt_lm import SoftPromptLM


@dataclass(frozen=True)
class CachePlan:
    """What a cache needs to know of a run.

    Attributes
    ----------
    file : where it lies.
    batches : this process's share of the examples that will be compared, with all their completions.
    complete : nothing else will ever be asked for.
    dtype, template, truncation : see :func:`align.reference_cache.fingerprint`.
    """

    file: Path
    batches: Iterable[PreferenceBatch]
    complete: bool
    dtype: str
    template: str
    truncation: str


def source_of(config: ReferenceConfig, policy: Policy, *, continued: bool) -> Source:
    """The source that ``auto`` stands for: the base under a fresh adapter, else the start."""
    if config.source != "auto":
        return config.source
    fresh = policy.language_model.config.training == "lora" and not continued
    return "base" if fresh else "start"


def build_reference(
    config: ReferenceConfig, policy: Policy, *, continued: bool, cache: CachePlan | None
) -> Reference:
    """The reference of a run.

    Args:
        config: its settings.
        policy: the model in training, at its start.
        continued: it starts from an export rather than from new or published weights.
        cache: None computes reference log-probabilities anew for each batch.

    Raises:
        ValueError: the source does not go with the model, or a stored cache was computed with something else.
    """
    source = source_of(config, policy, continued=continued)
    if source == "model":
        assert config.name is not None
        second = load_model(config.name)
        return _cached(cache, source, SecondModel(second, policy), second, policy)
    if source == "base":
        return _cached(cache, source, WithoutAdapter(policy), policy.model, policy)
    if cache is None:
        return FrozenCopy(policy)
    return _cached(cache, source, OwnStart(policy), policy.model, policy)


def every_completion(data: PreferenceDataModule, rank: int, processes: int) -> Iterator[PreferenceBatch]:
    """A process's share of all examples, with all rejected completions, whichever are drawn later."""
    assert data.table is not None
    for split in (name for name, count in data.table.sizes().items() if count and name != "none"):
        collate = data.collator(split).whole()
        order = np.argsort(collate.examples.tokens(), kind="stable")
        rows = collate.examples.rows[order][rank::processes]
        for part in np.array_split(rows, -(-len(rows) // data.eval_batch_size)):
            yield collate(part.tolist())


def _cached(
    cache: CachePlan | None, source: Source, online: Reference, model: SoftPromptLM, policy: Policy
) -> Reference:
    """The reference itself, or what a cache holds of it."""
    if cache is None:
        return online
    about = {"dtype": cache.dtype, "template": cache.template, "truncation": cache.truncation}
    expected = fingerprint(model, model.language_model.tokenizer, source=source, **about)
    store = LogpStore.load(cache.file, expected) if cache.file.is_file() else LogpStore(expected)
    reference = CachedReference(store, online, policy.pack)
    reference.fill(cache.batches)
    reference.save(cache.file)
    if cache.complete:
        reference.online = None  # a second model is let go
    elif source == "start":
        reference.online = FrozenCopy(policy)
    return reference
