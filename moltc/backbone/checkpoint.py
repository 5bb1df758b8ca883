"""Saving and loading: a folder of JSON, safetensors and a card, written whole or not at all.

``config.json`` is written last and holds the hash of every other file, so a half-written or altered folder is refused.
Nothing that is read here can run code.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from moltc.backbone.language_model import LanguageModel, LanguageModelConfig, LoraSettings, TinyConfig, load_tokenizer

FORMAT = 1
CONFIG = "config.json"
WEIGHTS = "model.safetensors"


class CheckpointError(ValueError):
    """A saved model is incomplete, altered or of another kind."""


def sha256(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def atomic_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Create ``folder`` by filling a temporary one beside it and renaming; an older folder is replaced."""
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        fill(temporary)
        temporary.chmod(0o755)
        if folder.exists():
            if not (folder / CONFIG).is_file() and any(folder.iterdir()):
                raise CheckpointError(f"{folder} exists and is not a saved model; choose another folder")
            old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
            os.replace(folder, old / "model")
            os.replace(temporary, folder)
            shutil.rmtree(old)
        else:
            os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def own_state(model: nn.Module, language_model: LanguageModel) -> dict[str, Tensor]:
    """What a checkpoint must hold beside the adapter: everything but untrained base weights.

    Language-model weights are kept where they are trained outside an adapter (always for the tiny model).
    """
    prefix = next(name for name, module in model.named_modules() if module is language_model)
    prefix = f"{prefix}.model." if prefix else "model."
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    keep = language_model.config.is_tiny or language_model.config.training == "full"
    state: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        if name.startswith(prefix) and not keep and (name not in trained or "lora_" in name):
            continue
        state[name] = tensor
    return state


def _distinct(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tied tensors are stored under each of their names, as copies (safetensors refuses shared memory)."""
    seen: set[int] = set()
    out = {}
    for name, tensor in state.items():
        tensor = tensor.detach().cpu().contiguous()
        if tensor.numel() and tensor.data_ptr() in seen:
            tensor = tensor.clone()
        seen.add(tensor.data_ptr())
        out[name] = tensor
    return out


def save_model(
    folder: str | Path, model: nn.Module, language_model: LanguageModel, *, kind: str, settings: dict[str, Any], card: str
) -> None:
    """Save a model that contains ``language_model``.

    Parameters
    ----------
    folder : created or replaced as a whole.
    kind : what :func:`read_config` must find when loading, e.g. "moltc-pairs".
    settings : JSON values that the model needs to be built again.
    card : text of the model card (README.md).
    """

    def fill(target: Path) -> None:
        save_file(_distinct(own_state(model, language_model)), target / WEIGHTS, metadata={"format": "pt"})
        if language_model.config.training == "lora":
            language_model.model.save_pretrained(target / "adapter", safe_serialization=True)
        language_model.tokenizer.save_pretrained(target / "tokenizer")
        (target / "README.md").write_text(card, encoding="utf-8")
        files = sorted(p for p in target.rglob("*") if p.is_file())
        config = {
            "format": FORMAT,
            "kind": kind,
            "language_model": asdict(language_model.config),
            "settings": settings,
            "files": {str(p.relative_to(target)): sha256(p) for p in files},
        }
        (target / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True, default=_plain) + "\n", encoding="utf-8")

    atomic_folder(Path(folder), fill)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{type(value).__name__} cannot be saved in {CONFIG}")


def read_config(folder: str | Path, *, kind: str) -> dict[str, Any]:
    """Read and verify a saved model's config: format, kind, and the hash of every file.

    Raises
    ------
    CheckpointError
        naming the folder, what is wrong and what to do.
    """
    folder = Path(folder)
    path = folder / CONFIG
    if not path.is_file():
        raise CheckpointError(f"no saved model in {folder}: {CONFIG} is missing (was saving interrupted?)")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}); export the model again") from error
    if not isinstance(config, dict) or config.get("format", 0) > FORMAT or "kind" not in config:
        raise CheckpointError(f"{path} was not written by this version; update the package or export the model again")
    if config["kind"] != kind:
        raise CheckpointError(f"{folder} holds a {config['kind']} model, expected {kind}")
    for name, digest in config["files"].items():
        file = folder / name
        if not file.is_file():
            part = "the adapter, without which the answers would be those of the base model, " if "adapter" in name else ""
            raise CheckpointError(f"{folder} is incomplete: {part}{name} is missing; copy the whole folder or export again")
        if sha256(file) != digest:
            raise CheckpointError(f"{file} is not the file that was saved (its hash differs); export the model again")
    return config


def language_model_config(values: dict[str, Any]) -> LanguageModelConfig:
    """Back from JSON."""
    values = dict(values)
    lora = dict(values["lora"])
    lora["target_modules"] = tuple(lora["target_modules"])
    values["lora"], values["tiny"] = LoraSettings(**lora), TinyConfig(**values["tiny"])
    return LanguageModelConfig(**values)


def load_language_model(folder: str | Path, config: dict[str, Any]) -> LanguageModel:
    """Rebuild the language model of a saved folder: base weights from its name, adapter and tokenizer from the folder."""
    folder = Path(folder)
    lm_config = language_model_config(config["language_model"])
    language_model = LanguageModel.from_config(lm_config, load_tokenizer(folder / "tokenizer"))
    if lm_config.training == "lora":
        from peft import set_peft_model_state_dict

        weights = load_file(folder / "adapter" / "adapter_model.safetensors")
        result = set_peft_model_state_dict(language_model.model, weights)
        missing = [k for k in getattr(result, "missing_keys", []) if "lora_" in k]
        if missing or getattr(result, "unexpected_keys", None):
            raise CheckpointError(
                f"the adapter in {folder} does not fit {lm_config.name}: missing {missing[:3]}, "
                f"unexpected {list(result.unexpected_keys)[:3]}"
            )
    return language_model


def load_weights(folder: str | Path, model: nn.Module, language_model: LanguageModel) -> None:
    """Load ``model.safetensors`` into a built model; every tensor must find its place and no place may stay empty."""
    state = load_file(Path(folder) / WEIGHTS)
    expected = set(own_state(model, language_model))
    missing, unexpected = sorted(expected - set(state)), sorted(set(state) - expected)
    if missing or unexpected:
        raise CheckpointError(f"{folder} does not fit this model: missing {missing[:5]}, unexpected {unexpected[:5]}")
    with torch.no_grad():
        current = model.state_dict()
        for name, tensor in state.items():
            if current[name].shape != tensor.shape:
                raise CheckpointError(
                    f"{folder}: {name} has shape {list(tensor.shape)}, the model {list(current[name].shape)}"
                )
            current[name].copy_(tensor)
