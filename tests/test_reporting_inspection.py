"""Pictures and pages of what was looked at. Run: pytest tests/test_reporting_inspection.py."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tiny import SIZES, save_tiny_bert
from unmask.errors import SettingsError
from unmask.models.bert import BertConfig
from unmask.models.electra import ElectraConfig
from unmask.models.registry import build_model
from unmask.reporting.attention_svg import labelled_map_svg, small_map_svg
from unmask.reporting.inspection import draw_inspection, inspection_page
from unmask.reporting.inspection_plots import token_bars_plot
from unmask.reporting.plots import to_picture
from unmask.tokenization import Tokenizer
from unmask.workflows import inspect as looks
from unmask.workflows.loading import save_pretrained

if TYPE_CHECKING:
    from pathlib import Path

TEXT = "the <b>dogs</b> sleep & dream."


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[str, Any]:
    """Everything there is to look at, of tiny random models."""
    place: Path = tmp_path_factory.mktemp("place")
    bert = save_tiny_bert(place / "bert", "masked-lm", initializer_range=0.3)
    tokenizer = Tokenizer.from_vocab(place / "bert-vocab.txt")
    electra = build_model(ElectraConfig(**SIZES, embedding_size=8, initializer_range=0.3), "replaced-token")
    save_pretrained(electra, tokenizer, place / "electra")
    classifier = build_model(
        BertConfig(**SIZES, initializer_range=0.3, id2label={0: "<i>", 1: "$x$"}), "sequence-classification"
    )
    save_pretrained(classifier, tokenizer, place / "classifier")
    return {
        "attention": looks.inspect_attention(bert, TEXT),
        "tokens": looks.inspect_tokens(bert, "the dogs sleep."),
        "nearest": looks.inspect_nearest(bert, "dogs"),
        "gradients": looks.inspect_gradients(place / "classifier", TEXT, target="$x$"),
        "word": looks.inspect_word(bert, "dog", "the dog sleep.", "a dog is in the river"),
        "replaced": looks.inspect_replaced(place / "electra", TEXT, "a cat."),
        "layers": looks.inspect_layers(bert),
    }


class _Checker(HTMLParser):
    """Fails on tags that close what is not open; collects what is said and what is loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.loaded += [value for name, value in attrs if name in ("src", "href", "xlink:href") and value[:1] != "#"]
        if tag not in ("meta", "br", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def read(page: str) -> _Checker:
    checker = _Checker()
    checker.feed(page)
    checker.close()
    assert checker.open == []
    return checker


def test_a_page_holds_everything_and_loads_nothing(found):
    page = inspection_page("runs/bert", found)
    checker = read(page)
    assert checker.loaded == []
    for said in (
        "Attention",
        "Heads that stand out",
        "Every head",
        "What speaks for “$x$”",
        "“dog” in two sentences",
        "Nearest to “dogs”",
        "Replaced or original",
        "What each layer changes",
        "from the model runs/bert",
    ):
        assert said in checker.text
    assert "<b>dogs" not in page
    assert "<i>" not in page
    assert "the <b>dogs</b> sleep & dream." in checker.text
    assert page.count('<div class="maps">') == 2  # a grid a layer
    assert len(re.findall(r"<path d=\"M", page)) > 0


def test_shades_follow_attributions(found):
    page = inspection_page("m", {"gradients": found["gradients"]})
    spans = re.findall(r'<span class="judged( for)?" style="--share: (\d+)%" title="([^"]+)">([^<]+)</span>', page)
    values = [
        v for v, o in zip(found["gradients"].attributions, found["gradients"].sequence_ids, strict=True) if o == 0
    ]
    largest = max(map(abs, found["gradients"].attributions))
    assert [float(told) for _, _, told, _ in spans] == pytest.approx(values, abs=1e-4)
    assert [bool(kind) for kind, *_ in spans] == [value > 0 for value in values]
    assert [int(share) for _, share, *_ in spans] == pytest.approx([100 * abs(v) / largest for v in values], abs=0.51)


@pytest.mark.parametrize("look", ["attention", "tokens", "nearest", "gradients", "word", "replaced", "layers"])
def test_each_can_be_drawn_alone(found, look):
    figure = draw_inspection({look: found[look]})
    assert to_picture(figure, ".png").startswith(b"\x89PNG")
    svg = to_picture(figure, ".svg").decode()
    assert "<svg" in svg
    assert "var(--" not in svg


def test_attention_is_drawn_by_layer_and_head(found):
    maps = found["attention"]
    grid = draw_inspection({"attention": maps})
    drawn = [axes.get_images()[0].get_array() for axes in grid.axes]
    np.testing.assert_array_equal(np.stack(drawn).reshape(maps.maps.shape), maps.maps)
    one = draw_inspection({"attention": maps}, layer=2, head=3)
    np.testing.assert_array_equal(one.axes[0].get_images()[0].get_array(), maps.maps[1, 2])
    assert [label.get_text() for label in one.axes[0].get_yticklabels()] == list(maps.tokens)
    mean = draw_inspection({"attention": maps}, layer=1)
    np.testing.assert_allclose(mean.axes[0].get_images()[0].get_array(), maps.maps[0].mean(0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layer": 3}, "layer is 3: the model has 2, counted from 1"),
        ({"layer": 1, "head": 0}, "head is 0: the model has 4"),
        ({"head": 1}, "a head belongs to a layer: say --layer too"),
    ],
)
def test_layers_and_heads_there_are_not(found, settings, message):
    with pytest.raises(SettingsError, match=message):
        draw_inspection({"attention": found["attention"]}, **settings)


def test_a_picture_shows_one_thing(found):
    with pytest.raises(SettingsError, match=r"word, layers were asked for: ask for one, or name an output\.html"):
        draw_inspection({"word": found["word"], "layers": found["layers"]})


def test_cells_of_a_small_map():
    svg = small_map_svg(np.array([[0.96, 0.04], [0.31, 0.69]], np.float32), title="a <b>")
    assert '<path d="M0 0h1v1h-1z" fill-opacity="1"/>' in svg
    assert '<path d="M0 1h1v1h-1z" fill-opacity="0.3"/>' in svg
    assert '<path d="M1 1h1v1h-1z" fill-opacity="0.7"/>' in svg
    assert svg.count("<path") == 3
    assert "a &lt;b&gt;" in svg


def test_a_labelled_map_tells_its_cells():
    svg = labelled_map_svg(np.array([[1.0, 0.0], [0.25, 0.75]], np.float32), ["<s>", "나무"], title="t")
    assert "<title>나무 → &lt;s&gt;: 25%</title>" in svg
    assert svg.count("<title>") == 3
    assert svg.count("나무</text>") == 2


def test_tokens_without_letters_in_the_font_are_numbered():
    figure = token_bars_plot(["나", "b"], [0.5, -0.25], title="t")
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["0", "1"]
    assert [round(bar.get_width(), 2) for bar in figure.axes[0].patches] == [0.5, -0.25]


def test_of_many_tokens_those_that_count_are_drawn():
    values = [((-1) ** at) * at / 100 for at in range(100)]
    figure = token_bars_plot([str(at) for at in range(100)], values, title="t")
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [str(at) for at in range(40, 100)]
