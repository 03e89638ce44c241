"""What a GPT writes after a text. It is computed as a whole, since keys and values are kept from token to token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unmask.errors import CheckpointError, SettingsError
from unmask.pipelines.base import Pipeline, PipelineOptions
from unmask.pipelines.encoding import too_long
from unmask.pipelines.inputs import TextInput, parse_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unmask.pipelines.opening import OpenModel
    from unmask.runtimes import Steps

__all__ = ["GeneratedText", "TextGeneration", "TextGenerationOptions"]

GeneratedText = dict[str, str]

_PROMPTS_AT_ONCE = 32  # whose keys and values are held


@dataclass(frozen=True, kw_only=True)
class TextGenerationOptions(PipelineOptions):
    """What a call may be told; as `unmask.generate`, which checks it.

    Args:
        max_new_tokens: tokens to write at most.
        return_full_text: give the prompt too, before what was written.
        do_sample: draw tokens by chance; None does where temperature, top_k or top_p is given. False takes the
            likeliest always.
        temperature: divides the logits, above 0; below 1 makes likely tokens likelier.
        top_k: draw among so many likeliest tokens.
        top_p: draw among the fewest likeliest tokens that together have this probability.
        seed: of the draws; a prompt has the same ones alone or among others.
        num_return_sequences: texts for each prompt.
    """

    max_new_tokens: int = 40
    return_full_text: bool = True
    do_sample: bool | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0
    num_return_sequences: int = 1

    def __post_init__(self) -> None:
        if self.do_sample is False and self.is_random:
            raise SettingsError("do_sample is False, and temperature, top_k or top_p says otherwise: leave one out")

    @property
    def is_random(self) -> bool:
        return bool(self.do_sample) or not self.temperature is self.top_k is self.top_p is None


class TextGeneration(Pipeline[TextInput, list[GeneratedText], TextGenerationOptions]):
    """Asks a causal model to go on from a text, which may be empty.

    The result is a list of `{"generated_text"}`, one for each of num_return_sequences.
    """

    task = "text-generation"
    head = "causal-lm"
    Options = TextGenerationOptions

    def __init__(self, model: OpenModel, **options: Any) -> None:
        super().__init__(model, **options)
        if model.pretrained is None:
            raise CheckpointError(f"{model.name}: text-generation needs the model itself, with runtime torch")
        self._pretrained = model.pretrained

    def parse(self, raw: Any, *, source: str = "inputs", line: int = 1) -> TextInput:
        return parse_text(raw, source=source, line=line, may_be_empty=True)

    def steps(self, inputs: Sequence[TextInput], options: TextGenerationOptions) -> Steps[list[list[GeneratedText]]]:
        """Write; it asks for no step, as nothing of it could be computed beside what others ask."""
        yield from ()
        self._refuse_long(inputs)
        # A draw depends on the number of its prompt, so where there is chance each prompt is the first of its own.
        at_once = 1 if options.is_random else _PROMPTS_AT_ONCE
        batches = (inputs[first : first + at_once] for first in range(0, len(inputs), at_once))
        return [result for batch in batches for result in self._write(batch, options)]

    def _refuse_long(self, inputs: Sequence[TextInput]) -> None:
        encodings = self.tokenizer.encode_batch([one.text for one in inputs], add_special_tokens=False).encodings
        for one, encoding in zip(inputs, encodings, strict=True):
            if len(encoding) >= self.runtime.max_seq_length:
                raise too_long(
                    len(encoding), self.runtime.max_seq_length - 1, source=one.source, line=one.line, advice=""
                )

    def _write(self, inputs: Sequence[TextInput], options: TextGenerationOptions) -> list[list[GeneratedText]]:
        from unmask.workflows.generate import generate

        is_plain = options.is_random and options.temperature is options.top_k is options.top_p is None
        written = generate(
            [one.text for one in inputs],
            model=self._pretrained,
            max_new_tokens=options.max_new_tokens,
            temperature=1.0 if is_plain else options.temperature,
            top_k=options.top_k,
            top_p=options.top_p,
            seed=options.seed,
            num_return_sequences=options.num_return_sequences,
        )
        return [
            [{"generated_text": (one.prompt if options.return_full_text else "") + one.text} for one in copies]
            for copies in written
        ]
