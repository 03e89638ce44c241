"""Counting parameters by part, from configs alone. Run: .venv/bin/python -m pytest tests/test_workflows_params.py."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import pytest

from tiny import SIZES, save_tiny_bert, unmask
from unmask import params
from unmask.errors import CheckpointError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BERT_BASE = {
    "model_type": "bert",
    "vocab_size": 30522,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
}


@pytest.fixture
def bert_base(tmp_path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(BERT_BASE))
    return tmp_path


@pytest.fixture
def said(capsys) -> Callable[[], Any]:
    """What the last command printed, read as JSON."""
    return lambda: json.loads(capsys.readouterr().out)


@pytest.fixture
def no_network(monkeypatch):
    """Any attempt to connect fails the test."""

    def refuse(*address: object) -> None:
        raise AssertionError(f"a connection was attempted: {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("no_network")
def test_the_figures_of_the_papers(said):
    """BERT section 3, ALBERT table 1: the projection of ALBERT counts with either part, and once in all."""
    assert unmask("params", "bert-base-uncased", "google-bert/bert-large-uncased", "albert-base-v2", "--json") == 0
    base, large, albert = said()["models"]
    parts = ("embeddings", "projection", "encoder", "pooler", "heads", "total")
    assert [base[part] for part in parts] == [23_837_184, 0, 85_054_464, 590_592, 0, 109_482_240]
    assert [albert[part] for part in parts] == [4_005_120, 99_072, 7_186_944, 590_592, 0, 11_683_584]
    assert large["total"] == 335_141_888
    assert base["encoder"] / albert["encoder"] == pytest.approx(11.8, abs=0.05)
    assert base["memory_bytes"] == 4 * 109_482_240
    assert (base["model"], base["model_type"], base["head"]) == ("bert-base-uncased", "bert", "encoder")
    # 12 layers of 2 * (4 * 768**2 + 2 * 768 * 3072) a token and 4 * 128 * 768 for scores; the pooler once in 128.
    assert base["flops_per_token"] == 12 * (14_155_776 + 393_216) + 2 * 768 * 768 / 128
    assert "tensors" not in base


@pytest.mark.parametrize(
    ("model", "head", "heads", "total"),
    [
        ("bert-base-uncased", "sequence-classification", 1538, 109_483_778),
        ("bert-base-uncased", "masked-lm", 622_650, 109_514_298),  # no pooler
        ("bert-base-uncased", "pre-training", 624_188, 110_106_428),
        ("roberta-base", "masked-lm", 642_393, 124_697_433),
        # A layer 768 x 128 with its bias and norm, and a bias for each word: the embeddings are not counted again.
        ("albert-base-v2", "masked-lm", 128_688, 11_221_680),
        ("electra-small-discriminator", "replaced-token", 66_049, 13_549_057),
        ("gpt2", "causal-lm", 0, 124_439_808),
    ],
)
def test_heads(model, head, heads, total):
    [size] = params(model, head=head)
    assert (size.heads, size.total) == (heads, total)
    assert size.embeddings + size.encoder - size.projection + size.pooler + size.heads == size.total
    assert sum(tensor.num_parameters for tensor in size.tensors) == size.total


def test_a_folder_comes_before_a_published_size(tmp_path, monkeypatch):
    save_tiny_bert(tmp_path / "gpt2")
    monkeypatch.chdir(tmp_path)
    assert params("gpt2")[0].model_type == params(tmp_path / "gpt2")[0].model_type == "bert"
    assert params("gpt2")[0].total < 1_000_000


@pytest.mark.usefixtures("minilm")
def test_several_of_several_kinds(bert_base):
    sizes = params(bert_base, "minilm", "bert-base-uncased", seq_length=17)
    assert [size.total for size in sizes] == [109_482_240, 22_713_216, 109_482_240]
    assert [size.seq_length for size in sizes] == [17] * 3
    assert sizes[0].flops_per_token < params(bert_base)[0].flops_per_token


def test_a_model_of_short_sequences_is_measured_at_its_longest(tmp_path, capsys):
    save_tiny_bert(tmp_path / "bert")
    [size] = params(tmp_path / "bert")
    assert size.seq_length == 40
    assert size.flops_per_token == params(tmp_path / "bert", seq_length=40)[0].flops_per_token
    assert unmask("params", "gpt2", tmp_path / "bert") == 0
    assert f"in sequences of 128 tokens, of 40 in {tmp_path / 'bert'}." in capsys.readouterr().out


def test_tensors_have_the_names_and_shapes_of_a_checkpoint(tmp_path):
    import transformers

    save_tiny_bert(tmp_path / "bert")
    for model, head, theirs in (
        (tmp_path / "bert", "encoder", transformers.BertModel(transformers.BertConfig(**SIZES))),
        (tmp_path / "bert", "pre-training", transformers.BertForPreTraining(transformers.BertConfig(**SIZES))),
        ("gpt2", "causal-lm", transformers.GPT2LMHeadModel(transformers.GPT2Config())),
        ("albert-base-v2", "encoder", transformers.AlbertModel(transformers.AlbertConfig(**ALBERT_BASE))),
    ):
        ours = {tensor.name: tensor.shape for tensor in params(model, head=head)[0].tensors}
        assert ours == {name: tuple(tensor.shape) for name, tensor in theirs.named_parameters()}


ALBERT_BASE = {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}


class TestCommand:
    def test_the_table_keeps_every_digit_in_a_narrow_terminal(self, capsys, monkeypatch):
        monkeypatch.setenv("COLUMNS", "60")
        assert unmask("params", "bert-base-uncased", "albert-base-v2", "gpt2", "bert-large-uncased") == 0
        out = capsys.readouterr().out
        for said in ("23,837,184", "85,054,464", "109,482,240", "4,005,120*", "7,186,944*", "11,683,584", "417.6 MiB"):
            assert f" {said} " in out
        assert "174.6 M" in out
        assert "the total holds once: 99,072 in albert-base-v2." in out
        assert (
            "against bert-base-uncased: albert-base-v2 has 11.8x fewer, gpt2 has as many, "
            "bert-large-uncased has 3.6x more." in out
        )
        assert "in sequences of 128 tokens" in out

    def test_one_model_is_compared_with_none(self, capsys):
        assert unmask("params", "bert-base-uncased", "--seq-length", 17) == 0
        out = capsys.readouterr().out
        assert "against" not in out
        assert "*" not in out
        assert "in sequences of 17 tokens" in out

    def test_tensors(self, bert_base, capsys, said, monkeypatch):
        monkeypatch.setenv("COLUMNS", "200")
        assert unmask("params", bert_base, "--tensors") == 0
        out = capsys.readouterr().out
        for part in ("199 tensors", "109,482,240", "encoder.layer.11.output.LayerNorm.bias"):
            assert part in out
        head = ("--head", "sequence-classification", "--num-labels", 2)
        assert unmask("params", bert_base, *head, "--tensors", "--json") == 0
        listed = said()
        assert (len(listed["tensors"]), listed["total"]) == (201, 109_482_240 + 2 * 768 + 2)
        assert listed["tensors"][0] == {
            "name": "bert.embeddings.word_embeddings.weight",
            "shape": [30522, 768],
            "num_parameters": 30522 * 768,
        }
        assert listed["tensors"][-1]["name"] == "classifier.bias"

    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            ((), 2, "no model: name one or more, such as bert-base-uncased"),
            (("gpt2", "--num-labels", 0), 2, "num_labels is 0: it must be 1 or more"),
            (("gpt2", "--seq-length", 0), 2, "seq_length is 0: it must be 1 or more"),
            (("roberta-base", "--seq-length", 513), 2, "seq_length is 513, and roberta-base takes sequences of 512"),
            (("gpt2", "roberta-base", "--tensors"), 2, "--tensors lists one model, not 2"),
            (("gpt2", "--head", "tail"), 3, "gpt2 has no 'tail' head; it has encoder, sequence-classification"),
            (("bert-base-uncased", "--head", "causal-lm"), 3, "bert has no 'causal-lm' head"),
        ],
    )
    def test_what_cannot_be_counted(self, capsys, arguments, code, message):
        assert unmask("params", *arguments) == code
        assert message in capsys.readouterr().err

    def test_from_python(self):
        with pytest.raises(SettingsError, match="no model"):
            params()
        with pytest.raises(CheckpointError, match="has no 'masked-lm' head"):
            params("gpt2", head="masked-lm")
