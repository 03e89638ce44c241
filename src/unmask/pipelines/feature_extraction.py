"""Vectors of tokens, as transformers gives them; or one vector of a text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unmask.errors import SettingsError
from unmask.pipelines.base import Pipeline, PipelineOptions
from unmask.pipelines.encoding import encode_inputs, samples_of
from unmask.pipelines.inputs import TextInput, parse_text
from unmask.pipelines.vectors import Pooling, by_length, check_pooling, text_limit, vector_steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from unmask.runtimes import Steps

__all__ = ["FeatureExtraction", "FeatureExtractionOptions"]


@dataclass(frozen=True, kw_only=True)
class FeatureExtractionOptions(PipelineOptions):
    """What a call may be told.

    Args:
        pooling: what makes one vector of a text: "cls", the first token's; "mean" over all tokens, special ones
            included; "max" of each dimension. None gives the vectors of all tokens.
        normalize: bring that vector to length 1, so that a product of two is their cosine.
        return_arrays: give numpy arrays of float32 in place of lists of numbers.
        truncation: cut texts that are too long, in place of refusing them. None cuts where a sentence-transformers
            model does, and refuses otherwise.
    """

    pooling: Pooling | None = None
    normalize: bool = False
    return_arrays: bool = False
    truncation: bool | None = None

    def __post_init__(self) -> None:
        check_pooling(self.pooling)
        if self.normalize and self.pooling is None:
            raise SettingsError("normalize is for one vector a text: name a pooling too, cls, mean or max")


class FeatureExtraction(Pipeline[TextInput, Any, FeatureExtractionOptions]):
    """Asks for the last hidden states of a text.

    The result is of shape [1][tokens][hidden], as transformers gives it, special tokens included; with a pooling of
    shape [hidden].
    """

    task = "feature-extraction"
    head = "encoder"
    Options = FeatureExtractionOptions

    def parse(self, raw: Any, *, source: str = "inputs", line: int = 1) -> TextInput:
        return parse_text(raw, source=source, line=line)

    def steps(self, inputs: Sequence[TextInput], options: FeatureExtractionOptions) -> Steps[list[Any]]:
        arrays: list[NDArray[np.float32]]
        if options.pooling is None:
            arrays = yield from self._token_vectors(inputs, options.truncation)
        else:
            vectors = yield from vector_steps(
                inputs,
                self.model,
                pooling=options.pooling,
                normalize=options.normalize,
                truncation=options.truncation,
                task=self.task,
            )
            arrays = list(vectors)
        return arrays if options.return_arrays else [array.tolist() for array in arrays]

    def _token_vectors(self, inputs: Sequence[TextInput], truncation: bool | None) -> Steps[list[NDArray[np.float32]]]:
        max_length, is_cut = text_limit(self.model, truncation, is_pooled=False)
        samples = samples_of(
            encode_inputs(inputs, self.tokenizer, max_length=max_length, is_cut=is_cut, task=self.task)
        )
        found: dict[int, NDArray[np.float32]] = {}
        for chosen in by_length(samples):
            outputs = yield samples.take(chosen)
            found |= {place: hidden[None] for place, hidden in zip(chosen.tolist(), outputs, strict=True)}
        return [found[place] for place in range(len(inputs))]
