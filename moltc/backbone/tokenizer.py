"""The tokenizer of the built-in tiny language model: byte-level BPE, single digits, and fixed phrases.

It is trained from the training text. Phrases that every example repeats (a question, an interval) become
single vocabulary entries: the text stays what a large model would read and write, the tiny model only needs
fewer tokens for it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

log = logging.getLogger(__name__)

SPECIAL = ("<pad>", "<s>", "</s>", "<soft>")


def train_tokenizer(
    texts: Iterable[str], *, vocab_size: int = 1024, phrases: Sequence[str] = ()
) -> PreTrainedTokenizerFast:
    """Train the tiny model's tokenizer.

    Parameters
    ----------
    texts : training text.
    vocab_size : entries learnt from the text, the 256 bytes and the special tokens included; phrases come on
        top.
    phrases : texts that become one entry each; where several fit the longest is taken. A phrase that could
        not be read back (letters outside ASCII can be mistaken for bytes) stays ordinary text, and a warning
        names it.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    wrapped = wrap(tokenizer)
    add_phrases(wrapped, phrases)
    return wrapped


def add_phrases(tokenizer: PreTrainedTokenizerFast, phrases: Sequence[str]) -> list[str]:
    """Give each phrase an entry of its own behind the others, if it has none; returns those, in their order.

    A phrase that could not be read back stays ordinary text, and a warning names it.
    """
    vocabulary = tokenizer.get_vocab()  # "±" is in it too, as a byte
    known = {p for p in vocabulary.keys() & set(phrases) if _is_entry(tokenizer, p, vocabulary[p])}
    unique = sorted(set(phrases) - known, key=lambda p: (-len(p), p))
    readable = [phrase for phrase in unique if _reads_back(tokenizer.backend_tokenizer, phrase)]
    if len(readable) < len(unique):
        left_out = [phrase for phrase in unique if phrase not in readable]
        log.warning("%d phrases stay ordinary text, since bytes look like them: %s", len(left_out), left_out)
    tokenizer.add_tokens([AddedToken(p, normalized=False, special=False) for p in readable])
    return readable


def _is_entry(tokenizer: PreTrainedTokenizerFast, phrase: str, number: int) -> bool:
    """Whether the entry of this number is what a text of this phrase is read as."""
    return bool(tokenizer.encode(phrase, add_special_tokens=False) == [number])


def _reads_back(tokenizer: Tokenizer, phrase: str) -> bool:
    """Whether an entry of this text is decoded to this text: the decoder takes "±" or "é" for a byte."""
    return tokenizer.decoder.decode([phrase]) == phrase


def wrap(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    """A ``tokenizers`` object with the special tokens of the tiny model, as transformers expects it."""
    pad, bos, eos, soft = SPECIAL
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=pad,
        bos_token=bos,
        eos_token=eos,
        additional_special_tokens=[soft],
        clean_up_tokenization_spaces=False,
    )
