"""What all pipelines have in common: inputs of any number in, results in Hugging Face's shapes out, in order.

A pipeline says how an input is read, and in which steps it is answered: a step is a batch of token sequences, of
whatever number and lengths, that the runtime computes. Between steps everything is plain Python and numpy, so one
driver serves a list, a stream of any length and many clients of a server at once.
"""

from __future__ import annotations

import dataclasses
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from unmask.errors import DataError, SettingsError
from unmask.pipelines.inputs import InputRow
from unmask.pipelines.progress import progress_bar
from unmask.runtimes import Steps, run_steps

if TYPE_CHECKING:
    from unmask.pipelines.opening import OpenModel

__all__ = ["Pipeline", "PipelineOptions", "TooLongError", "check_option", "tell_cut"]

InputT = TypeVar("InputT")
ResultT = TypeVar("ResultT")
OptionsT = TypeVar("OptionsT", bound="PipelineOptions")

_INPUTS_AT_ONCE = 1024  # of a stream: enough for texts of like length to find each other
_CHARACTERS_AT_ONCE = 2**19  # likewise, where texts are long: about 25 passes


class TooLongError(DataError):
    """A text has more tokens than the model takes, and nobody said that it may be cut."""


@dataclass(frozen=True, kw_only=True)
class PipelineOptions:
    """What a call may be told; each pipeline has a kind of its own."""


class Pipeline(ABC, Generic[InputT, ResultT, OptionsT]):
    """A model that does one thing. It keeps no state between calls, so threads may share one.

    Args:
        model: what is asked; its head is `head`.
        options: what calls are told unless they say otherwise.

    Attributes:
        task: Hugging Face's name of what it does.
        head: the head its model has, a key of `unmask.models.registry.HEADS`.
        Options: what a call may be told.
        needless: options of transformers that have no meaning here, and are let pass: batches make themselves.
        runtime: what computes its steps.
        tokenizer: of the model.

    Raises:
        SettingsError: an option is none, or has a wrong value.
    """

    task: ClassVar[str]
    head: ClassVar[str]
    Options: ClassVar[type[PipelineOptions]]
    characters_at_once: ClassVar[int] = _CHARACTERS_AT_ONCE
    needless: ClassVar[tuple[str, ...]] = ("batch_size", "num_workers")

    def __init__(self, model: OpenModel, **options: Any) -> None:
        self.model = model
        self.runtime = model.runtime
        self.tokenizer = model.tokenizer
        self._defaults = options
        self.told()

    @abstractmethod
    def parse(self, raw: Any, *, source: str = "inputs", line: int = 1) -> InputT:
        """Read what people or JSON give.

        Args:
            raw: a text, or what else the pipeline takes.
            source: where it comes from, for messages.
            line: which it is there, from 1.

        Raises:
            DataError: it cannot be asked.
        """

    @abstractmethod
    def steps(self, inputs: Sequence[InputT], options: OptionsT) -> Steps[list[ResultT]]:
        """Answer inputs.

        Args:
            inputs: one at least.
            options: made by `told`.

        Yields:
            Sequences to be computed; it is sent the runtime's outputs for each of them.

        Returns:
            One result an input.

        Raises:
            DataError: an input cannot be answered, such as a text that is too long.
        """

    def told(self, **options: Any) -> OptionsT:
        """Make the options of a call of what it was told, and what the pipeline was.

        Raises:
            SettingsError: an option is none, or has a wrong value.
        """
        given = {name: value for name, value in (self._defaults | options).items() if name not in self.needless}
        names = [field.name for field in dataclasses.fields(self.Options)]
        if unknown := [name for name in given if name not in names]:
            raise SettingsError(f"{self.task} has no option {unknown[0]!r}; it has {', '.join(names)}")
        made: Any = self.Options(**given)
        return made

    def __call__(self, inputs: Any, *, progress: bool | None = None, **options: Any) -> Any:
        """Answer one input, or any number.

        Args:
            inputs: one input; a list or tuple of them; or anything else that gives one after the other, such as a
                generator, whatever their number.
            progress: show a bar on a terminal, if the work takes more than a second; None does for lists.
            options: see `Options`.

        Returns:
            The result of one input; a list of results; or an iterator that gives them in order as they are made, and
            holds no more than some thousand inputs at a time.

        Raises:
            DataError: an input cannot be answered.
            SettingsError: an option is none, or has a wrong value.
        """
        told = self.told(**options)
        if isinstance(inputs, list | tuple):
            parsed = list(self._parsed(inputs))
            return list(self._answered(parsed, told, len(parsed), is_shown=progress is not False))
        if isinstance(inputs, str | bytes | Mapping | InputRow) or not isinstance(inputs, Iterable):
            [result] = self.answer([next(self._parsed([inputs]))], told)
            return self.alone(result, inputs, options)
        return self.stream(inputs, progress=bool(progress), **options)

    def stream(self, inputs: Iterable[Any], *, progress: bool = False, **options: Any) -> Iterator[ResultT]:
        """Answer inputs one after the other, whatever their number; see `__call__`."""
        told = self.told(**options)
        total = len(inputs) if isinstance(inputs, Sized) else None
        return self._answered(self._parsed(inputs), told, total, is_shown=progress)

    def answer(self, inputs: Sequence[InputT], options: OptionsT) -> list[ResultT]:
        """Answer inputs that are parsed, all at once."""
        return run_steps(self.steps(inputs, options), self.runtime) if inputs else []

    def alone(self, result: ResultT, raw: Any, given: Mapping[str, Any]) -> Any:
        """Give the result of one input that came without a list, `raw`; `given` is what the call itself was told."""
        return result

    def _parsed(self, inputs: Iterable[Any]) -> Iterator[InputT]:
        for number, raw in enumerate(inputs, start=1):
            if isinstance(raw, InputRow):
                yield self.parse(raw.value, source=raw.source, line=raw.line)
            else:
                yield self.parse(raw, source="inputs", line=number)

    def _answered(
        self, inputs: Iterable[InputT], options: OptionsT, total: int | None, *, is_shown: bool
    ) -> Iterator[ResultT]:
        with progress_bar(self.task, total, is_shown=is_shown) as advance:
            for window in self._windows(inputs):
                results = self.answer(window, options)
                advance(len(results))
                yield from results

    def _windows(self, inputs: Iterable[InputT]) -> Iterator[list[InputT]]:
        """Gather inputs that are answered together."""
        window: list[InputT] = []
        num_characters = 0
        for one in inputs:
            window.append(one)
            num_characters += _count_characters(one)
            if len(window) == _INPUTS_AT_ONCE or num_characters >= self.characters_at_once:
                yield window
                window, num_characters = [], 0
        if window:
            yield window


def check_option(name: str, value: Any, rule: str, *, is_met: bool) -> None:
    """Refuse an option whose value is not as its rule says.

    Raises:
        SettingsError: it is not.
    """
    if not is_met:
        raise SettingsError(f"{name} is {value!r}: it must be {rule}")


def tell_cut(task: str, num_texts: int, max_length: int) -> None:
    """Warn that texts were cut."""
    if num_texts:
        logging.getLogger("unmask.pipelines").warning(
            "%s: %d %s cut to %d tokens", task, num_texts, "text was" if num_texts == 1 else "texts were", max_length
        )


def _count_characters(value: Any) -> int:
    """Count the characters of all texts in an input."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, list | tuple):
        return sum(map(_count_characters, value))
    if dataclasses.is_dataclass(value):
        fields = dataclasses.fields(value)
        return sum(_count_characters(getattr(value, field.name)) for field in fields if field.name != "source")
    return 0
