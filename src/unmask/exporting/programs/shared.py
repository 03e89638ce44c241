"""The folder's graph, its tokenizer, and texts in and answers out: what every program has."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_TEXTS_AT_ONCE, _TOKENS_AT_ONCE = 256, 4096
_HEAD = 128 / 510  # of a text whose head and tail are kept, the share of the head

Tokens = tuple[list[int], list[int]]  # token ids and token types


class Model:
    """An exported model.

    Args:
        folder: that of model.onnx; None is the one this file is in.

    Attributes:
        config: its config.json.
        task: what it was trained for, and how, as config.json has it under unmask_task.
        labels: name of each label.
        max_length: tokens it reads of a text, special ones included.
    """

    def __init__(self, folder: Path | None = None) -> None:
        folder = folder or Path(__file__).resolve().parent
        self.config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.task: dict[str, Any] = self.config.get("unmask_task") or {}
        names: dict[str, str] = self.config.get("id2label") or {}
        self.labels = [names[key] for key in sorted(names, key=int)]
        settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        if settings.get("morphemes"):
            raise SystemExit("this model reads Korean parted into morphemes: use unmask predict --runtime onnx")
        limit = settings["model_max_length"]
        self.max_length: int = min(self.task.get("max_seq_length") or limit, limit)
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.special = {name: settings.get(f"{name}_token") for name in ("mask", "unk", "eos")}
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        options.enable_mem_pattern = False  # it keeps a plan for each shape it has met, and there is no end of them
        providers = ["CPUExecutionProvider"]
        self.session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=providers)
        self.inputs = [given.name for given in self.session.get_inputs()]
        self.output = self.session.get_outputs()[0].name
        kind = self.config["architectures"][0]
        self.is_of_whole = kind.endswith(("ForSequenceClassification", "ForNextSentencePrediction"))

    def token_id(self, name: str) -> int | None:
        """The id of the mask, unk or eos token."""
        token = self.special[name]
        token = token["content"] if isinstance(token, dict) else token
        return None if token is None else self.tokenizer.token_to_id(token)

    def run(self, sequences: Sequence[Tokens]) -> list[np.ndarray]:
        """Compute sequences, those of like length together: of each (K,), or (tokens, ...) if it speaks of tokens."""
        order = sorted(range(len(sequences)), key=lambda index: len(sequences[index][0]))
        outputs: list[Any] = [None] * len(sequences)
        while order:
            size = max(1, _TOKENS_AT_ONCE // len(sequences[order[-1]][0]))
            batch, order = order[-size:], order[:-size]
            length = len(sequences[batch[-1]][0])
            given = {name: np.zeros((len(batch), length), np.int64) for name in self.inputs}
            for row, index in enumerate(batch):
                ids, types = sequences[index]
                for name, values in (("input_ids", ids), ("token_type_ids", types), ("attention_mask", [1] * len(ids))):
                    if name in given:
                        given[name][row, : len(ids)] = values
            [computed] = self.session.run([self.output], given)
            for row, index in enumerate(batch):
                outputs[index] = computed[row] if self.is_of_whole else computed[row, : len(sequences[index][0])]
        return outputs

    def encode(self, text: str, text_pair: str | None = None) -> list[Tokens]:
        """Encode a text or a pair, with its special tokens: one sequence, or the windows of a text read in these."""
        encoding = self.tokenizer.encode(text, text_pair)
        if all(encoding.special_tokens_mask):
            raise SystemExit(f"the tokenizer leaves nothing of the text {text!r}: write another")
        return [
            ([encoding.ids[place] for place in places], [encoding.type_ids[place] for place in places])
            for places in self._kept(encoding.sequence_ids)
        ]

    def _kept(self, owners: list[int | None]) -> list[list[int]]:
        """The places of the tokens that are read; each belongs to the text 0 or 1, or None as special ones do."""
        if len(owners) <= self.max_length:
            return [list(range(len(owners)))]
        special = [place for place, owner in enumerate(owners) if owner is None]
        texts = [[place for place, owner in enumerate(owners) if owner == text] for text in (0, 1)]
        room = self.max_length - len(special)
        if self.task.get("long_texts") == "windows":
            [words] = [text for text in texts if text]
            stride = min(self.task.get("doc_stride") or max(1, room - room // 8), room)
            last = len(words) - room
            steps = -(-last // stride)
            starts = [number * last // steps for number in range(steps + 1)]
            return [sorted(special + words[start : start + room]) for start in starts]
        first, second = map(len, texts)
        shorter = min(first, second, room // 2)
        rooms = (room - shorter, shorter) if first > second else (shorter, room - shorter)
        kept = list(special)
        for text, own in zip(texts, rooms, strict=True):
            how = self.task.get("truncate") or "head"
            head = own if how == "head" or own >= len(text) else 0 if how == "tail" else round(own * _HEAD)
            kept += text[:head] + (text[len(text) - (own - head) :] if own > head else [])
        return [sorted(kept)]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Make probabilities of logits, over the last axis."""
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shares / shares.sum(axis=-1, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Make a probability of each logit."""
    return 1 / (1 + np.exp(-logits))


def main(
    answer: Callable[[Model, list[dict[str, Any]]], Iterable[dict[str, Any]]],
    keys: tuple[str, ...] = ("text",),
    arguments: Sequence[str] | None = None,
    model: Model | None = None,
) -> None:
    """Answer the texts of the command line, or of standard input, each with a line of JSON.

    Args:
        answer: gives an answer to each input.
        keys: what an input may have: the text, and a second one.
        arguments: of the command line.
        model: what is asked; None is that of the folder this file is in.
    """
    parser = argparse.ArgumentParser(
        description=f"{sys.modules[answer.__module__].__doc__}\n\nTexts come from the command line, or else from "
        f"standard input, one a line; a line may be a JSON object with {' and '.join(keys)}. Answers are JSON, a line "
        "each.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("texts", nargs="*", help=keys[0])
    if len(keys) > 1:
        parser.add_argument("--pair", help=f"{keys[1]}, for each text given here")
    typed = parser.parse_args(arguments)
    for stream, encoding in ((sys.stdin, "utf-8-sig"), (sys.stdout, "utf-8")):  # whatever the machine's language
        stream.reconfigure(encoding=encoding)  # type: ignore[union-attr]
    if typed.texts:
        inputs = iter([{"text": text, "text_pair": getattr(typed, "pair", None)} for text in typed.texts])
    else:
        inputs = (_parse(line, number, keys) for number, line in enumerate(sys.stdin, start=1) if line.strip())
    model = model or Model()
    try:
        while some := list(itertools.islice(inputs, _TEXTS_AT_ONCE)):
            for result in answer(model, some):
                print(json.dumps(result, ensure_ascii=False), flush=True)
    except UnicodeError as error:
        raise SystemExit(f"texts must be UTF-8: {error}") from None


def _parse(line: str, number: int, keys: tuple[str, ...]) -> dict[str, Any]:
    if not line.lstrip().startswith("{"):
        return {"text": line.rstrip("\r\n"), "text_pair": None}
    try:
        given = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise SystemExit(f"line {number} is not JSON: {error}") from None
    texts = [given.get(key) for key in keys]
    if not isinstance(texts[0], str) or not all(text is None or isinstance(text, str) for text in texts):
        raise SystemExit(f"line {number}: {' and '.join(keys)} must be texts")
    return {"text": texts[0], "text_pair": texts[1] if len(texts) > 1 else None}
