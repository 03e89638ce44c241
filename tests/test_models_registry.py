"""From a checkpoint to a model and back: names both ways, what may be new, and what is refused with which words.

Run: .venv/bin/python -m pytest tests/test_models_registry.py
"""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest
import torch

from reference import TINY, hf_model, ragged
from unmask import hub
from unmask.errors import CheckpointError
from unmask.models.bert import BERT_WEIGHTS, BertConfig
from unmask.models.embeddings import WordEmbedding
from unmask.models.headed import ForSequenceClassification
from unmask.models.registry import (
    FAMILIES,
    HEADS,
    build_model,
    empty_model,
    export_weights,
    load_model,
    named_parameters,
    read_model_config,
    saved_head,
)
from unmask.models.weights import LoadReport

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor, nn

HF_CLASSES = {
    "encoder": "BertModel",
    "sequence-classification": "BertForSequenceClassification",
    "masked-lm": "BertForMaskedLM",
    "next-sentence": "BertForNextSentencePrediction",
    "pre-training": "BertForPreTraining",
    "replaced-token": "BertForReplacedTokenDetection",  # a name of ours: transformers has no such class
}
Weights = dict[str, "Tensor"]


def random_model(head: str, *, seed: int = 0, **changes: Any) -> nn.Module:
    """A tiny model whose biases and norms are random too."""
    model = build_model(BertConfig(**{**TINY, **changes}), head, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model


def save(model: nn.Module, folder: Path, change: Callable[[Weights], Weights] = dict, **config: Any) -> Path:
    """Save a checkpoint with its weights and its config.json changed."""
    values, weights = export_weights(model)
    hub.save_model_folder(folder, config=values | config, weights=change(weights))
    return folder


def assert_same_parameters(model: nn.Module, other: nn.Module) -> None:
    ours, theirs = dict(named_parameters(model)), dict(named_parameters(other))
    assert ours.keys() == theirs.keys()
    for name, parameter in ours.items():
        assert torch.equal(parameter, theirs[name]), name


# Names


@pytest.mark.parametrize("head", HF_CLASSES)
def test_every_name_is_translated_both_ways(head: str) -> None:
    model = empty_model(BertConfig(**TINY), head)
    has_head = head != "encoder"
    foreign_names = set()
    for own, _ in model.named_parameters():
        foreign = BERT_WEIGHTS.to_foreign(own, has_head=has_head)
        assert BERT_WEIGHTS.to_own(foreign, has_head=has_head) == own
        assert BERT_WEIGHTS.to_own(foreign.removeprefix("bert."), has_head=has_head) == own
        assert not BERT_WEIGHTS.is_redundant(foreign)
        foreign_names.add(foreign)
    if head != "replaced-token":
        assert foreign_names == {name for name, _ in hf_model(HF_CLASSES[head]).named_parameters()}


@pytest.mark.parametrize("name", ["lm_head.weight", "encoder.layer.0.attention.self.key", "classifier.weight", "x"])
def test_names_that_are_not_ours_have_no_translation(name: str) -> None:
    assert BERT_WEIGHTS.to_own(name, has_head=False) is None


def test_a_parameter_the_table_does_not_know_is_our_own_mistake() -> None:
    with pytest.raises(KeyError, match=r"blocks\.\{\}\.adapter"):
        BERT_WEIGHTS.to_foreign("encoder.blocks.2.adapter.weight", has_head=True)


def test_every_head_of_the_family_is_one_the_house_knows() -> None:
    for family in FAMILIES.values():
        assert tuple(family.heads) == tuple(head for head in HEADS if head in family.heads)


# What fits


@pytest.mark.parametrize("head", HF_CLASSES)
def test_what_was_saved_is_loaded_to_the_bit(tmp_path: Path, head: str) -> None:
    model = random_model(head)
    loaded, report = load_model(save(model, tmp_path / "model"))
    assert type(loaded) is type(model)
    assert loaded.config.to_dict() == model.config.to_dict() | {"architectures": [HF_CLASSES[head]]}
    assert (report.missing, report.unused, report.misshaped) == ((), (), ())
    assert report.num_loaded == len(list(model.parameters()))
    assert_same_parameters(loaded, model)


def test_checkpoints_from_tensorflow_call_norms_gamma_and_beta(tmp_path: Path) -> None:
    def rename(weights: Weights) -> Weights:
        old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
        names = {name: next((name.replace(*pair) for pair in old.items() if pair[0] in name), name) for name in weights}
        assert sum(name.endswith(("gamma", "beta")) for name in names.values()) == 16
        return {names[name]: tensor for name, tensor in weights.items()}

    model = random_model("pre-training")
    loaded, report = load_model(save(model, tmp_path / "model", rename))
    assert report.is_complete
    assert not report.unused
    assert_same_parameters(loaded, model)


@pytest.mark.parametrize("head", ["encoder", "sequence-classification"])
def test_encoders_are_understood_with_and_without_their_prefix(tmp_path: Path, head: str) -> None:
    def flip_prefix(weights: Weights) -> Weights:
        if head == "encoder":
            return {f"bert.{name}": tensor for name, tensor in weights.items()}
        return {name.removeprefix("bert."): tensor for name, tensor in weights.items()}

    model = random_model(head)
    loaded, report = load_model(save(model, tmp_path / "model", flip_prefix))
    assert report.is_complete
    assert not report.unused
    assert_same_parameters(loaded, model)


def test_half_precision_is_loaded_as_float32(tmp_path: Path) -> None:
    def halve(weights: Weights) -> Weights:
        return {name: tensor.half() for name, tensor in weights.items()}

    model = random_model("encoder")
    loaded, _ = load_model(save(model, tmp_path / "model", halve))
    for (name, parameter), (_, exact) in zip(named_parameters(loaded), named_parameters(model), strict=True):
        assert parameter.dtype == torch.float32, name
        assert torch.equal(parameter, exact.half().float()), name


def test_a_model_read_in_half_precision_leaves_in_float32_for_others_too(tmp_path: Path) -> None:
    import transformers

    hf_model("BertModel").half().save_pretrained(tmp_path / "half")
    model, _ = load_model(tmp_path / "half")
    theirs = transformers.BertModel.from_pretrained(save(model, tmp_path / "ours"))
    assert theirs.dtype == torch.float32
    assert "dtype" not in read_model_config(tmp_path / "ours").to_dict()


def test_copies_of_other_weights_are_not_missed_and_others_are_reported(tmp_path: Path) -> None:
    def add(weights: Weights) -> Weights:
        return weights | {
            "cls.predictions.decoder.weight": weights["bert.embeddings.word_embeddings.weight"].clone(),
            "cls.predictions.decoder.bias": weights["cls.predictions.bias"].clone(),
            "bert.embeddings.position_ids": torch.arange(71)[None],
            "bert.adapter.weight": torch.zeros(3),
            "classifier.weight": torch.zeros(2, 33),
        }

    _, report = load_model(save(random_model("masked-lm"), tmp_path / "model", add))
    assert report.is_complete
    assert sorted(report.unused) == ["bert.adapter.weight", "classifier.weight"]


# What may be new


def test_a_base_checkpoint_gets_a_new_classifier_where_it_may(tmp_path: Path) -> None:
    base = random_model("encoder")
    folder = save(base, tmp_path / "base")
    labels = {0: "no", 1: "perhaps", 2: "yes"}
    model, report = load_model(folder, "sequence-classification", id2label=labels, allow_new_head=True, seed=5)
    assert isinstance(model, ForSequenceClassification)
    assert model.config.id2label == labels
    assert report.missing == ("classifier.weight", "classifier.bias")
    assert not report.is_complete
    assert report.summary() == f"55 tensors loaded from {folder}; the layer classifier is new and must be trained"
    assert_same_parameters(model.encoder, base)
    assert model.classifier.linear.weight.shape == (3, 33)
    assert 0.01 < model.classifier.linear.weight.std() < 0.03
    assert not model.classifier.linear.bias.any()
    again, _ = load_model(folder, "sequence-classification", id2label=labels, allow_new_head=True, seed=5)
    assert_same_parameters(again, model)
    other, _ = load_model(folder, "sequence-classification", id2label=labels, allow_new_head=True, seed=6)
    assert not torch.equal(other.classifier.linear.weight, model.classifier.linear.weight)
    assert model.eval()(ragged([3, 2])).logits.shape == (2, 3)


def test_a_base_checkpoint_is_no_classifier_otherwise(tmp_path: Path) -> None:
    folder = save(random_model("encoder"), tmp_path / "base")
    message = (
        r"base: 2 weights that the sequence-classification model needs are not in this checkpoint "
        r"\(classifier\.weight, classifier\.bias\); train that head first, or choose a checkpoint that has it"
    )
    with pytest.raises(CheckpointError, match=message):
        load_model(folder, "sequence-classification")


def test_a_masked_lm_gets_a_new_pooler_too(tmp_path: Path) -> None:
    folder = save(random_model("masked-lm"), tmp_path / "mlm")
    _, report = load_model(folder, "sequence-classification", allow_new_head=True)
    summary = report.summary()
    assert (
        "; the layers bert.pooler.dense, classifier are new and must be trained; 5 left out (cls.predictions."
        in summary
    )
    assert summary.endswith(", ...)")


def test_another_number_of_labels_makes_a_new_classifier(tmp_path: Path) -> None:
    folder = save(random_model("sequence-classification"), tmp_path / "two")
    five = {label: f"star {label}" for label in range(5)}
    model, report = load_model(folder, id2label=five, allow_new_head=True)
    assert report.missing == ()
    assert sorted(report.misshaped) == [("classifier.bias", (2,), (5,)), ("classifier.weight", (2, 33), (5, 33))]
    assert report.summary().endswith("; the layer classifier is new and must be trained")
    assert model.classifier.linear.weight.shape == (5, 33)
    same, report = load_model(folder, id2label={0: "bad", 1: "good"}, allow_new_head=True)
    assert report.is_complete
    assert same.config.id2label == {0: "bad", 1: "good"}


def test_a_new_classifier_remembers_nothing_of_the_old_one(tmp_path: Path) -> None:
    """What our tasks write into config.json begins with unmask_, whoever wrote it."""
    folder = save(random_model("sequence-classification"), tmp_path / "old")
    values = json.loads((folder / "config.json").read_bytes())
    old = {"unmask_task": {"name": "tagging"}, "unmask_sklearn": {"classes": [1, 2]}, "unmask_later": 1}
    write_config(folder, **values, **old, problem_type="regression", torch_dtype="float32", spoken=True)
    kept, _ = load_model(folder)
    assert kept.config.extra.keys() >= {*old, "problem_type", "spoken"}
    model, _ = load_model(folder, id2label={0: "a", 1: "b", 2: "c"}, allow_new_head=True)
    assert model.config.extra["spoken"]
    assert not model.config.extra.keys() & {*old, "problem_type"}


@pytest.mark.parametrize("allow_new_head", [False, True])
def test_an_encoder_alone_gets_no_new_pooler(tmp_path: Path, allow_new_head: bool) -> None:
    folder = save(random_model("masked-lm"), tmp_path / "mlm")
    message = r"2 weights that the encoder model needs are not in this checkpoint \(pooler\.dense\.weight, "
    with pytest.raises(CheckpointError, match=message):
        load_model(folder, "encoder", allow_new_head=allow_new_head)


@pytest.mark.parametrize("allow_new_head", [False, True])
def test_an_encoder_is_never_new(tmp_path: Path, allow_new_head: bool) -> None:
    def drop(weights: Weights) -> Weights:
        return {name: tensor for name, tensor in weights.items() if "layer.2" not in name}

    folder = save(random_model("sequence-classification"), tmp_path / "short", drop)
    message = r"short: 16 weights that .* not in this checkpoint \(bert\.encoder\.layer\.2\.attention\.self\.query\.w"
    with pytest.raises(CheckpointError, match=message):
        load_model(folder, allow_new_head=allow_new_head)


@pytest.mark.parametrize("allow_new_head", [False, True])
def test_an_encoder_weight_of_another_shape_is_refused(tmp_path: Path, allow_new_head: bool) -> None:
    def cut(weights: Weights) -> Weights:
        name = "bert.embeddings.word_embeddings.weight"
        return weights | {name: weights[name][:99].clone()}

    folder = save(random_model("masked-lm"), tmp_path / "cut", cut)
    message = (
        r"cut: bert\.embeddings\.word_embeddings\.weight has shape \(99, 33\), but config\.json asks for \(101, 33\); "
        r"the config and the weights are not of the same model"
    )
    with pytest.raises(CheckpointError, match=message):
        load_model(folder, allow_new_head=allow_new_head)


def test_a_head_the_family_lacks_is_refused() -> None:
    with pytest.raises(CheckpointError, match="bert has no 'tagging' head; it has encoder, sequence-classification, "):
        empty_model(BertConfig(**TINY), "tagging")


def test_what_is_refused_is_named_and_not_what_may_be_new(tmp_path: Path) -> None:
    def drop(weights: Weights) -> Weights:
        return {name: tensor for name, tensor in weights.items() if "layer.2" not in name}

    folder = save(random_model("sequence-classification"), tmp_path / "short", drop)
    with pytest.raises(CheckpointError, match=r"short: 16 weights that the sequence-classification model needs"):
        load_model(folder, id2label={0: "a", 1: "b", 2: "c"}, allow_new_head=True)


# The report


def test_the_report_is_one_readable_table() -> None:
    from rich.console import Console

    report = LoadReport(
        source="folder",
        num_loaded=7,
        missing=("bert.pooler.dense.weight",),
        unused=("cls.predictions.bias",),
        misshaped=(("classifier.weight", (2, 33), (5, 33)),),
    )
    page = Console(file=io.StringIO(), width=120)
    page.print(report.to_table())
    text = page.file.getvalue()
    rows = [[cell.strip() for cell in line.strip("│┃ ").replace("┃", "│").split("│")] for line in text.splitlines()]
    for row in (
        ["weight", "what of it"],
        ["bert.pooler.dense.weight", "not in the checkpoint: new, must be trained"],
        ["classifier.weight", "2 x 33 in the checkpoint, 5 x 33 in the model: new, must be trained"],
        ["cls.predictions.bias", "in the checkpoint, not in this model: left out"],
    ):
        assert row in rows


def test_a_complete_report_says_so_in_few_words() -> None:
    report = LoadReport(source="folder", num_loaded=7, missing=(), unused=("a", "b"), misshaped=())
    assert report.summary() == "7 tensors loaded from folder; 2 left out (a, b)"


# config.json


def write_config(folder: Path, **values: Any) -> Path:
    (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")
    return folder


@pytest.mark.parametrize(("values", "said"), [({"model_type": "t5"}, "'t5'"), ({}, "None")])
def test_an_unknown_family_is_refused(tmp_path: Path, values: dict[str, str], said: str) -> None:
    message = rf"config\.json: model_type {said} is not a family unmask knows; it knows bert"
    with pytest.raises(CheckpointError, match=message):
        read_model_config(write_config(tmp_path, **values))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hidden_size": 770}, "hidden_size 770 is not a multiple of num_attention_heads 12"),
        ({"num_hidden_layers": 0}, "num_hidden_layers must be a positive integer, not 0"),
        ({"vocab_size": -3}, "vocab_size must be a positive integer, not -3"),
        ({"intermediate_size": 3072.0}, r"intermediate_size must be a positive integer, not 3072\.0"),
        ({"type_vocab_size": True}, "type_vocab_size must be a positive integer, not True"),
        ({"max_position_embeddings": "512"}, "max_position_embeddings must be a positive integer, not '512'"),
        ({"hidden_dropout_prob": 1.0}, r"hidden_dropout_prob must lie in \[0, 1\), not 1\.0"),
        ({"attention_probs_dropout_prob": -0.1}, r"attention_probs_dropout_prob must lie in \[0, 1\), not -0\.1"),
        ({"hidden_act": "quick_gelu"}, "hidden_act 'quick_gelu' is unknown; it is one of gelu, gelu_new, .*, silu"),
        ({"vocab_size": 9, "pad_token_id": 9}, r"pad_token_id must lie in \[0, 9\), not 9"),
        ({"pad_token_id": -1}, r"pad_token_id must lie in \[0, 30522\), not -1"),
        ({"id2label": {"1": "a", "2": "b"}}, r"id2label must number its labels 0, 1, \.\.\., not \[1, 2\]"),
        ({"is_decoder": True}, "is_decoder True is not supported, only False"),
        (
            {"position_embedding_type": "relative_key"},
            "position_embedding_type 'relative_key' is not supported, only 'absolute'",
        ),
        ({"classifier_dropout": 2}, r"classifier_dropout must lie in \[0, 1\), not 2"),
    ],
)
def test_values_out_of_range_are_refused(tmp_path: Path, values: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=rf"config\.json: {message}$"):
        read_model_config(write_config(tmp_path, model_type="bert", **values))


@pytest.mark.parametrize("values", [{"id2label": ["a", "b"]}, {"id2label": {"one": "a"}}, {"hidden_dropout_prob": "x"}])
def test_values_of_another_kind_are_refused_with_the_file_named(tmp_path: Path, values: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json: "):
        read_model_config(write_config(tmp_path, model_type="bert", **values))


def test_labels_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    names = {str(label): f"class {label}" for label in (10, 2, 0, 1, *range(3, 10))}
    config = read_model_config(write_config(tmp_path, model_type="bert", id2label=names))
    assert list(config.id2label) == list(range(11))
    assert config.num_labels == 11
    assert config.to_dict()["label2id"]["class 10"] == 10


def test_a_bare_number_of_labels_is_understood(tmp_path: Path) -> None:
    config = read_model_config(write_config(tmp_path, model_type="bert", num_labels=3))
    assert config.id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}


def test_keys_of_others_are_given_back() -> None:
    config = BertConfig.from_dict({**TINY, "model_type": "bert", "use_cache": True, "gradient": {"deep": [1]}})
    assert config.to_dict() == BertConfig(**TINY).to_dict() | {"use_cache": True, "gradient": {"deep": [1]}}


@pytest.mark.parametrize("head", HF_CLASSES)
def test_a_checkpoint_says_which_head_it_has(head: str) -> None:
    assert saved_head(BertConfig(architectures=("Unheard", HF_CLASSES[head]))) == head


@pytest.mark.parametrize("architectures", [(), ("BertForMultipleChoice",)])
def test_a_checkpoint_with_no_head_of_ours_is_an_encoder(architectures: tuple[str, ...]) -> None:
    assert saved_head(BertConfig(architectures=architectures)) == "encoder"


# New and leaving models


def test_new_weights_are_drawn_as_bert_draws_them() -> None:
    before = torch.get_rng_state()
    model = build_model(BertConfig(**TINY, initializer_range=0.05, pad_token_id=7), "pre-training", seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    drawn = []
    for name, parameter in named_parameters(model):
        assert parameter.requires_grad
        assert parameter.dtype == torch.float32
        if name.endswith("bias"):
            assert not parameter.any(), name
        elif "LayerNorm" in name:
            assert (parameter == 1).all(), name
        else:
            drawn.append(parameter.detach().flatten())
    numbers = torch.cat(drawn)
    assert numbers.std().item() == pytest.approx(0.05, rel=0.02)
    assert numbers.mean().abs() < 4 * 0.05 / len(numbers) ** 0.5
    is_zero_row = (model.encoder.embeddings.word.weight == 0).all(dim=1)
    assert is_zero_row.nonzero().tolist() == [[7]]


def test_without_a_padding_word_no_row_is_zero() -> None:
    model = build_model(BertConfig(**TINY, pad_token_id=None), "encoder")
    assert not (model.embeddings.word.weight == 0).any()


def test_new_weights_follow_from_the_seed() -> None:
    one, same, other = (build_model(BertConfig(**TINY), "masked-lm", seed=seed) for seed in (1, 1, 2))
    assert_same_parameters(one, same)
    different = [not torch.equal(p, q) for p, q in zip(one.parameters(), other.parameters(), strict=True)]
    assert sum(different) == 22  # the matrices: 3 embeddings, 6 a layer, 1 in the head


def test_an_empty_model_takes_no_memory() -> None:
    model = empty_model(BertConfig(), "encoder")
    assert sum(parameter.numel() for parameter in model.parameters()) == 109_482_240
    assert all(parameter.is_meta for parameter in model.parameters())


def test_a_restricted_embedding_does_not_leave() -> None:
    model = random_model("sequence-classification")
    word = model.encoder.embeddings.word
    assert isinstance(word, WordEmbedding)
    word.restrict(torch.tensor([4, 5]))
    with pytest.raises(ValueError, match="release the word embedding before saving the model"):
        export_weights(model)
    word.release()
    assert export_weights(model)[1]["bert.embeddings.word_embeddings.weight"].shape == (101, 33)
