"""From one training stage to the next: what a model takes over from an exported one, and what a new one's
vocabulary is made from.

MolTC (arXiv 2402.03781) trains in stages: single molecules and pairs of them are described first, then tasks
are answered. Every stage starts from the last export.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from data_prep.molecules import MoleculeTable
from moltc.backbone.language_model import LanguageModel, LanguageModelConfig
from moltc.backbone.vocabulary import extend_vocabulary
from moltc.model import MolTC, MolTCConfig
from moltc.pair_table import PairTable
from moltc.prompt_writer import fixed_phrases
from moltc.task import Task

MAX_TOKENIZER_TEXTS = 20_000

log = logging.getLogger(__name__)


def continued(config: MolTCConfig, tasks: Sequence[Task], folder: str) -> MolTC:
    """A model for ``tasks`` that starts from an exported one.

    It takes over the language model, whose tiny form learns the phrases that are new to it, and the towers of
    the same key; a tower for a new key starts as the export's first one, since all towers of a stage begin
    alike. Auxiliary heads are taken over where question and sizes are the same, with the scale of their
    labels.

    Raises
    ------
    ValueError : the exported model has another language model or other towers.
    """
    before = MolTC.from_pretrained(folder)
    had = before.config
    if replace(had.towers, freeze=config.towers.freeze) != config.towers:
        raise ValueError(f"{folder} was made with other towers; give the same configuration")
    language_model = _language_model(before, config.language_model, folder)
    if config.language_model.is_tiny:
        phrases = [phrase for task in tasks for phrase in fixed_phrases(config, task)]
        extend_vocabulary(language_model, phrases)
    scales = {task.head: task for task in before.tasks}
    heads = before.pair_towers.heads
    same_head = replace(had.head, neighbours=config.head.neighbours) == config.head  # votes have no weights
    kept = [
        replace(task, mean=scales[task.head].mean, std=scales[task.head].std)
        if same_head and task.head in heads
        else task
        for task in tasks
    ]
    model = MolTC(config, kept, language_model)
    _take_over_towers(before, model)
    for name, head in model.pair_towers.heads.items():
        if same_head and name in heads and head.spec == heads[name].spec:
            head.load_state_dict(heads[name].state_dict())
    return model.train()  # loaded models are in evaluation mode, and trainers leave the mode as it is


def _language_model(before: MolTC, config: LanguageModelConfig, folder: str) -> LanguageModel:
    """The export's language model; one that was frozen may be trained from now on."""
    had = before.config.language_model
    if had == config:
        return before.language_model
    if had.training == "frozen" and replace(had, training=config.training, lora=config.lora) == config:
        return LanguageModel.from_config(config)  # its weights are those it was published with
    raise ValueError(f"{folder} was made with another language model; give the same configuration")


def _take_over_towers(before: MolTC, model: MolTC) -> None:
    """Weights of the towers by key; a key that the export lacks gets those of a tower of its role, or of
    its first tower."""
    source, target = before.pair_towers.towers, model.pair_towers.towers

    def start(key: str) -> str:
        role = key.rpartition(":")[2]  # under by_task a key names data set and role
        alike = [known for known in source.keys if known.rpartition(":")[2] == role]
        return key if key in source.keys else (*alike, source.keys[0])[0]

    for key in target.keys:
        if start(key) != key:
            log.warning("the tower for %s starts as that for %s", key, start(key))
        target.copy_tower(key, source, start(key))


def training_texts(
    config: MolTCConfig, tasks: Sequence[Task], table: PairTable, rows: np.ndarray
) -> Iterator[str]:
    """Texts that the tiny tokenizer learns from: what the prompts and targets of the training split hold."""
    rows = rows[:: max(1, len(rows) // MAX_TOKENIZER_TEXTS)]
    molecules: MoleculeTable = table.molecules
    seen = np.unique(np.concatenate([table.mol_a[rows], table.mol_b[rows]]))
    seen = seen[seen >= 0]
    described = any(task.family == "description" for task in tasks)
    if config.prompt.smiles:
        yield from (str(s) for s in molecules.smiles[seen])
    if config.cot.properties or described:
        yield from (str(s) for s in molecules.property_text[seen])
    if table.query is not None:
        yield from (str(q) for q in dict.fromkeys(table.query[rows].tolist()) if q)
    if table.answer is not None:
        yield from (str(t) for t in table.answer[rows].tolist() if t)
    for number, task in enumerate(tasks):
        if task.kind.kind != "text":
            own = rows[table.task[rows] == number]
            yield from task.answers(task.printed(table.label[own]), config.cot)
