"""RecInterpreter (Yang et al., arXiv 2310.20487) behind the common face of recommenders.

A saved recommender is read, never changed: lists and scores are its own, and what it holds of a history is
put into words. Exports hold the recommender too, so that they stand alone.

Letters: B rows, M histories, N items, L places, S entities of a question.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from align.reference_cache import weights_digest
from graphrec.catalogue import Catalogue, ItemId
from graphrec.data import Interactions, RecommendationData
from graphrec.histories import Histories, Integers
from graphrec.language.building import tie
from graphrec.language.titles import all_titles
from graphrec.language.tokenizer import catalogue_tokenizer
from graphrec.neural import NeuralRecommender
from graphrec.recinterpreter.asking import Asker
from graphrec.recinterpreter.batch import InterpreterBatch, question_batch
from graphrec.recinterpreter.config import RecInterpreterConfig
from graphrec.recinterpreter.digests import TitleDigests
from graphrec.recinterpreter.examples import Cuts, TaskRows
from graphrec.recinterpreter.mentions import TitleIndex
from graphrec.recinterpreter.network import Evidence, InterpreterNetwork
from graphrec.recinterpreter.oracle import oracle_noise
from graphrec.recinterpreter.prompts import all_texts, listed, listing, named
from graphrec.recinterpreter.states import Source, checked_source, place_states
from graphrec.recommender import FitReport, Floats, Recommender
from graphrec.topk import Factors
from moltc.backbone.checkpoint import TOKENIZER, CheckpointError, check_fit, own_state
from moltc.backbone.decoding import generate
from moltc.backbone.language_model import LanguageModel, load_tokenizer
from moltc.backbone.packing import PackedTrees
from moltc.backbone.prompt import PromptTree

if TYPE_CHECKING:
    from graphrec.trainer import TrainerConfig

ANSWERS_AT_ONCE = 64
SOURCE = "source"
"""Folder of the read recommender in an export."""


class Description(NamedTuple):
    """What was read out of a history."""

    text: str
    item_ids: list[str]
    """Items that the text names, in its order; all of those that share a title."""


class RecInterpreter(NeuralRecommender):
    """Reads a recommender's states aloud.

    >>> model = RecInterpreter(RecInterpreterConfig(source="runs/graphrec/sasrec/export", domain="artists"))
    """

    name = "recinterpreter"
    config_class = RecInterpreterConfig
    config: RecInterpreterConfig
    network: InterpreterNetwork
    source: Source | None = None
    asker: Asker
    titles: list[str]
    digests: TitleDigests | None = None
    tokenizer: Any = None
    """Of an export; None: one is made, or comes with the language model."""
    _source_number: int

    # -- training --------------------------------------------------------------------------------------------

    def fit(
        self,
        data: RecommendationData,
        *,
        refit_on_trainval: bool = False,
        trainer: TrainerConfig | None = None,
        seed: int = 0,
        folder: str | Path | None = None,
        resume: str | Path | None = None,
    ) -> FitReport:
        """Train the reader; see :meth:`graphrec.neural.NeuralRecommender.fit`.

        Raises:
            ValueError: weights are to be chosen by validation, which ranks by the read recommender alone; or
                no recommender is named.
        """
        from graphrec.trainer import TrainerConfig

        options = trainer or TrainerConfig(validate_every=0)
        if options.validate_every:
            raise ValueError(
                "lists are those of the recommender that is read, whatever the reader learns: give "
                "validate_every 0, and compare runs by graphrec interpret --split valid"
            )
        if not self.config.source:
            raise ValueError("name the saved recommender to read as source, e.g. runs/graphrec/mine/export")
        self.source = checked_source(Recommender.from_pretrained(self.config.source), self.config.length)
        if list(self.source.catalogue.item_ids) != list(data.catalogue.item_ids):
            raise ValueError(
                f"{self.config.source} knows other items than {data.folder}; fit it on these data"
            )
        return super().fit(
            data,
            refit_on_trainval=refit_on_trainval,
            trainer=options,
            seed=seed,
            folder=folder,
            resume=resume,
        )

    def build(self, catalogue: Catalogue) -> InterpreterNetwork:
        config, source = self.config, self._source()
        self.titles = all_titles(catalogue)
        tokenizer = self.tokenizer
        if tokenizer is None and config.pretrained is None:
            texts = all_texts(config.domain)
            tokenizer = catalogue_tokenizer(
                self.titles, texts, vocabulary=config.vocabulary, size=config.vocabulary_size
            )
        language_model = LanguageModel.from_config(config.language_model, tokenizer)
        if config.pretrained is None:
            tie(language_model)
        width = source.states(Histories.from_lists([[0]])).shape[1]
        of_items = source.item_vectors().shape[1]
        if "item" in config.tasks and of_items != width:
            raise ValueError(
                f"item vectors of this {source.name} are {of_items} wide and its states {width}, so that the "
                "task item cannot read them: leave it out of tasks"
            )
        network = InterpreterNetwork(language_model, width, config)
        self._source_number = _number(source)
        network.source.fill_(self._source_number)
        self.asker = Asker(language_model.tokenizer, network.soft_run, config.domain)
        if config.language_steps:
            self.digests = TitleDigests([self.asker.builder.ids(title) for title in self.titles])
        return network

    def prepare(self, fitted: Interactions) -> None:
        """Measure how far DreamRec's oracle items lie from items, which is the noise that ``item`` trains
        under."""
        if "item" in self.config.tasks:
            self.network.noise.copy_(torch.from_numpy(oracle_noise(self._source(), fitted.histories)))

    def _source(self) -> Source:
        if self.source is None:
            raise ValueError("this interpreter reads no recommender yet: fit it")
        return self.source

    def batches(self, train: Histories, epoch: int, seed: int) -> Iterator[InterpreterBatch]:
        tasks = range(len(self.config.tasks))
        for rows in Cuts.of(train).batches(self.config.batch_size, self.config.length, tasks, epoch, seed):
            yield self._batch(rows)

    def num_batches(self, train: Histories) -> int:
        return -(-len(Cuts.of(train)) // self.config.batch_size)

    def _batch(self, rows: TaskRows) -> InterpreterBatch:
        return question_batch(rows, self.config.tasks, self._tree, self.network.lm.pack)

    def _tree(self, task: str, entities: Sequence[int], window: Sequence[int], wording: int) -> PromptTree:
        """A question about some entities, answered from the window that ends in the item asked for."""
        titles = [self.titles[number] for number in window]
        answer = self._listing(titles) if task == "recovery" else titles[-1]
        limit = self.config.answer_tokens
        return self.asker.tree(task, entities, [answer], wording=wording, limit=limit)

    def _listing(self, titles: Sequence[str]) -> str:
        return listing(titles, self.config.domain, self.config.separator)

    def loss(self, batch: InterpreterBatch, step: int) -> dict[str, Tensor]:
        config, network = self.config, self.network
        if int(network.source) != self._source_number:
            raise CheckpointError(f"{config.source} is not the recommender that this run began to read")
        on_titles = step < config.language_steps
        adapter = network.reading()
        if on_titles:
            network.train_only(network.writing())
            assert self.digests is not None
            evidence = self.digests.evidence(batch.windows, batch.items, config.length, network.embeddings)
        else:
            network.train_only([*adapter, *network.lm.parameters()] if config.trains == "all" else adapter)
            evidence = self.evidence(batch.windows, batch.items)
            noise = torch.randn_like(evidence.vectors) * network.noise
            evidence = Evidence(evidence.states, evidence.mask, evidence.vectors + noise)
        found = network.score(batch.packed, evidence, titles=on_titles)
        return {"loss": -found.token_logps.mean(), "titles": found.logps.new_tensor(float(on_titles))}

    def optimiser(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            self.network.parameters(), lr=self.config.lr, weight_decay=self.config.weight_decay
        )

    def rate_factor(self, step: int) -> float:
        config = self.config
        done = step if step < config.language_steps else step - config.language_steps
        risen = min(1.0, done / config.warmup_steps) if config.warmup_steps else 1.0
        return config.warmup_from + (1 - config.warmup_from) * risen

    # -- reading ---------------------------------------------------------------------------------------------

    def evidence(self, windows: Histories, items: Integers | None = None) -> Evidence:
        """What the recommender holds of histories, and its vectors of items, where the weights are."""
        source = self._source()
        if source.device != self.device:
            source.network.to(self.device)
        states, mask = place_states(source, windows, self.config.length)
        some = np.empty(0, dtype=np.int64) if items is None else items
        vectors = source.item_vectors()[some] if len(some) else np.zeros((0, states.shape[2]), np.float32)
        found = Evidence(*(torch.from_numpy(np.asarray(part)) for part in (states, mask, vectors)))
        return found.to(self.device)

    def title_evidence(self, windows: Histories) -> Evidence:
        """Digests of the titles themselves, which a language model from scratch was trained to read.

        Raises:
            ValueError: it was not.
        """
        if self.digests is None:
            raise ValueError(
                "this language model was not trained on titles, so that it reads no title digests"
            )
        none = np.empty(0, dtype=np.int64)
        with self.inference():
            return self.digests.evidence(windows, none, self.config.length, self.network.embeddings)

    def answers(
        self, task: str, evidence: Evidence, entities: Integers, *, titles: bool = False
    ) -> list[str]:
        """Greedy answers to questions of one task.

        Args:
            entities: rows of the evidence, ``[B, S]``.
            titles: the evidence is that of :meth:`title_evidence`.
        """
        tokenizer = self.network.lm.language_model.tokenizer
        found: list[str] = []
        for trees, packed in self._parts(self.asker.trees(task, entities)):
            with self.inference():
                soft = self.network.soft_tokens(evidence.select(packed.entities), titles=titles)
                ids = generate(self.network.lm, trees, soft, max_new_tokens=self.config.max_new_tokens)
            found += tokenizer.batch_decode([row.tolist() for row in ids], skip_special_tokens=True)
        cut = listed if task == "recovery" else _named
        return [cut(text, self.config.domain) for text in found]

    def log_probs(
        self,
        task: str,
        evidence: Evidence,
        entities: Integers,
        completions: Sequence[Sequence[str]],
        *,
        titles: bool = False,
    ) -> list[Floats]:
        """Log-probabilities of given answers to each question, summed over their tokens."""
        trees = [
            self.asker.tree(task, row, texts)
            for row, texts in zip(entities.tolist(), completions, strict=True)
        ]
        found: list[Floats] = []
        for some, packed in self._parts(trees):
            with self.inference():
                scored = self.network.score(packed, evidence.select(packed.entities), titles=titles)
            sums = scored.logps.cpu().numpy()
            found += np.split(sums, np.cumsum([len(tree.completions) for tree in some])[:-1])
        return found

    def _parts(self, trees: Sequence[PromptTree]) -> Iterator[tuple[Sequence[PromptTree], PackedTrees]]:
        for first in range(0, len(trees), ANSWERS_AT_ONCE):
            some = trees[first : first + ANSWERS_AT_ONCE]
            yield some, self.network.lm.pack(some).to(self.device)

    def describe(self, histories: Sequence[Sequence[ItemId]]) -> list[Description]:
        """What the recommender holds of each history, in words, from its latest items.

        Args:
            histories: item ids, oldest first.
        """
        windows = self.catalogue.histories(histories)
        texts = self.answers("recovery", self.evidence(windows), np.arange(len(windows))[:, None])
        index = TitleIndex(self.titles)
        return [
            Description(
                text,
                [self.catalogue.item_ids[n] for t in index.mentions(text).titles for n in index.items[t]],
            )
            for text in texts
        ]

    def name_added(self, before: Sequence[Sequence[ItemId]], after: Sequence[Sequence[ItemId]]) -> list[str]:
        """The title of what was added to each history, as read from the states before and after.

        Raises:
            ValueError: there are not as many histories before as after.
        """
        if len(before) != len(after):
            raise ValueError(f"{len(before)} histories before and {len(after)} after: give one each")
        windows = self.catalogue.histories([*before, *after])
        pairs = np.arange(2 * len(before)).reshape(2, -1).T
        return self.answers("residual", self.evidence(windows), pairs)

    # -- lists, which are the source's -----------------------------------------------------------------------

    def scores(self, histories: Histories) -> Floats:
        """Those of the recommender that is read."""
        return self._source().scores(histories)

    def factors(self, histories: Histories) -> Factors | None:
        """Those of the recommender that is read."""
        return self._source().factors(histories)

    def item_vectors(self) -> Floats:
        """Those of the recommender that is read."""
        return self._source().item_vectors()

    # -- saving ----------------------------------------------------------------------------------------------

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that was trained, and the language model unless it is a published one."""
        own = own_state(self.network, self.network.lm.language_model)
        return {name: _array(tensor) for name, tensor in own.items()}

    def set_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        if self.folder is None:
            raise CheckpointError("an interpreter is read from a folder, which holds what it reads")
        self.source = checked_source(Recommender.from_pretrained(self.folder / SOURCE), self.config.length)
        self.tokenizer = load_tokenizer(self.folder / TOKENIZER)
        self.start(self.catalogue, seed=0)
        own = own_state(self.network, self.network.lm.language_model)
        state = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
        check_fit("the saved weights do not fit this model", own, state)
        with torch.no_grad():
            for name, tensor in state.items():
                own[name].copy_(tensor)
        self.network.eval()

    def file_writer(self) -> Callable[[Path], None] | None:
        return self._write_files

    def _write_files(self, folder: Path) -> None:
        """The recommender that is read, and the tokenizer."""
        self._source().save_pretrained(folder / SOURCE)
        self.network.lm.language_model.tokenizer.save_pretrained(folder / TOKENIZER)


def _named(text: str, domain: str) -> str:
    return named(text)


def _array(tensor: Tensor) -> NDArray[Any]:
    plain = tensor.detach().cpu()
    found: NDArray[Any] = (plain.float() if plain.dtype == torch.bfloat16 else plain).numpy()
    return found


def _number(source: Source) -> int:
    """A number for the weights of a recommender."""
    return int(weights_digest(source.network, adapter=False), 16) >> 1
