"""What the commands of all packages that train share: one seed, quiet set-up, user errors in one line."""

from __future__ import annotations

import logging
import sys
import warnings
from argparse import ArgumentError
from collections.abc import Callable, Sequence
from typing import Any

QUIET = (
    "LightningCLI's args parameter",  # callers pass their own
    "Checkpoint directory .* exists",  # a resumed run's own
    ".*treespec, LeafSpec.*",  # inside Lightning
)
LIGHTNING = ("fit", "validate", "test", "predict")
"""The commands that Lightning runs."""
TRAINER_DEFAULTS = {"log_every_n_steps": 1, "num_sanity_val_steps": 0, "enable_model_summary": False}


def chosen_seed(seed_everything: bool | int | None) -> int:
    """The seed of weights, data order and noise; true and false choose 0."""
    return 0 if seed_everything is None or isinstance(seed_everything, bool) else seed_everything


def run_quietly(
    program: str,
    command: str,
    start: Callable[[], Any],
    user_errors: tuple[type[Exception], ...],
    quiet: Sequence[str] = (),
) -> int:
    """Run one Lightning command by ``start``; user errors are one line and exit status 2.

    ``quiet`` are further warnings that say nothing to a user, as patterns.
    """
    for name in ("utilities.rank_zero", "trainer.connectors.checkpoint_connector"):  # hardware lists and tips
        logging.getLogger(f"lightning.pytorch.{name}").setLevel(logging.WARNING)
    for message in (*QUIET, *quiet):
        warnings.filterwarnings("ignore", message=message)
    try:
        start()
    except ArgumentError as error:  # an option; its own message may go over several lines
        said = " ".join(str(error).split())
        print(f"{program} {command}: {said}; see {program} {command} --help", file=sys.stderr)
        return 2
    except user_errors as error:
        print(f"{program} {command}: {error}", file=sys.stderr)
        return 2
    return 0
