"""Saving and loading: a folder of JSON, safetensors and a card, written whole or not at all.

``config.json`` is written last and holds the hash of every other file, so a half-written or altered folder is
refused. Nothing that is read here can run code.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from moltc.backbone.language_model import LanguageModel, load_tokenizer
from moltc.backbone.language_model_config import LanguageModelConfig

FORMAT = 1
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
ADAPTER = "adapter"
TOKENIZER = "tokenizer"
ARCHITECTURE = "architecture"
"""Folder of the Hugging Face config, where the base weights are saved too: such a folder needs no other."""


class CheckpointError(ValueError):
    """A saved model is incomplete, altered or of another kind."""


def sha256(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def atomic_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Create ``folder`` by filling a temporary one beside it and renaming; an older saved model is replaced.

    Until the new folder is whole the older one stays as it is. A kill between the two renames leaves the
    older one under a hidden name (``.NAME.old.*``) beside its place.

    Raises
    ------
    CheckpointError
        when the place is taken by anything but a saved model or an empty folder.
    """
    folder = Path(folder).absolute()
    if folder.exists() and saved_kind(folder) is None and not _is_empty(folder):
        raise CheckpointError(f"{folder} exists and is not a saved model; choose another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        fill(temporary)
        temporary.chmod(0o755)
        if not folder.exists() or _is_empty(folder):
            os.replace(temporary, folder)
        else:
            _exchange(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _exchange(new: Path, folder: Path) -> None:
    """Put ``new`` in the place of ``folder``; when that fails the old one is put back."""
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
    os.replace(folder, aside / "model")
    try:
        os.replace(new, folder)
    except OSError:
        os.replace(aside / "model", folder)
        raise
    finally:
        shutil.rmtree(aside)


# -- saving ------------------------------------------------------------------------------------------


def own_state(
    model: nn.Module, language_model: LanguageModel, state: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """What a checkpoint must hold beside the adapter: everything but untrained base weights.

    Language-model weights are kept where they are trained outside an adapter or exist nowhere else. ``state``
    is chosen from; default the model's own.
    """
    prefix = _language_model_prefix(model, language_model)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    keep = language_model.config.owns_weights
    own: dict[str, Tensor] = {}
    for name, tensor in (model.state_dict() if state is None else state).items():
        if name.startswith(prefix) and ("lora_" in name or not (keep or name in trained)):
            continue
        own[name] = tensor
    return own


def _language_model_prefix(model: nn.Module, language_model: LanguageModel) -> str:
    """What the names of the language model's weights begin with inside ``model``."""
    for name, module in model.named_modules():
        if module is language_model:
            return f"{name}.model." if name else "model."
    raise ValueError(f"the language model is not a part of this {type(model).__name__}")


def _distinct(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tied tensors are stored under each of their names, as copies (safetensors refuses shared memory)."""
    seen: set[int] = set()
    out = {}
    for name, tensor in state.items():
        tensor = tensor.detach().cpu().contiguous()
        if tensor.numel() and tensor.untyped_storage().data_ptr() in seen:
            tensor = tensor.clone()
        seen.add(tensor.untyped_storage().data_ptr())
        out[name] = tensor
    return out


def save_model(
    folder: str | Path,
    model: nn.Module,
    language_model: LanguageModel,
    *,
    kind: str,
    settings: dict[str, Any],
    card: str,
    state: Mapping[str, Tensor] | None = None,
) -> None:
    """Save a model that contains ``language_model``.

    Parameters
    ----------
    folder : created or replaced as a whole.
    kind : what :func:`read_config` must find when loading, e.g. "moltc-pairs".
    settings : JSON values that the model needs to be built again.
    card : text of the model card (README.md).
    state : entries of the model's state, where its weights are spread over processes; default all of it.

    Raises
    ------
    CheckpointError : the folder exists and is not a saved model.
    """

    def fill(target: Path) -> None:
        prefix = _language_model_prefix(model, language_model)
        own = own_state(model, language_model, state)
        save_file(_distinct(own), target / WEIGHTS, metadata={"format": "pt"})
        if language_model.config.training == "lora":
            given = None if state is None else {n.removeprefix(prefix): t for n, t in state.items()}
            # looking for resized embeddings, which belong to the state above, could ask the network
            language_model.model.save_pretrained(
                str(target / ADAPTER), save_embedding_layers=False, state_dict=given
            )
        if language_model.config.owns_weights:
            language_model.causal_lm.config.save_pretrained(target / ARCHITECTURE)
        language_model.tokenizer.save_pretrained(target / TOKENIZER)
        (target / "README.md").write_text(card, encoding="utf-8")
        files = sorted(p for p in target.rglob("*") if p.is_file())
        config = {
            "format": FORMAT,
            "kind": kind,
            "language_model": asdict(language_model.config),
            "language_model_prefix": prefix,
            "settings": settings,
            "files": {p.relative_to(target).as_posix(): sha256(p) for p in files},
        }
        text = json.dumps(config, indent=2, sort_keys=True, default=_plain)
        (target / CONFIG).write_text(text + "\n", encoding="utf-8")

    atomic_folder(Path(folder), fill)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{type(value).__name__} cannot be saved in {CONFIG}")


# -- loading -----------------------------------------------------------------------------------------


def saved_kind(folder: str | Path) -> str | None:
    """Kind of the saved model in a folder; None where there is none (a Hugging Face config names no kind).

    Raises
    ------
    CheckpointError : the folder's config cannot be read.
    """
    path = Path(folder) / CONFIG
    kind = _read_json(path).get("kind") if path.is_file() else None
    return kind if isinstance(kind, str) else None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}); export the model again") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} is not a JSON object; export the model again")
    return config


def read_config(folder: str | Path, *, kind: str | None = None) -> dict[str, Any]:
    """Read and verify a saved model's config: format, kind, and the hash of every file.

    Parameters
    ----------
    kind : the kind that the caller can read; None for any.

    Raises
    ------
    CheckpointError
        naming the folder, what is wrong and what to do.
    """
    folder = Path(folder)
    path = folder / CONFIG
    if not path.is_file():
        raise CheckpointError(
            f"no saved model in {folder}: {CONFIG} is missing (was saving interrupted?); export it again"
        )
    config = _read_json(path)
    if "kind" not in config or config.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} was not written by this version (its format is {config.get('format')}, readable is "
            f"{FORMAT}); update the package or export the model again"
        )
    if kind is not None and config["kind"] != kind:
        raise CheckpointError(
            f"{folder} holds a {config['kind']} model, expected {kind}; name another folder"
        )
    for name, digest in config["files"].items():
        file = folder / name
        if not file.is_file():
            part = (
                "the adapter, without which the base model would answer, " if name.startswith(ADAPTER) else ""
            )
            raise CheckpointError(
                f"{folder} is incomplete: {part}{name} is missing; copy the whole folder or export again"
            )
        if sha256(file) != digest:
            raise CheckpointError(
                f"{file} is not the file that was saved (its hash differs); copy or export the model again"
            )
    return config


def language_model_config(values: dict[str, Any]) -> LanguageModelConfig:
    """Settings of a language model, back from JSON.

    Raises
    ------
    CheckpointError : the settings are not those of this version.
    """
    try:
        return LanguageModelConfig.from_dict(values)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"the language model's settings cannot be read here: {error}") from error


def load_language_model(folder: str | Path, config: dict[str, Any]) -> LanguageModel:
    """Rebuild the language model of a saved folder: base weights from its name, adapter and tokenizer from
    the folder.

    Base weights that the folder holds itself are not loaded yet: :func:`load_weights` does.

    Parameters
    ----------
    config : what :func:`read_config` returned.

    Raises
    ------
    CheckpointError : the base model is not found, or the adapter does not fit it.
    """
    folder = Path(folder)
    lm_config = language_model_config(config["language_model"])
    architecture = folder / ARCHITECTURE if lm_config.owns_weights else None
    tokenizer = load_tokenizer(folder / TOKENIZER)
    try:
        language_model = LanguageModel.from_config(lm_config, tokenizer, architecture=architecture)
    except OSError as error:
        raise CheckpointError(
            f"the base model {lm_config.name} of {folder} cannot be loaded ({str(error).splitlines()[0]}); "
            f"fetch it, or write the place where it is into {CONFIG}, language_model.name"
        ) from error
    if lm_config.training == "lora":
        _load_adapter(folder, language_model)
    return language_model


def _load_adapter(folder: Path, language_model: LanguageModel) -> None:
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    file = folder / ADAPTER / "adapter_model.safetensors"
    if not file.is_file():
        raise CheckpointError(f"{folder} has no adapter ({file.name} is missing); export the model again")
    state = load_file(file)
    expected = get_peft_model_state_dict(language_model.model, save_embedding_layers=False)
    check_fit(f"the adapter in {folder} does not fit {language_model.config.name}", expected, state)
    set_peft_model_state_dict(language_model.model, state)


def load_weights(folder: str | Path, model: nn.Module, language_model: LanguageModel) -> None:
    """Load ``model.safetensors`` into a built model; each tensor must find its place and no place may stay
    empty.

    Raises
    ------
    CheckpointError : names or shapes differ.
    """
    _copy_state(folder, own_state(model, language_model), load_file(Path(folder) / WEIGHTS))


def load_text_model(folder: str | Path, config: dict[str, Any]) -> LanguageModel:
    """The language model of any saved folder, whole; towers and other parts of the saved model are left out.

    Parameters
    ----------
    config : what :func:`read_config` returned.

    Raises
    ------
    CheckpointError : the folder's parts do not fit each other.
    """
    language_model = load_language_model(folder, config)
    prefix = config["language_model_prefix"]
    stored = load_file(Path(folder) / WEIGHTS)
    state = {name.removeprefix(prefix): tensor for name, tensor in stored.items() if name.startswith(prefix)}
    expected = own_state(language_model, language_model)
    _copy_state(folder, {name.removeprefix("model."): tensor for name, tensor in expected.items()}, state)
    return language_model


def _copy_state(folder: str | Path, places: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    check_fit(f"{folder} does not fit this model", places, state)
    with torch.no_grad():
        for name, tensor in state.items():
            places[name].copy_(tensor)


def check_fit(
    what: str,
    expected: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    *,
    mend: str = "export the model again",
) -> None:
    """Same names, same shapes; otherwise a CheckpointError that begins with ``what`` and ends in ``mend``."""
    missing, unexpected = sorted(expected.keys() - state.keys()), sorted(state.keys() - expected.keys())
    if missing or unexpected:
        part = "the adapter, " if any("lora_" in name for name in missing) else ""
        raise CheckpointError(f"{what}: missing {part}{missing[:3]}, unexpected {unexpected[:3]}; {mend}")
    for name, tensor in state.items():
        if tensor.shape != expected[name].shape:
            found, wanted = list(tensor.shape), list(expected[name].shape)
            raise CheckpointError(f"{what}: {name} has shape {found}, the model {wanted}; {mend}")
