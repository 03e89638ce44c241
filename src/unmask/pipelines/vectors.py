"""From hidden states to one vector of a text. Axes: T tokens, D hidden size, N texts.

Reimers and Gurevych 2019 (arXiv:1908.10084), section 3: the first token's, the mean over all tokens, special ones
included, or the largest value of each dimension; then perhaps length 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import numpy as np

from unmask.errors import CheckpointError
from unmask.pipelines.base import check_option
from unmask.pipelines.encoding import encode_inputs, samples_of
from unmask.pipelines.opening import Pooling
from unmask.ragged import runs_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from unmask.pipelines.inputs import TextInput
    from unmask.pipelines.opening import OpenModel
    from unmask.ragged import Ragged
    from unmask.runtimes import Steps
    from unmask.tasks import Samples

__all__ = ["Pooling", "by_length", "check_pooling", "choose_vectors", "pool", "text_limit", "vector_steps"]

_TOKENS_AT_ONCE = 2**15  # of one step, whose hidden states are held: 50 MB of 384 numbers a token


def check_pooling(pooling: Pooling | None) -> None:
    """Refuse a pooling there is not.

    Raises:
        SettingsError: there is none of that name.
    """
    names = get_args(Pooling)
    check_option("pooling", pooling, f"one of {', '.join(names)}", is_met=pooling in (None, *names))


def choose_vectors(model: OpenModel, pooling: Pooling | None, normalize: bool | None) -> tuple[Pooling, bool]:
    """Settle how one vector is made of a text, and whether it has length 1.

    Args:
        model: what makes them.
        pooling: as a user chose it; None takes what the model's folder says, or else the mean.
        normalize: likewise; or else not.

    Raises:
        CheckpointError: the folder says something that is not computed here.
    """
    said = model.sentence_vectors
    if pooling is None and said is not None:
        if said.pooling is None or said.obstacle is not None:
            what = said.obstacle or "another pooling than cls, mean or max"
            raise CheckpointError(
                f"{model.name}: its vectors are made with {what}, which unmask does not compute: name a pooling to "
                "have plain ones"
            )
        pooling = said.pooling
    return pooling or "mean", said is not None and said.normalize if normalize is None else normalize


def text_limit(model: OpenModel, truncation: bool | None, *, is_pooled: bool) -> tuple[int, bool]:
    """Tell how many tokens of a text are read, and whether longer ones are cut.

    A sentence-transformers model cuts where its folder says, unless truncation is False; any other does if it is told
    to. Vectors of single tokens are no matter of that folder.
    """
    limit = model.runtime.max_seq_length
    said = model.sentence_vectors if is_pooled else None
    if said is None:
        return limit, bool(truncation)
    return min(said.max_seq_length or limit, limit), truncation is not False


def vector_steps(
    inputs: Sequence[TextInput],
    model: OpenModel,
    *,
    pooling: Pooling,
    normalize: bool,
    truncation: bool | None,
    task: str,
) -> Steps[NDArray[np.float32]]:
    """Make one vector of each text, (N, D); texts of like length together, so many that memory holds their tokens.

    Raises:
        TooLongError: a text is too long, and not to be cut.
    """
    max_length, is_cut = text_limit(model, truncation, is_pooled=True)
    encodings = encode_inputs(inputs, model.tokenizer, max_length=max_length, is_cut=is_cut, task=task)
    samples = samples_of(encodings, [[0]] * len(encodings) if pooling == "cls" else None)
    steps, vectors = list(by_length(samples)), []
    for chosen in steps:
        outputs = yield samples.take(chosen)
        vectors.append(pool(outputs, pooling, normalize=normalize))
    return np.concatenate(vectors)[np.argsort(np.concatenate(steps))]


def by_length(samples: Samples) -> Iterator[NDArray[np.int64]]:
    """Part sequences into steps, like lengths together, each of so many tokens as memory holds hidden states of."""
    order = np.argsort(samples.input_ids.lengths, kind="stable")
    for run in runs_of(samples.input_ids.lengths[order], _TOKENS_AT_ONCE):
        yield order[run]


def pool(hidden: Ragged, pooling: Pooling, *, normalize: bool) -> NDArray[np.float32]:
    """Make one vector of the hidden states of each text, float32, (N, D).

    Args:
        hidden: of each text float32, (tokens, D); for "cls" the first token's alone will do.
        pooling: "cls", "mean" or "max".
        normalize: whether to bring vectors to length 1.
    """
    firsts = hidden.offsets[:-1]
    if pooling == "cls":
        vectors = hidden.values[firsts]
    elif pooling == "max":
        vectors = np.maximum.reduceat(hidden.values, firsts)
    else:
        vectors = np.add.reduceat(hidden.values, firsts) / hidden.lengths[:, None].astype(np.float32)
    if normalize:
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
    return np.asarray(vectors, np.float32)
