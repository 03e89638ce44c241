"""What each layer does to its input. Run: .venv/bin/python -m pytest tests/test_workflows_inspect.py."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tiny import SIZES, VOCABULARY, save_tiny_bert, unmask
from unmask import inspect_layers, load, save_pretrained
from unmask.errors import CheckpointError, SettingsError
from unmask.models.albert import AlbertConfig
from unmask.models.gpt import GPTConfig
from unmask.models.registry import build_model
from unmask.tokenization import Tokenizer

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = ["the dog sleeps.", "that bird is not in this house", "a " * 60, "dogs"]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with bert/, albert/ and gpt/, random."""
    place = tmp_path_factory.mktemp("place")
    save_tiny_bert(place / "bert", "masked-lm", initializer_range=0.3)
    (place / "vocab.txt").write_text("".join(f"{word}\n" for word in VOCABULARY))
    for name, config, head in (
        ("albert", AlbertConfig(**SIZES | {"num_hidden_layers": 3}, embedding_size=7), "encoder"),
        ("gpt", GPTConfig(**SIZES, initializer_range=0.3), "causal-lm"),
    ):
        save_pretrained(build_model(config, head), Tokenizer.from_vocab(place / "vocab.txt"), place / name)
    return place


@pytest.mark.parametrize(("name", "head"), [("bert", "Bert"), ("albert", "Albert"), ("gpt", "GPT2")])
def test_averages_are_those_of_transformers_hidden_states(place, name, head):
    import torch
    import transformers

    [changes] = inspect_layers(place / name, texts=TEXTS)
    reference = getattr(transformers, f"{head}Model").from_pretrained(place / name).eval()
    if name == "gpt":
        reference.ln_f = torch.nn.Identity()  # the last block's own output is wanted, not what the norm makes of it
    pretrained, rows, num_tokens = load(place / name), [], 0
    for text in TEXTS:
        ids = torch.tensor([pretrained.tokenizer.encode(text, max_length=40).input_ids])
        num_tokens += ids.numel()
        with torch.no_grad():
            states = reference(ids, output_hidden_states=True).hidden_states
        states = np.stack([state[0].double().numpy() for state in states])  # (layers + 1, S, D)
        before, after = states[:-1], states[1:]
        cosine = (before * after).sum(-1) / np.linalg.norm(before, axis=-1) / np.linalg.norm(after, axis=-1)
        distance = np.sqrt(((before - after) ** 2).sum(-1))
        rows.append(np.stack([distance, cosine, np.degrees(np.arccos(cosine))], axis=-1))
    expected = np.concatenate(rows, axis=1).mean(1)  # (layers, 3)
    ours = [[layer.l2_distance, layer.cosine, layer.degrees] for layer in changes.layers]
    np.testing.assert_allclose(ours, expected, rtol=1e-4)
    assert [layer.layer for layer in changes.layers] == list(range(1, 4 if name == "albert" else 3))
    assert (changes.num_texts, changes.num_tokens) == (4, num_tokens)
    assert (changes.model, changes.model_type) == (str(place / name), "gpt2" if name == "gpt" else name)


def test_many_texts_are_read_a_few_at_a_time(place):
    """And batching changes nothing."""
    texts = [f"the {noun} sleeps" for noun in VOCABULARY[20:57]]
    [together] = inspect_layers(place / "bert", texts=texts)
    alone = [inspect_layers(place / "bert", texts=[text])[0] for text in texts]
    assert together.num_tokens == sum(changes.num_tokens for changes in alone)
    mean = sum(changes.layers[1].l2_distance * changes.num_tokens for changes in alone) / together.num_tokens
    assert together.layers[1].l2_distance == pytest.approx(mean, rel=1e-5)


def test_the_texts_built_in(minilm):
    [changes] = inspect_layers("minilm")
    assert (changes.num_texts, len(changes.layers)) == (8, 6)
    assert all(0 < layer.cosine < 1 and layer.l2_distance > 0 for layer in changes.layers)


class TestCommand:
    def test_table_json_and_pictures(self, place, tmp_path, capsys, monkeypatch):
        monkeypatch.setenv("COLUMNS", "200")
        models = (place / "bert", place / "albert")
        read = ("--layers", "--text", *TEXTS)
        changes = inspect_layers(*map(str, models), texts=TEXTS)
        assert unmask("inspect", *models, *read, "--output", tmp_path / "sharing.png") == 0
        out = capsys.readouterr().out
        for model in changes:
            assert f"{model.model}: 4 texts, {model.num_tokens} tokens" in out
            for layer in model.layers:
                assert f"│ {layer.l2_distance:.3f} │ {layer.cosine:.4f} │" in " ".join(out.split())
        assert (tmp_path / "sharing.png").read_bytes().startswith(b"\x89PNG")
        assert unmask("inspect", *models, *read, "--output", tmp_path / "sharing.svg", "--json") == 0
        assert json.loads(capsys.readouterr().out) == json.loads(
            json.dumps({"models": [asdict(model) for model in changes]})
        )
        picture = (tmp_path / "sharing.svg").read_text()
        assert "<svg" in picture
        assert "var(--" not in picture  # it stands alone, without the page's colours

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("minilm",), "say what to look at: --attention, --tokens, --nearest WORD"),
            (("minilm", "--layers", "--attention"), "--layers compares models"),
            (("--layers",), "no model: name one or more"),
            (("minilm", "--layers", "--text", " "), "no text: give one or more"),
            (
                ("minilm", "--layers", "--output", "x.pdf"),
                "output is x.pdf: the name of a picture ends in .png or .svg",
            ),
        ],
    )
    def test_what_cannot_be_shown(self, capsys, arguments, message):
        assert unmask("inspect", *arguments) == 2
        assert message in capsys.readouterr().err

    def test_from_python(self, tmp_path):
        with pytest.raises(SettingsError, match="no model"):
            inspect_layers()
        with pytest.raises(CheckpointError, match=r"config\.json is missing"):
            inspect_layers(tmp_path)


def test_the_picture_names_models_apart():
    from unmask.reporting.plots import layer_changes_plot

    figure = layer_changes_plot(
        {
            "a/bert": [(1.0, 20.0), (2.0, 10.0)],
            "b/bert": [(3.0, 5.0)],
            "러 버트": [(1, 1)],
            "x": [(1, 2)],
            "y": [(2, 2)],
        }
    )
    for axes in figure.axes:
        assert [line.get_xdata().tolist() for line in axes.get_lines()][:2] == [[1, 2], [1]]
        assert {text.get_text() for text in axes.texts} == {"bert", "model 2", "model 3", "x", "y"}
    assert [axes.get_title(loc="left")[:2] for axes in figure.axes] == ["L2", "An"]
