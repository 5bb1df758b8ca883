"""The options of ``graphrec fit``: one parser for each model, made from its settings and their defaults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import yaml
from jsonargparse import ActionConfigFile, ArgumentParser, Namespace

from graphrec.neural import NeuralRecommender
from graphrec.recommender import Recommender
from graphrec.registry import MODELS, model_class
from graphrec.trainer import TrainerConfig
from moltc.backbone.tracking import add_tracking

Presets = Literal["default", "reference"]
RANKED = "rank candidates alone, not the whole catalogue too; for data whose metric is a HitRatio"


@dataclass(frozen=True)
class DataOptions:
    """What a model is fitted on.

    Attributes:
        folder: written by data-prep build or data-prep interactions.
        refit_on_trainval: fit on what validation adds too; nothing is validated then.
    """

    folder: str
    refit_on_trainval: bool = False


def fit_parser(name: str, preset: str = "default") -> ArgumentParser:
    """The parser for one model.

    Args:
        name: of the model, in the registry.
        preset: whose settings are the defaults: the model's, or with "reference" those of published runs.
    """
    cls = model_class(name)
    parser = ArgumentParser(
        prog="graphrec fit",
        description=f"Fit {name}, test it, save it. Other models have other settings: --model.name NAME "
        f"--help, with NAME one of {', '.join(MODELS)}.",
        exit_on_error=False,
    )
    parser.add_argument("--config", action=ActionConfigFile, help="YAML file with any of these options")
    parser.add_argument("--seed_everything", type=int, default=0, help="of everything that is drawn")
    parser.add_argument("--out", type=str, required=True, help="folder of the run, e.g. runs/graphrec/mine")
    parser.add_argument(
        "--label", type=str | None, default=None, help="what tables call it; default: its name"
    )
    parser.add_argument("--model.name", type=str, required=True, help="which recommender")
    parser.add_argument("--model.preset", type=Presets, default="default", help="whose settings are defaults")
    parser.add_class_arguments(cls.config_class, "model", help=f"settings of {name}")
    parser.add_class_arguments(DataOptions, "data")
    parser.add_argument(
        "--tune",
        type=dict[str, list[Any]] | bool,
        default=False,
        help="settings tried on the validation rows: a list of values for each, or true for the usual ones",
    )
    parser.add_argument("--test", type=bool, default=True, help="rank the test rows at the end")
    parser.add_argument("--candidates_only", type=bool, default=False, help=RANKED)
    if issubclass(cls, NeuralRecommender):
        parser.add_class_arguments(TrainerConfig, "trainer")
        parser.add_argument("--resume", type=str | None, default=None, help="a checkpoint of this run")
    add_tracking(parser)
    if preset == "reference":
        parser.set_defaults(_reference(cls))
    return parser


def _reference(cls: type[Recommender]) -> dict[str, Any]:
    """Settings of published runs, as defaults of a parser."""
    make = getattr(cls.config_class, "reference", None)
    if make is None:
        raise ValueError(f"{cls.name} has no preset 'reference': leave model.preset out")
    config = make()
    return {f"model.{field.name}": getattr(config, field.name) for field in fields(config)}


def model_config(options: Namespace) -> Any:
    """The settings of the model that was asked for."""
    cls = model_class(options.model.name).config_class
    return cls(**{field.name: getattr(options.model, field.name) for field in fields(cls)})


def chosen_model(arguments: Sequence[str]) -> tuple[str, str]:
    """Name and preset that the arguments and their YAML files ask for; later ones win.

    Raises:
        ValueError: no model is named, or a file cannot be read.
    """
    found = {"name": "", "preset": "default"}
    for option, value in _pairs(arguments):
        if option == "--config":
            found |= _of_file(value)
        elif option in ("--model.name", "--model.preset"):
            found[option.removeprefix("--model.")] = value
    if not found["name"]:
        raise ValueError(f"which model? add --model.name NAME, one of {', '.join(MODELS)}")
    return found["name"], found["preset"]


def _pairs(arguments: Sequence[str]) -> list[tuple[str, str]]:
    """Options with their values, however they are written."""
    following = [*arguments, ""][1:]
    split = [argument.partition("=") for argument in arguments]
    return [
        (option, value if equals else after)
        for (option, equals, value), after in zip(split, following, strict=True)
    ]


def _of_file(path: str) -> dict[str, str]:
    try:
        with open(path, encoding="utf-8") as file:
            content = yaml.safe_load(file)
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"the configuration {path} cannot be read: {error}") from error
    model = content.get("model") if isinstance(content, dict) else None
    given = model if isinstance(model, dict) else {}
    return {name: str(given[name]) for name in ("name", "preset") if name in given}
