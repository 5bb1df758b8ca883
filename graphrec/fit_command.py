"""``graphrec fit``: settings chosen, a model fitted, validated, tested and saved, all of it in one folder.

A run's folder holds config.yaml, tuning.json (where settings were tried), logs/ and checkpoints/ (of
gradient-trained models), valid/ and test/ (ranks.parquet, results.json, and reports of the
model's own), export/ (the model for ``recommend`` and others) and, where it is tracked, wandb/.
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentError
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from data_prep.errors import DataError
from data_prep.files import replacing
from graphrec.configuration import chosen_model, fit_parser, model_config
from graphrec.data import RecommendationData
from graphrec.neural import NeuralRecommender
from graphrec.recommender import FitReport, Recommender
from graphrec.registry import MODELS, model_class
from graphrec.results import Split, check_candidates, evaluate
from graphrec.tables import print_metrics
from graphrec.trainer import TrainerConfig
from graphrec.tuning import Trial, tune
from moltc.backbone.bootstrap import Bootstrap
from moltc.backbone.checkpoint import CheckpointError
from moltc.backbone.lineage import Lineage
from moltc.backbone.tracking import RunTracker, WandbConfig

USER_ERRORS = (CheckpointError, DataError, ValueError, OSError, ArgumentError)


def run(arguments: Sequence[str]) -> int:
    """Run ``graphrec fit`` with what stands behind it; 0 when it succeeded, 2 when it cannot start."""
    try:
        if {"--help", "-h"} & set(arguments) and not any("model.name" in given for given in arguments):
            print(f"graphrec fit --model.name NAME --help shows the options of NAME: {', '.join(MODELS)}")
            return 0
        parser = fit_parser(*chosen_model(arguments))
        Run(parser, parser.parse_args(list(arguments))).start()
    except USER_ERRORS as error:
        print(f"graphrec fit: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


class Run:
    """One run of the command.

    Args:
        parser: made the options, and writes them down.
        options: all of them.
    """

    def __init__(self, parser: ArgumentParser, options: Namespace) -> None:
        self.options = options
        self.folder = Path(options.out)
        self.data = RecommendationData.load(options.data.folder)
        if options.candidates_only:
            check_candidates(self.data)
        self.model: Recommender = model_class(options.model.name)(model_config(options))
        self.trainer = TrainerConfig(**options.trainer.as_dict()) if "trainer" in options else None
        self.config = parser.dump(options, skip_none=False)
        self.tracker = self._tracker()

    def _tracker(self) -> RunTracker | None:
        config = WandbConfig(**self.options.wandb.as_dict())
        if self.options.tracking == "none":
            if config != WandbConfig():
                raise ValueError("the wandb options need --tracking wandb; add it, or leave them out")
            return None
        before = Lineage(self.folder, self.options.get("resume")).run_id
        tracker = RunTracker(config, self.folder, before, project="graphrec")
        return None if tracker.mode == "disabled" else tracker

    def start(self) -> None:
        """Do all of it."""
        with self.tracker or nullcontext():
            self._write("config.yaml", self.config)
            if self.tracker:
                self.tracker.log_hyperparams(yaml.safe_load(self.config))
            if self.options.tune:
                self._tune()
            self._report(self._fit())
            self.model.save_pretrained(self.folder / "export")
            if not self.options.data.refit_on_trainval and len(self.data.valid):
                self._evaluate("valid")
            if self.options.test:
                self._evaluate("test")
            if self.tracker:
                export = self.folder / "export"
                self.tracker.log_artifact(export, name=f"model-{self.tracker.root.name}", kind="model")
        Console(highlight=False).print(f"model: {self.folder / 'export'}", markup=False)

    def _tune(self) -> None:
        """Leave the best settings in the model, and every trial in tuning.json."""
        grid = self.model.grid if self.options.tune is True else self.options.tune
        if not grid:
            raise ValueError(
                f"{self.model.name} has no usual grid: say what to try, as {{SETTING: [VALUES]}}"
            )

        def fit(model: Recommender) -> FitReport:
            return model.fit(self.data, trainer=self.trainer, seed=self.options.seed_everything)

        trials = tune(self.model, self.data, grid, fit=fit, seed=self.options.seed_everything)
        self._write("tuning.json", json.dumps([trial._asdict() for trial in trials], indent=2) + "\n")
        self._tell(trials[0], len(trials))

    def _tell(self, best: Trial, count: int) -> None:
        chosen = ", ".join(f"{name} {value}" for name, value in best.settings.items())
        metric = self.data.manifest.metric
        Console(highlight=False).print(f"best of {count}: {chosen} (validation {metric} {best.score:.4f})")

    def _fit(self) -> FitReport:
        options: dict[str, Any] = {
            "refit_on_trainval": self.options.data.refit_on_trainval,
            "trainer": self.trainer,
            "seed": self.options.seed_everything,
        }
        if isinstance(self.model, NeuralRecommender):
            self.model.loggers = () if self.tracker is None else (self.tracker,)
            options |= {"folder": self.folder, "resume": self.options.resume}
        return self.model.fit(self.data, **options)

    def _report(self, report: FitReport) -> None:
        """Say what fitting took, and keep it with the settings that were used in the end."""
        said = {"model": self.model.name, "settings": asdict(self.model.config), **asdict(report)}
        self._write("fit.json", json.dumps(said, indent=2) + "\n")
        epochs = f", {report.epochs} epochs" if report.epochs else ""
        best = f", best after epoch {report.best_epoch}" if report.best_epoch is not None else ""
        lines = [f"{self.model.name} fitted in {report.seconds:.1f} s{epochs}{best}", *report.notes]
        for line in lines:
            Console(highlight=False).print(line, markup=False)

    def _evaluate(self, split: Split) -> None:
        options = self.options
        found = evaluate(
            self.model,
            self.data,
            split,
            label=options.label,
            seed=options.seed_everything,
            candidates_only=options.candidates_only,
        )
        metrics = found.save(self.folder / split, Bootstrap(seed=options.seed_everything))
        print_metrics(found, metrics)
        if self.tracker and split == "test":
            self.tracker.log_results(metrics["all"], {}, [])
        if split == "test":
            self._report_further(split)

    def _report_further(self, split: Split) -> None:
        """Reports of the model's own, such as the answers that it writes."""
        options = {"label": self.options.label, "seed": self.options.seed_everything}
        for name, report in self.model.further_reports(self.data, split, **options).items():
            report.save(self.folder / split / name)
            Console(highlight=False, width=240).print(report.markdown(), markup=False)
            if self.tracker:
                report.track(self.tracker)

    def _write(self, name: str, text: str) -> None:
        with replacing(self.folder / name) as partial:
            partial.write_text(text, encoding="utf-8")
