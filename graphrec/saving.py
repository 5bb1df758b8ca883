"""A saved recommender: ``config.json`` (name, settings, hashes), ``items.parquet``, ``model.safetensors``,
and files of the model's own, such as a tokenizer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from graphrec.catalogue import Catalogue
from graphrec.registry import MODELS, model_class
from moltc.backbone.checkpoint import (
    CONFIG,
    FORMAT,
    WEIGHTS,
    CheckpointError,
    atomic_folder,
    read_config,
    sha256,
)

if TYPE_CHECKING:
    from graphrec.recommender import Recommender

KIND = "recommender"
ITEMS = "items.parquet"
Model = TypeVar("Model", bound="Recommender")


def save(
    folder: str | Path,
    name: str,
    settings: Mapping[str, Any],
    catalogue: Catalogue,
    arrays: Mapping[str, NDArray[Any]],
    write_files: Callable[[Path], None] | None = None,
) -> None:
    """Write a recommender, whole or not at all; an older one in the same place is replaced.

    Args:
        write_files: writes what is no array into the folder it is given.
    """

    def fill(target: Path) -> None:
        save_file({key: np.ascontiguousarray(value) for key, value in arrays.items()}, target / WEIGHTS)
        _items(catalogue).write_parquet(target / ITEMS)
        if write_files is not None:
            write_files(target)
        files = sorted(path for path in target.rglob("*") if path.is_file())
        config = {
            "format": FORMAT,
            "kind": KIND,
            "model": name,
            "settings": settings,
            "files": {path.relative_to(target).as_posix(): sha256(path) for path in files},
        }
        (target / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")

    atomic_folder(Path(folder), fill)


def load(cls: type[Model], folder: str | Path) -> Model:
    """Read a recommender, which must be a ``cls``."""
    folder = Path(folder)
    if not (folder / CONFIG).exists() and (folder / "export" / CONFIG).is_file():
        raise CheckpointError(f"{folder} is the folder of a run; its saved model is {folder / 'export'}")
    config = read_config(folder, kind=KIND)
    if config.get("model") not in MODELS:
        raise CheckpointError(
            f"{folder} holds a recommender {config.get('model')!r}, unknown here; update the package"
        )
    found = model_class(config["model"])
    if not issubclass(found, cls):
        raise CheckpointError(
            f"{folder} holds a {found.__name__}, not a {cls.__name__}: name a folder that does"
        )
    model = found(_settings(found, config["settings"], folder))
    model.catalogue = _catalogue(pl.read_parquet(folder / ITEMS))
    model.folder = folder
    model.set_arrays(load_file(folder / WEIGHTS))
    return model


def _settings(found: type[Recommender], values: Mapping[str, Any], folder: Path) -> Any:
    plain = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    try:
        return found.config_class(**plain)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"the settings of {folder} cannot be read here: {error}") from error


def _items(catalogue: Catalogue) -> pl.DataFrame:
    columns = {"item_id": pl.Series(catalogue.item_ids, dtype=pl.String)}
    if len(catalogue.titles):
        columns["title"] = pl.Series(catalogue.titles, dtype=pl.String)
    for name, groups in catalogue.groups.items():
        columns[f"group:{name}"] = pl.Series([list(group) for group in groups], dtype=pl.List(pl.String))
    return pl.DataFrame(columns)


def _catalogue(table: pl.DataFrame) -> Catalogue:
    return Catalogue(
        table["item_id"].to_list(),
        table["title"].to_list() if "title" in table.columns else (),
        {
            name.removeprefix("group:"): table[name].to_list()
            for name in table.columns
            if name.startswith("group:")
        },
    )
