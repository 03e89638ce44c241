"""Classifiers of tokens and finders of answers, in every family that has them, against transformers.

Run: .venv/bin/python -m pytest tests/test_models_task_heads.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from reference import TINY, CountedDropout, hf_inputs, hf_model, one_by_one, ours_of, padded, ragged
from unmask import hub
from unmask.errors import CheckpointError
from unmask.models.flops import forward_flops
from unmask.models.registry import FAMILIES, build_model, export_weights, load_model, named_parameters, saved_head

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from unmask.packing import PackedBatch, PaddedBatch

TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}
LENGTHS = [5, 1, 13, 2, 37, 7, 64, 3]
PREFIXES = ["Bert", "Roberta", "Albert", "Electra", "GPT2"]
HEADS = {"ForTokenClassification": "token-classification", "ForQuestionAnswering": "question-answering"}
CASES = [(prefix, suffix) for prefix in PREFIXES for suffix in HEADS]
TAGGERS = [case for case in CASES if case[1] == "ForTokenClassification"]  # which take rows


def reference_of(prefix: str, suffix: str, *, dropout: float = 0.0, **overrides: Any) -> nn.Module:
    """A random model with five labels for tokens; dropout is another before the classifier than elsewhere."""
    labels = {"num_labels": 5} if suffix == "ForTokenClassification" else {}
    if prefix == "GPT2":
        rates = dict.fromkeys(("embd_pdrop", "resid_pdrop", "attn_pdrop"), dropout) | {
            "classifier_dropout": dropout / 2
        }
        sizes = {"type_vocab_size": 0, "n_inner": TINY["intermediate_size"]}
        return hf_model(prefix + suffix, **rates, **labels, **sizes, **overrides)
    of_classifier = "classifier_dropout_prob" if prefix == "Albert" else "classifier_dropout"
    rates = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout, of_classifier: dropout / 2}
    return hf_model(prefix + suffix, **rates, **labels, **overrides)


def theirs_of(reference: nn.Module, rectangle: PaddedBatch) -> Tensor:
    """Logits of the real tokens, (T, labels or 2)."""
    output = reference(**hf_inputs(rectangle, reference))
    logits = output.logits if "logits" in output else torch.stack((output.start_logits, output.end_logits), dim=-1)
    return logits[rectangle.attention_mask.bool()]


def loss_of(logits: Tensor, batch: PackedBatch, rows: Tensor) -> Tensor:
    """Of tags at some rows; of answers that start and end somewhere in each sequence."""
    if logits.shape[1] == 5:
        return F.cross_entropy(logits[rows], rows % 5)
    parts = logits.split(batch.cu_seqlens.diff().tolist())
    places = [(torch.tensor([len(part) // 3]), torch.tensor([len(part) // 2])) for part in parts]
    return torch.stack(
        [F.cross_entropy(part.t(), torch.cat(place)) for part, place in zip(parts, places, strict=True)]
    ).mean()


def gradients_of(model: nn.Module) -> dict[str, Tensor]:
    gradients = {name: parameter.grad for name, parameter in named_parameters(model)}
    from_plain = FAMILIES[model.config.model_type].weights(model.config).from_plain
    return gradients if from_plain is None else dict(from_plain(gradients))


def assert_gradients_agree(ours: nn.Module, theirs: nn.Module) -> None:
    gradients = gradients_of(ours)
    expected = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    assert gradients.keys() == expected.keys()
    for name, gradient in gradients.items():
        assert gradient is not None, name
        scale = expected[name].abs().max().clamp(min=1.0)  # a sum over many tokens rounds with its size
        torch.testing.assert_close(
            gradient / scale, expected[name] / scale, **TOLERANCE, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize("dropout", [0.0, 0.23], ids=["dropout_off", "dropout_on"])
@pytest.mark.parametrize(
    ("prefix", "suffix", "layout"),
    [
        (*case, layout)
        for case in CASES
        for layout in ("packed", "rows", "padded", "one_by_one")
        if layout != "rows" or case in TAGGERS
    ],
)
def test_every_head_trains_as_transformers_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefix: str, suffix: str, layout: str, dropout: float
) -> None:
    reference = reference_of(prefix, suffix, dropout=dropout).train()
    model = ours_of(reference, tmp_path).train()
    batch = ragged(LENGTHS, lowest=4, seeds=True)
    rectangle = padded(batch, length=batch.max_seqlen + 2)
    is_real = rectangle.attention_mask.bool()
    rows = torch.arange(0, batch.total_tokens, 3)
    if layout == "rows":
        # All rows in an order of their own: they come as they were asked for, and their dropout is theirs.
        order = torch.from_numpy(np.random.default_rng(3).permutation(batch.total_tokens))
        logits = model(batch, rows=order).logits[order.argsort()]
    elif layout == "one_by_one":
        logits = torch.cat([model(single).logits for single in one_by_one(batch)])
    else:
        logits = model(batch).logits if layout == "packed" else model(rectangle).logits[is_real]
    with monkeypatch.context() as patch:
        patch.setattr(F, "dropout", CountedDropout(rectangle))
        expected = theirs_of(reference, rectangle)
    assert logits.shape == (batch.total_tokens, 5 if suffix == "ForTokenClassification" else 2)
    torch.testing.assert_close(logits, expected, **TOLERANCE)
    loss_of(logits, batch, rows).backward()
    loss_of(expected, batch, rows).backward()
    assert_gradients_agree(model, reference)


@pytest.mark.parametrize(("prefix", "suffix"), TAGGERS)
def test_rows_asked_for_are_those_of_all_with_their_gradients(tmp_path: Path, prefix: str, suffix: str) -> None:
    model = ours_of(reference_of(prefix, suffix, dropout=0.23), tmp_path).train()
    batch = ragged(LENGTHS, lowest=4, seeds=True)
    rectangle = padded(batch)
    rows = torch.tensor([0, 4, 5, 17, 100, 131])
    places = rectangle.attention_mask.flatten().nonzero()[:, 0][rows]  # of the same tokens among the B * S
    some, in_box = model(batch, rows=rows).logits, model(rectangle, rows=places).logits
    every = model(batch).logits[rows]
    torch.testing.assert_close(some, every, **TOLERANCE)
    torch.testing.assert_close(in_box, every, **TOLERANCE)
    weights = torch.randn(some.shape, generator=torch.Generator().manual_seed(1))
    kept = {}
    for name, logits in (("some", some), ("every", every)):
        (logits * weights).sum().backward()
        kept[name] = {n: p.grad for n, p in model.named_parameters()}
        model.zero_grad()
    for name, gradient in kept["every"].items():
        torch.testing.assert_close(kept["some"][name], gradient, **TOLERANCE)


@pytest.mark.parametrize(("prefix", "suffix"), CASES)
def test_what_we_save_transformers_loads_to_the_bit(tmp_path: Path, prefix: str, suffix: str) -> None:
    reference = reference_of(prefix, suffix)
    model = ours_of(reference, tmp_path / "theirs")
    assert saved_head(model.config) == HEADS[suffix] == model.head
    config, weights = export_weights(model)
    hub.save_model_folder(tmp_path / "ours", config=config, weights=weights)
    loaded, info = type(reference).from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(info.values()), info
    theirs = dict(reference.named_parameters())
    assert theirs.keys() == weights.keys()
    for name, parameter in loaded.named_parameters():
        assert torch.equal(parameter, theirs[name]), name


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_new_head_is_made_on_any_encoder_and_only_where_that_is_allowed(tmp_path: Path, prefix: str) -> None:
    sizes = {"type_vocab_size": 0, "n_inner": TINY["intermediate_size"]} if prefix == "GPT2" else {}
    reference = hf_model(f"{prefix}Model", **sizes)
    reference.save_pretrained(tmp_path)
    for head in HEADS.values():
        with pytest.raises(CheckpointError, match=f"2 weights that the {head} model needs are not in this checkpoint"):
            load_model(tmp_path, head)
        model, report = load_model(tmp_path, head, id2label={0: "O", 1: "B", 2: "I"}, allow_new_head=True)
        assert {name.rpartition(".")[0] for name in report.missing} == {
            "classifier" if head == "token-classification" else "qa_outputs"
        }
        logits = model(ragged([3, 4], lowest=4)).logits
        assert logits.shape == (7, 3 if head == "token-classification" else 2)


def test_the_classifier_of_texts_and_that_of_tokens_do_not_take_each_others_place(tmp_path: Path) -> None:
    """BERT's checkpoints call both "classifier": the one that is asked for gets it, under its own name here."""
    reference = reference_of("Bert", "ForTokenClassification")
    reference.save_pretrained(tmp_path)
    tokens, _ = load_model(tmp_path)
    assert torch.equal(tokens.token_classifier.linear.weight, reference.classifier.weight)
    texts, report = load_model(tmp_path, "sequence-classification", allow_new_head=True)
    assert torch.equal(texts.classifier.linear.weight, reference.classifier.weight)
    assert report.missing == ("bert.pooler.dense.weight", "bert.pooler.dense.bias")


def test_gpt_1_has_neither_as_transformers_has_neither() -> None:
    config = FAMILIES["openai-gpt"].config.from_dict({"n_embd": 12, "n_head": 2, "n_layer": 1})
    for head in HEADS.values():
        with pytest.raises(CheckpointError, match=f"openai-gpt has no '{head}' head"):
            build_model(config, head)


def test_gpt_2_drops_a_tenth_before_its_classifier_unless_told() -> None:
    for told, expected in (({}, 0.1), ({"hidden_dropout": 0.2}, 0.2), ({"classifier_dropout": 0.0}, 0.0)):
        config = FAMILIES["gpt2"].config.from_dict({"n_embd": 12, "n_head": 2, "n_layer": 1, "vocab_size": 7, **told})
        assert build_model(config, "token-classification").token_classifier.dropout_p == expected


def test_their_operations_are_counted_on_every_token() -> None:
    config = FAMILIES["bert"].config.from_dict({**TINY, "num_labels": 5})
    bare = forward_flops(config).per_token
    assert forward_flops(config, "token-classification").per_token == bare + 2 * 33 * 5
    assert forward_flops(config, "question-answering").per_token == bare + 2 * 33 * 2
    assert forward_flops(config, "question-answering").per_sequence == 0
