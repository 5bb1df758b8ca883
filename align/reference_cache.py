"""Reference log-probabilities on disk: each distinct completion is scored once, whatever is drawn later.

An entry belongs to the token ids of a prompt and a completion (and the entities behind its soft tokens), not
to a place in the data: re-drawn negatives, flipped pairs and other orders find their values again. The file
names what the values were computed with, and is refused where any of it differs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor, nn

from align.batch import Pack, PreferenceBatch
from align.processes import gathered
from align.reference import Reference
from data_prep.files import replacing
from moltc.backbone.prompt import PromptTree

FINGERPRINT = "fingerprint"


class CacheMismatchError(ValueError):
    """A stored cache was computed with something else than what is used now."""


def completion_keys(trees: Sequence[PromptTree]) -> np.ndarray:
    """A 63-bit number for each completion of each tree, int64 ``[C]``, from ids and entities alone."""
    keys = []
    for tree in trees:
        prompt = hashlib.blake2b(_bytes(tree.prompt_ids), digest_size=8)
        for run in tree.slots:
            prompt.update(f"|{run.tower}|{run.start}|{run.length}|{run.entity!r}".encode())
        prompt.update(b"|completion|")
        for completion in tree.completions:
            whole = prompt.copy()
            whole.update(_bytes(completion))
            keys.append(int.from_bytes(whole.digest(), "little") >> 1)
    return np.array(keys, dtype=np.int64)


def _bytes(ids: np.ndarray) -> bytes:
    return ids.astype(np.int64).tobytes()


class LogpStore:
    """Sums by completion key, sorted by key.

    Attributes
    ----------
    fingerprint : what the values were computed with, by name; see :func:`fingerprint`.
    keys : int64 ``[N]``, ascending.
    values : float32 ``[N]``.
    """

    def __init__(
        self,
        fingerprint: Mapping[str, str],
        keys: np.ndarray | None = None,
        values: np.ndarray | None = None,
    ) -> None:
        self.fingerprint = dict(fingerprint)
        self.keys = np.empty(0, dtype=np.int64) if keys is None else keys
        self.values = np.empty(0, dtype=np.float32) if values is None else values

    def __len__(self) -> int:
        return len(self.keys)

    def find(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values float32 ``[C]`` and whether there is one, bool ``[C]``, for keys ``[C]``."""
        if not len(self.keys):
            return np.zeros(len(keys), dtype=np.float32), np.zeros(len(keys), dtype=bool)
        places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return self.values[places], self.keys[places] == keys

    def add(self, keys: np.ndarray, values: np.ndarray) -> None:
        """Add values ``[C]`` under keys ``[C]``; what is known already stays as it is."""
        together = np.concatenate([self.keys, keys])
        self.keys, first = np.unique(together, return_index=True)
        self.values = np.concatenate([self.values, values.astype(np.float32)])[first]

    def save(self, file: Path) -> None:
        """Write the store, whole or not at all."""
        with replacing(file) as partial:
            tensors = {"keys": self.keys, "values": self.values}
            save_file(tensors, partial, metadata={FINGERPRINT: json.dumps(self.fingerprint, sort_keys=True)})

    @classmethod
    def load(cls, file: Path, expected: Mapping[str, str]) -> LogpStore:
        """Read a store.

        Args:
            file: written by :meth:`save`.
            expected: fingerprint of what would compute the values now.

        Raises:
            CacheMismatchError: the file was computed with something else, which the message names, or it is
                not whole.
        """
        try:
            with safe_open(file, framework="numpy") as stored:
                found = json.loads((stored.metadata() or {}).get(FINGERPRINT, "{}"))
                keys, values = stored.get_tensor("keys"), stored.get_tensor("values")
        except (SafetensorError, OSError, json.JSONDecodeError) as error:
            raise CacheMismatchError(
                f"{file} cannot be read as cached reference log-probabilities ({error}); remove it"
            ) from error
        names = sorted(expected.keys() | found.keys())
        if different := [name for name in names if found.get(name) != expected.get(name)]:
            told = "; ".join(
                f"{name} was {found.get(name, 'not noted')}, is {expected.get(name, 'not noted')}"
                for name in different
            )
            raise CacheMismatchError(
                f"{file} holds reference log-probabilities of another {', '.join(different)} ({told}); "
                "remove it, or name another reference.file"
            )
        return cls(expected, keys, values)


class CachedReference:
    """Reference log-probabilities out of a store; what it lacks is computed, and kept.

    Parameters
    ----------
    store : the values.
    online : computes what the store lacks; None: a missing value is an error.
    pack : packs the trees of what it lacks.

    Attributes
    ----------
    unsaved : completions computed since the store was last written.
    """

    def __init__(self, store: LogpStore, online: Reference | None, pack: Pack) -> None:
        self.store, self.online, self.pack = store, online, pack
        self.unsaved = 0

    def __call__(self, batch: PreferenceBatch) -> Tensor:
        """Sums ``[C]`` of all completions of a batch; see :class:`align.reference.Reference`."""
        keys = completion_keys(batch.trees)
        values, known = self.store.find(keys)
        if not known.all():
            self._compute(batch, keys, known)
            values, _ = self.store.find(keys)
        return torch.from_numpy(values).to(batch.packed.input_ids.device)

    def _compute(self, batch: PreferenceBatch, keys: np.ndarray, known: np.ndarray) -> None:
        """Score the completions that are not known, bool ``[C]``, and those alone."""
        if self.online is None:
            raise ValueError(
                f"{int((~known).sum())} completions (of examples {batch.ids[:3].tolist()}, ...) have no "
                "cached reference value: they were not in the data when training began"
            )
        self.store.add(keys[~known], self.online(batch.only(~known, self.pack)).float().cpu().numpy())
        self.unsaved += int((~known).sum())

    def fill(self, batches: Iterable[PreferenceBatch]) -> None:
        """Compute what the store lacks of these batches."""
        for batch in batches:
            self(batch)

    def save(self, file: Path) -> None:
        """Join what all processes have computed, and write it if there is anything new; called by all."""
        if not sum(gathered(self.unsaved)):
            return
        for keys, values in gathered((self.store.keys, self.store.values)):
            self.store.add(keys, values)
        self.unsaved = 0
        if not (dist.is_initialized() and dist.get_rank()):
            self.store.save(file)


# -- fingerprint ---------------------------------------------------------------------------------------------


def weights_digest(model: nn.Module, *, adapter: bool) -> str:
    """A hash of a model's weights and buffers: of its LoRA adapter, or of everything else."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if ("lora_" in name) == adapter:
            digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def tokenizer_digest(tokenizer: Any) -> str:
    """A hash of a tokenizer's entries, its merges where it is a fast one, and its special tokens."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    entries = (
        json.dumps(sorted(tokenizer.get_vocab().items()))
        if backend is None
        else json.dumps(json.loads(backend.to_str()) | {"truncation": None, "padding": None}, sort_keys=True)
    )
    special = json.dumps(tokenizer.special_tokens_map, sort_keys=True, default=str)
    return hashlib.sha256((entries + special).encode()).hexdigest()[:16]


def fingerprint(
    model: nn.Module, tokenizer: Any, *, source: str, dtype: str, template: str, truncation: str
) -> dict[str, str]:
    """What reference log-probabilities depend on, by name.

    Args:
        model: the model that computes them, before its first training step.
        tokenizer: of the model.
        source: kind of reference, such as ``base``, in which the adapter plays no part.
        dtype: of the computation, such as ``32-true``.
        template: how examples become text.
        truncation: how long texts are cut.
    """
    return {
        "model": weights_digest(model, adapter=False),
        "adapter": "none" if source == "base" else weights_digest(model, adapter=True),
        "tokenizer": tokenizer_digest(tokenizer),
        "template": template,
        "truncation": truncation,
        "dtype": dtype,
    }
