"""The W&B run of a model of molecular pairs: :mod:`moltc.backbone.tracking`, and drawn test pairs."""

from __future__ import annotations

import io

import polars as pl

from moltc.backbone import tracking
from moltc.backbone.tracking import WandbConfig as WandbConfig
from moltc.backbone.tracking import choose_mode as choose_mode
from moltc.backbone.tracking import data_summary as data_summary
from moltc.backbone.tracking import flat_metrics as flat_metrics
from moltc.backbone.tracking import has_key as has_key
from moltc.drawings import MOLECULES, SHOWN, distinct_molecules, png


class RunTracker(tracking.RunTracker):
    """The W&B run of one folder, as a Lightning logger; see :class:`moltc.backbone.tracking.RunTracker`."""

    def log_pairs(self, pairs: pl.DataFrame, note: str, task: str = "") -> None:
        """Keep chosen test pairs as the table ``test/pairs``, both molecules drawn; ``note`` says which they
        are."""
        import wandb
        from PIL import Image

        drawn = {
            smiles: wandb.Image(Image.open(io.BytesIO(png(smiles))), caption=smiles)
            for smiles in distinct_molecules(pairs)
        }
        columns = [name for name in (*MOLECULES, *SHOWN) if name in pairs.columns]
        slots = [name for name in MOLECULES if name in columns]
        rows = [
            [*(drawn.get(row[name]) for name in slots), *(row[name] for name in columns)]
            for row in pairs.iter_rows(named=True)
        ]
        key = f"test/{task}/pairs" if task else "test/pairs"
        self.log_table(key, [*(name.replace("smiles", "molecule") for name in slots), *columns], rows)
        self.experiment.summary[f"{key}_note"] = note
