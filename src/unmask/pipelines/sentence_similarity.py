"""How alike sentences are to one: the cosines of their vectors, asked for as Hugging Face's inference API is."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from unmask.errors import DataError
from unmask.pipelines.base import Pipeline, PipelineOptions
from unmask.pipelines.inputs import TextInput, check_text, parse_record
from unmask.pipelines.vectors import Pooling, check_pooling, choose_vectors, vector_steps
from unmask.ragged import offsets_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unmask.runtimes import Steps

__all__ = ["SentenceSimilarity", "SimilarityInput", "SimilarityOptions"]


@dataclass(frozen=True, kw_only=True)
class SimilarityOptions(PipelineOptions):
    """What a call may be told.

    Args:
        pooling: what makes one vector of a text, as in feature-extraction; None takes what the model's folder says, as
            sentence-transformers' do, or else the mean.
        truncation: as in feature-extraction.
    """

    pooling: Pooling | None = None
    truncation: bool | None = None

    def __post_init__(self) -> None:
        check_pooling(self.pooling)


@dataclass(frozen=True, slots=True)
class SimilarityInput:
    """A sentence, and those it is compared with."""

    source_sentence: TextInput
    sentences: tuple[TextInput, ...]


class SentenceSimilarity(Pipeline[SimilarityInput, list[float], SimilarityOptions]):
    """Asks how alike sentences are to one.

    An input is `{"source_sentence": ..., "sentences": [...]}`; the result is the cosine of each, in [-1, 1].
    """

    task = "sentence-similarity"
    head = "encoder"
    Options = SimilarityOptions

    def parse(self, raw: Any, *, source: str = "inputs", line: int = 1) -> SimilarityInput:
        given = parse_record(raw, needed=("source_sentence", "sentences"), source=source, line=line)
        sentences = given["sentences"]
        if not isinstance(sentences, list | tuple) or not sentences:
            raise DataError("sentences must be a list of one text or more", path=source, line=line)
        named = [(given["source_sentence"], "source_sentence")]
        named += [(sentence, f"sentence {number}") for number, sentence in enumerate(sentences, start=1)]
        first, *others = (
            TextInput(check_text(text, what, source=source, line=line), None, source, line) for text, what in named
        )
        return SimilarityInput(first, tuple(others))

    def steps(self, inputs: Sequence[SimilarityInput], options: SimilarityOptions) -> Steps[list[list[float]]]:
        pooling = choose_vectors(self.model, options.pooling, True)[0]
        texts = [text for one in inputs for text in (one.source_sentence, *one.sentences)]
        vectors = yield from vector_steps(
            texts, self.model, pooling=pooling, normalize=True, truncation=options.truncation, task=self.task
        )
        bounds = offsets_of([1 + len(one.sentences) for one in inputs]).tolist()
        return [(vectors[first + 1 : stop] @ vectors[first]).tolist() for first, stop in pairwise(bounds)]
