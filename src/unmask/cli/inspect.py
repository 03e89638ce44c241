"""`unmask inspect`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path  # noqa: TC003 - the command line is made from these annotations
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import Positional  # noqa: TC002 - likewise

from unmask.cli.arguments import parse_with_json, print_json
from unmask.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

_HELP = """\
  unmask inspect minilm "The old man slept." --attention --output look.html
  unmask inspect runs/cola "They drank the pub." --gradients
  unmask inspect minilm --nearest dog
  unmask inspect minilm "She sat on the bank of the river." "His money is in the bank." --word bank
  unmask inspect google-bert/bert-base-uncased albert/albert-base-v2 --layers --output sharing.png"""

_LOOKS = "--attention, --tokens, --nearest WORD, --gradients, --word WORD, --replaced or --layers"


@dataclass(frozen=True, kw_only=True)
class _Arguments:
    """Look into a model: a MODEL and a text (or a pair), and what to look at, several things if you like.

    Args:
        names: a folder, hub id or "minilm", and then what it reads; for --layers, several models.
        attention: what each head of each layer attends to.
        tokens: each token of the text, and the tokens whose embeddings are nearest.
        nearest: a word; the tokens whose static embeddings are nearest to its own.
        gradients: which tokens move the prediction of a classifier, or the guess for a [MASK] (integrated gradients).
        word: a word of two sentences; how its vectors differ, layer by layer.
        replaced: which tokens the discriminator of an ELECTRA takes for replaced.
        layers: the L2 distance, the cosine and the angle between each layer's input and output (ALBERT, figure 1).
        text: what the model reads, in place of what follows its name; for --layers eight English sentences unless
            given.
        top_k: neighbours to show; 10 of a word, 3 of each token unless given.
        target: for --gradients, the label or the word to explain; what the model predicts unless given.
        baseline: for --gradients, what the text is compared with: no embeddings, or those of [MASK].
        layer: for --attention, the layer to show alone, from 1.
        head: the head of that layer, from 1.
        output: a picture, .png or .svg, or a page of everything, .html.
    """

    names: Positional[tuple[str, ...]]
    attention: bool = False
    tokens: bool = False
    nearest: str | None = None
    gradients: bool = False
    word: str | None = None
    replaced: bool = False
    layers: bool = False
    text: tuple[str, ...] | None = None
    top_k: int | None = None
    target: str | None = None
    baseline: Literal["zero", "mask"] = "zero"
    layer: int | None = None
    head: int | None = None
    output: Path | None = None


def run(arguments: Sequence[str]) -> None:
    """Parse, look, print tables; draw a picture or write a page."""
    typed, as_json = parse_with_json(_Arguments, arguments, command="inspect", more_help=_HELP)
    if typed.output is not None and typed.output.suffix not in (".png", ".svg", ".html"):
        raise SettingsError(
            f"output is {typed.output}: the name of a picture ends in .png or .svg, that of a page in .html"
        )
    found = _look_at_layers(typed) if typed.layers else _look(typed)
    if typed.output is not None:
        _write(typed, found)
    if as_json:
        print_json(_to_json(found))
    else:
        from unmask.cli.inspect_tables import print_found

        print_found(found, layer=typed.layer, head=typed.head)


def _write(typed: _Arguments, found: dict[str, Any]) -> None:
    """Draw the picture, or write the page, that was asked for."""
    from unmask.files import write_bytes, write_text
    from unmask.reporting.inspection import draw_inspection, inspection_page
    from unmask.reporting.plots import to_picture

    assert typed.output is not None
    if typed.output.suffix == ".html":
        models = typed.names if typed.layers else typed.names[:1]
        write_text(typed.output, inspection_page(", ".join(models), found))
    else:
        figure = draw_inspection(found, layer=typed.layer, head=typed.head)
        write_bytes(typed.output, to_picture(figure, typed.output.suffix))


def _look_at_layers(typed: _Arguments) -> dict[str, Any]:
    from unmask.workflows.inspect import inspect_layers

    if typed.attention or typed.tokens or typed.gradients or typed.replaced or typed.nearest or typed.word:
        raise SettingsError("--layers compares models, and the others look into one: ask for it by itself")
    return {"layers": inspect_layers(*typed.names, texts=typed.text)}


def _look(typed: _Arguments) -> dict[str, Any]:
    """Look at all that was asked for; the model is loaded once for each head it needs."""
    from unmask.workflows import inspect as looks

    if not (typed.attention or typed.tokens or typed.gradients or typed.replaced or typed.nearest or typed.word):
        raise SettingsError(f"say what to look at: {_LOOKS}")
    if not typed.names:
        raise SettingsError("no model: name a folder, a hub id or minilm, and then a text")
    model, *rest = typed.names
    texts = rest + list(typed.text or ())
    found: dict[str, Any] = {}
    if typed.attention:
        found["attention"] = looks.inspect_attention(model, *_texts(texts, "--attention", 1, 2))
    if typed.tokens:
        top_k = 3 if typed.top_k is None else typed.top_k
        found["tokens"] = looks.inspect_tokens(model, *_texts(texts, "--tokens", 1, 1), top_k=top_k)
    if typed.nearest is not None:
        found["nearest"] = looks.inspect_nearest(model, typed.nearest, top_k=10 if typed.top_k is None else typed.top_k)
    if typed.gradients:
        found["gradients"] = looks.inspect_gradients(
            model, *_texts(texts, "--gradients", 1, 2), target=typed.target, baseline=typed.baseline
        )
    if typed.word is not None:
        found["word"] = looks.inspect_word(model, typed.word, *_texts(texts, "--word", 2, 2))
    if typed.replaced:
        found["replaced"] = looks.inspect_replaced(model, *_texts(texts, "--replaced", 1, None))
    return found


def _texts(texts: Sequence[str], look: str, fewest: int, most: int | None) -> Sequence[str]:
    if len(texts) < fewest or (most is not None and len(texts) > most):
        wanted = {(1, 1): "one text", (1, 2): "a text, or a pair of texts", (2, 2): "two sentences"}
        raise SettingsError(
            f"{look} takes {wanted.get((fewest, most or 0), 'one text or more')} after the model, and {len(texts)} "
            "were given"
        )
    return texts


def _to_json(found: dict[str, Any]) -> dict[str, Any]:
    if "layers" in found:
        return {"models": [asdict(model) for model in found["layers"]]}
    return {look: _content(content) for look, content in found.items()}


def _content(content: Any) -> Any:
    if isinstance(content, list):
        return [_content(entry) for entry in content]
    return content.to_dict() if hasattr(content, "to_dict") else asdict(content)
