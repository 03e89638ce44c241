"""How likely a masked language model finds a sentence: the pseudo-log-likelihood.

Salazar et al. 2020 (arXiv:1910.14659, section 2): hide one token after the other, and add up the log-probability of
each given all the rest, PLL(W) = sum over t of log p(w_t | W without w_t). Of two sentences that differ in one choice
the acceptable one should have the higher sum, so a model can be asked what is grammatical without any fine-tuning.

Kauf and Ivanova 2023 (arXiv:2305.10588, figure 1): where "souvenir" is so ##uven ##ir, each piece is easily guessed
from the other two, so a rare word of many pieces seems likelier than it is. Their PLL-word-l2r hides with each piece
the later ones of its word too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from unmask.errors import CheckpointError, DataError, SettingsError
from unmask.filling.questions import Question, ask
from unmask.logits import log_softmax

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from unmask.runtimes import Steps
    from unmask.tokenization import Tokenizer
    from unmask.tokenization.encoding import Encoding

__all__ = ["SentenceScore", "Variant", "score_sentences"]

Variant = Literal["word_l2r", "original", "whole_word"]


@dataclass(frozen=True, kw_only=True)
class SentenceScore:
    """What a model makes of one sentence.

    Args:
        text: the sentence.
        pseudo_log_likelihood: sum of `log_probabilities`.
        pseudo_perplexity: exp of minus their mean: how many words each token seems to have been chosen among.
        tokens: its tokens, without special ones.
        log_probabilities: of each of them, given the rest of the sentence; natural logarithm.
    """

    text: str
    pseudo_log_likelihood: float
    pseudo_perplexity: float
    tokens: tuple[str, ...]
    log_probabilities: tuple[float, ...]


def score_sentences(
    texts: Sequence[str],
    tokenizer: Tokenizer,
    *,
    variant: Variant = "word_l2r",
    max_seq_length: int | None = None,
) -> Steps[list[SentenceScore]]:
    """Score sentences, each token by a pass of its own.

    Args:
        texts: the sentences.
        tokenizer: the model's.
        variant: what is hidden with a token: nothing else ("original", Salazar et al.), the later pieces of its word
            ("word_l2r", Kauf and Ivanova), or all of them ("whole_word", likewise). Words of one piece score alike.
        max_seq_length: tokens the model takes.

    Raises:
        CheckpointError: the tokenizer has no mask token.
        DataError: a text is empty or too long.
        SettingsError: there is no such variant.
    """
    if variant not in get_args(Variant):
        raise SettingsError(f"variant is {variant!r}: it must be one of {', '.join(get_args(Variant))}")
    mask_id = tokenizer.mask_token_id
    if mask_id is None:
        raise CheckpointError("the tokenizer has no mask token, so no token can be hidden")
    encodings = tokenizer.encode_batch(texts).encodings
    questions, targets = [], []
    for number, (text, encoding) in enumerate(zip(texts, encodings, strict=True), start=1):
        places = _real(encoding)
        if not places:
            raise DataError(f"sentence {number} ({text!r}) has no word to score")
        if mask_id in encoding.input_ids:
            raise DataError(f"sentence {number} ({text[:40]!r}) has a mask in it: write the word, or fill it first")
        if max_seq_length is not None and len(encoding) > max_seq_length:
            raise DataError(
                f"sentence {number} ({text[:40]!r}) has {len(encoding)} tokens, the model takes {max_seq_length}: "
                "shorten it"
            )
        for at in places:
            ids = list(encoding.input_ids)
            for hidden in _hidden_with(encoding, at, variant):
                ids[hidden] = mask_id
            questions.append(Question(tuple(ids), tuple(encoding.token_type_ids), (at,)))
            targets.append(encoding.input_ids[at])

    def of_target(number: int, logits: NDArray[np.float32]) -> float:
        return float(log_softmax(logits)[0, targets[number]])

    answers = iter((yield from ask(questions, of_target)))
    scores = []
    for text, encoding in zip(texts, encodings, strict=True):
        places = _real(encoding)
        values = tuple(next(answers) for _ in places)
        total = math.fsum(values)
        scores.append(
            SentenceScore(
                text=text,
                pseudo_log_likelihood=total,
                pseudo_perplexity=math.exp(-total / len(values)),
                tokens=tuple(encoding.tokens[at] for at in places),
                log_probabilities=values,
            )
        )
    return scores


def _real(encoding: Encoding) -> list[int]:
    return [at for at, is_special in enumerate(encoding.special_tokens_mask) if not is_special]


def _hidden_with(encoding: Encoding, at: int, variant: Variant) -> list[int]:
    """The positions that are masked when this one is asked for, itself among them."""
    if variant == "original":
        return [at]
    word = (encoding.sequence_ids[at], encoding.word_ids[at])
    first = at if variant == "word_l2r" else 0
    return [
        other
        for other in range(first, len(encoding))
        if (encoding.sequence_ids[other], encoding.word_ids[other]) == word
    ]
