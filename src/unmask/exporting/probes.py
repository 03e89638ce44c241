"""What a model is asked at the gate, and what is read in its answers: of models with a task, and of all others."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from unmask.errors import DataError
from unmask.ragged import Ragged
from unmask.tasks import Samples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from unmask.tasks import Task
    from unmask.tokenization import Tokenizer

__all__ = ["HeadProbe", "Probe", "TaskProbe"]

_MASK_EVERY, _REPLACE_EVERY, _GUESS_EVERY = 7, 6, 3  # tokens
_MOST_TEXTS = 48  # of a head that gives a number for every word of the vocabulary


class Probe(ABC):
    """Questions to a model.

    Args:
        samples: what it reads.
        source: where the texts come from, as people call it.
        num_texts: how many there are.
        counted: what agreement counts, or is.
        metric: the score there is where the right answers are known.
    """

    def __init__(
        self, samples: Samples, *, source: str, num_texts: int, counted: str, metric: str | None = None
    ) -> None:
        self.samples, self.source, self.num_texts = samples, source, num_texts
        self.counted, self.metric = counted, metric

    @abstractmethod
    def agreement(self, original: Ragged, exported: Ragged) -> tuple[float, int | None]:
        """How much of what two models say is the same, in [0, 1], and how many things were counted, if any were."""

    def score(self, outputs: Ragged) -> float | None:
        """How good what a model says is; None where nobody knows what is right."""
        return None

    def some(self, num_tokens: int) -> Samples:
        """Take sequences of every length, about so many tokens of them together."""
        lengths = self.samples.input_ids.lengths
        step = max(1, round(int(lengths.sum()) / num_tokens))
        return self.samples.take(np.argsort(lengths, kind="stable")[step // 2 :: step])


class TaskProbe(Probe):
    """Examples of a fine-tuning task.

    Args:
        task: the task.
        examples: of it.
        samples: they, encoded; with targets where the right answers are known.
        source: where they come from.
    """

    def __init__(self, task: Task[Any], examples: Sequence[Any], samples: Samples, *, source: str) -> None:
        counted = {
            "tagging": "tags",
            "question-answering": "answers",
            "regression": "scores (their correlation)",
        }.get(task.name, "labels")
        metric = None if samples.targets is None else task.metric_for_best
        super().__init__(samples, source=source, num_texts=len(examples), counted=counted, metric=metric)
        self._task, self._examples = task, examples

    def agreement(self, original: Ragged, exported: Ragged) -> tuple[float, int | None]:
        ours, theirs = (self._task.gather(outputs, self.samples) for outputs in (original, exported))
        if self._task.name == "regression":
            return _correlation(ours.values[:, 0], theirs.values[:, 0]), None
        if self._task.name == "question-answering":
            same = [mine == other for mine, other in zip(self._spans(ours), self._spans(theirs), strict=True)]
            return float(np.mean(same)), len(same)
        decide = _positive if self._task.name == "multi-label" else _largest
        return _share(decide(ours.values), decide(theirs.values))

    def score(self, outputs: Ragged) -> float | None:
        if self.metric is None:
            return None
        return self._task.score(self._examples, self.samples, self._task.gather(outputs, self.samples))[self.metric]

    def _spans(self, logits: Ragged) -> list[tuple[int | None, int | None]]:
        answers = self._task.predict(self._examples, self.samples, logits)
        return [(answer.start, answer.end) for answer in answers]  # type: ignore[attr-defined]  # a QuestionAnswer


class HeadProbe(Probe):
    """Texts for a model without a task of ours.

    Words are masked for a head that guesses them, and exchanged for one that tells those that were; the texts of a head
    that reads pairs go with the ones that follow them.

    Args:
        head: a key of `unmask.models.registry.HEADS`.
        texts: two at least.
        tokenizer: of the model.
        max_seq_length: tokens the model takes; longer texts are cut.
        source: where they come from.

    Raises:
        DataError: there are too few texts, or the tokenizer leaves nothing of them.
    """

    def __init__(
        self, head: str, texts: Sequence[str], tokenizer: Tokenizer, *, max_seq_length: int, source: str
    ) -> None:
        is_of_words = head in ("masked-lm", "causal-lm")
        if is_of_words:
            texts = texts[:_MOST_TEXTS]
        if len(texts) < 2:
            raise DataError("the gate needs two texts at least", path=source)
        pairs = [*texts[1:], texts[0]] if head == "next-sentence" else None
        encodings = [
            encoding
            for encoding in tokenizer.encode_batch(texts, pairs, max_length=max_seq_length).encodings
            if not all(encoding.special_tokens_mask)
        ]
        if not encodings:
            raise DataError("the tokenizer leaves nothing of any text", path=source)
        ids, rows = [], []
        for encoding in encodings:
            own = np.array(encoding.input_ids, np.int64)
            words = np.flatnonzero(np.array(encoding.special_tokens_mask) == 0)
            if head == "masked-lm" and tokenizer.mask_token_id is not None:
                words = words[len(words) // 2 % _MASK_EVERY :: _MASK_EVERY]
                own[words] = tokenizer.mask_token_id
            if head == "causal-lm":
                words = words[(len(words) - 1) % _GUESS_EVERY :: _GUESS_EVERY]
            if head == "replaced-token":
                own[words[::_REPLACE_EVERY]] = np.roll(own[words], 3)[::_REPLACE_EVERY]
            ids.append(own)
            rows.append(words)
        counted = {
            "masked-lm": "most probable words",
            "causal-lm": "most probable words",
            "replaced-token": "verdicts",
            "next-sentence": "labels",
            "encoder": "mean vectors (their mean cosine)",
        }[head]
        samples = Samples(
            input_ids=Ragged.of(ids, np.int64),
            token_type_ids=Ragged.of((encoding.token_type_ids for encoding in encodings), np.int64),
            rows=Ragged.of(rows, np.int64) if is_of_words else None,
        )
        super().__init__(samples, source=source, num_texts=len(encodings), counted=counted)
        self._head = head

    def agreement(self, original: Ragged, exported: Ragged) -> tuple[float, int | None]:
        if self._head == "encoder":
            ours, theirs = (_unit_means(outputs) for outputs in (original, exported))
            return float((ours * theirs).sum(1).mean()), None
        decide = _positive if self._head == "replaced-token" else _largest
        return _share(decide(original.values), decide(exported.values))


def _largest(values: NDArray[Any]) -> NDArray[Any]:
    return values.argmax(axis=1)


def _positive(values: NDArray[Any]) -> NDArray[Any]:
    return values >= 0


def _share(ours: NDArray[Any], theirs: NDArray[Any]) -> tuple[float, int]:
    return float((ours == theirs).mean()), ours.size


def _correlation(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    """Pearson's; 1 of what is equal but for the last bits, 0 where one of the two is constant."""
    if np.allclose(ours, theirs, rtol=1e-5, atol=1e-5):
        return 1.0
    spread = float(ours.std()) * float(theirs.std())
    return float(((ours - ours.mean()) * (theirs - theirs.mean())).mean() / spread) if spread > 0 else 0.0


def _unit_means(outputs: Ragged) -> NDArray[np.float64]:
    """The mean vector of each sequence, of length 1: (N, D)."""
    sums = np.add.reduceat(outputs.values.astype(np.float64), outputs.offsets[:-1])
    return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), np.finfo(np.float64).tiny)
