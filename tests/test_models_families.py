"""RoBERTa, ALBERT and ELECTRA against transformers, forward and backward, with dropout off and on, packed and padded.

Run: .venv/bin/python -m pytest tests/test_models_families.py
"""

from __future__ import annotations

import json
from dataclasses import fields
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F

from reference import CountedDropout, hf_inputs, hf_model, one_by_one, ours_of, padded, ragged
from unmask import hub
from unmask.errors import CheckpointError
from unmask.models.registry import (
    FAMILIES,
    build_model,
    empty_model,
    encoder_of,
    export_weights,
    load_model,
    named_parameters,
    read_model_config,
    saved_head,
)

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from unmask.packing import PackedBatch, PaddedBatch

TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}
LENGTHS = [5, 1, 13, 2, 37, 7, 64, 3]


class Kind(NamedTuple):
    """A family in one setting of its options."""

    prefix: str  # of transformers' class names
    overrides: dict[str, Any]


KINDS = {
    "roberta": Kind("Roberta", {}),
    # Its masked LM head keeps its own activation; token types and other paddings are possible.
    "roberta_otherwise": Kind("Roberta", {"hidden_act": "relu", "type_vocab_size": 2, "pad_token_id": 3}),
    "albert": Kind("Albert", {}),
    # Five layers in two groups of two blocks each: ten steps through four blocks.
    "albert_groups": Kind(
        "Albert", {"num_hidden_layers": 5, "num_hidden_groups": 2, "inner_group_num": 2, "hidden_act": "gelu"}
    ),
    "electra": Kind("Electra", {}),
    "electra_wide": Kind("Electra", {"embedding_size": 33, "hidden_act": "silu"}),  # no projection
}
HEADS = {
    "Roberta": {"Model": "encoder", "ForSequenceClassification": "sequence-classification", "ForMaskedLM": "masked-lm"},
    "Albert": {
        "Model": "encoder",
        "ForSequenceClassification": "sequence-classification",
        "ForMaskedLM": "masked-lm",
        "ForPreTraining": "pre-training",
    },
    "Electra": {
        "Model": "encoder",
        "ForSequenceClassification": "sequence-classification",
        "ForMaskedLM": "masked-lm",
        "ForPreTraining": "replaced-token",
    },
}
CASES = [
    pytest.param(kind, suffix, id=f"{name}-{suffix}") for name, kind in KINDS.items() for suffix in HEADS[kind.prefix]
]
OUTPUTS = {  # ours, and transformers' name of the same
    "last_hidden_state": "last_hidden_state",
    "pooler_output": "pooler_output",
    "logits": "logits",
    "prediction_logits": "prediction_logits",
    "seq_relationship_logits": "sop_logits",
}


def reference_of(kind: Kind, suffix: str, **overrides: Any) -> nn.Module:
    return hf_model(kind.prefix + suffix, **kind.overrides, **overrides)


def batches(kind: Kind, lengths: list[int] = LENGTHS, **options: Any) -> tuple[PackedBatch, PaddedBatch]:
    """A ragged batch without padding words, whose positions RoBERTa does not count, and the same as a rectangle."""
    batch = ragged(lengths, lowest=4, **options)
    return batch, padded(batch, length=batch.max_seqlen + 2)


def assert_outputs_agree(ours: Any, theirs: Any, is_real: Tensor) -> tuple[Tensor, Tensor]:
    """Compare all that both models say of the real tokens; return sums of it with fixed weights, ours and theirs."""
    our_sum, their_sum = torch.zeros(()), torch.zeros(())
    for our_name, their_name in OUTPUTS.items():
        expected, output = getattr(theirs, their_name, None), getattr(ours, our_name, None)
        assert (expected is None) == (output is None), our_name
        if expected is None or output is None:
            continue
        if expected.shape[:2] == is_real.shape:
            expected = expected[is_real]
            output = output[is_real] if output.shape[:2] == is_real.shape else output
        torch.testing.assert_close(output, expected, **TOLERANCE)
        weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(7)) / len(expected)
        our_sum, their_sum = our_sum + (output * weights).sum(), their_sum + (expected * weights).sum()
    return our_sum, their_sum


def assert_gradients_agree(ours: nn.Module, theirs: nn.Module) -> None:
    expected = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    names = set()
    for name, parameter in named_parameters(ours):
        names.add(name)
        assert parameter.grad is not None, name
        scale = expected[name].abs().max().clamp(min=1.0)  # a sum over many tokens rounds with its size
        torch.testing.assert_close(
            parameter.grad / scale, expected[name] / scale, **TOLERANCE, msg=lambda text, name=name: f"{name}: {text}"
        )
    assert names == expected.keys()


# Parity


@pytest.mark.parametrize("lengths", [[1], LENGTHS, [11] * 17], ids=["one_token", "many", "equal"])
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_encoders_give_the_same_numbers_packed_padded_and_alone(tmp_path: Path, kind: Kind, lengths: list[int]) -> None:
    reference = reference_of(kind, "Model")
    model = ours_of(reference, tmp_path)
    batch, rectangle = batches(kind, lengths)
    with torch.no_grad():
        expected = reference(**hf_inputs(rectangle, reference), output_hidden_states=True, output_attentions=True)
        packed = model(batch, output_hidden_states=True, output_attentions=True)
        boxed = model(rectangle, output_hidden_states=True, output_attentions=True)
        alone = [model(single) for single in one_by_one(batch)]
    is_real = rectangle.attention_mask.bool()
    for theirs, ours, in_box in zip(expected.hidden_states, packed.hidden_states, boxed.hidden_states, strict=True):
        torch.testing.assert_close(ours, theirs[is_real], **TOLERANCE)
        torch.testing.assert_close(in_box[is_real], theirs[is_real], **TOLERANCE)
    longest, real_rows = batch.max_seqlen, is_real[:, None, :, None]
    for theirs, ours, in_box in zip(expected.attentions, packed.attentions, boxed.attentions, strict=True):
        torch.testing.assert_close(ours, (theirs * real_rows)[:, :, :longest, :longest], **TOLERANCE)
        torch.testing.assert_close(in_box * real_rows, theirs * real_rows, **TOLERANCE)
    for output in (packed, boxed):
        assert_outputs_agree(output, expected, is_real)
    torch.testing.assert_close(torch.cat([o.last_hidden_state for o in alone]), packed.last_hidden_state, **TOLERANCE)


@pytest.mark.parametrize("dropout", [0.0, 0.23], ids=["dropout_off", "dropout_on"])
@pytest.mark.parametrize("layout", ["packed", "padded", "one_by_one"])
@pytest.mark.parametrize(("kind", "suffix"), CASES)
def test_every_head_trains_as_transformers_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind, suffix: str, layout: str, dropout: float
) -> None:
    rates: dict[str, Any] = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    rates["classifier_dropout_prob" if kind.prefix == "Albert" else "classifier_dropout"] = dropout / 2
    if suffix == "ForSequenceClassification":
        rates["num_labels"] = 5
    reference = reference_of(kind, suffix, **rates)
    model = ours_of(reference, tmp_path).train()
    reference.train()
    batch, rectangle = batches(kind, seeds=True)
    if layout == "one_by_one":
        each = [model(single) for single in one_by_one(batch)]
        names = [name for name in OUTPUTS if getattr(each[0], name, None) is not None]
        ours: Any = SimpleNamespace(**{name: torch.cat([getattr(one, name) for one in each]) for name in names})
    else:
        ours = model(batch if layout == "packed" else rectangle)
    with monkeypatch.context() as patch:
        patch.setattr(F, "dropout", CountedDropout(rectangle))
        theirs = reference(**hf_inputs(rectangle, reference))
    our_sum, their_sum = assert_outputs_agree(ours, theirs, rectangle.attention_mask.bool())
    our_sum.backward()
    their_sum.backward()
    assert_gradients_agree(model, reference)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_the_masked_words_asked_for_are_those_of_all(kind: Kind) -> None:
    reference = reference_of(kind, "Model")
    config = FAMILIES[reference.config.model_type].config.from_dict(reference.config.to_dict())
    model = build_model(config, "masked-lm").eval()
    batch, rectangle = batches(kind)
    chosen = torch.tensor([0, 4, 5, 17, 100, 131])
    with torch.no_grad():
        torch.testing.assert_close(model(batch, chosen).logits, model(batch).logits[chosen], **TOLERANCE)
    assert rectangle.max_seqlen < encoder_of(model).embeddings.max_seq_length


_BASE = {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}


@pytest.mark.parametrize(
    ("class_name", "published", "encoder_parameters"),
    [
        ("RobertaForSequenceClassification", {"max_position_embeddings": 514, "type_vocab_size": 1}, 124_055_040),
        ("AlbertForPreTraining", _BASE, 11_683_584),
        ("ElectraForPreTraining", {}, 13_483_008),
        ("ElectraForPreTraining", {**_BASE, "embedding_size": 768}, 109_482_240 - 768 * 769),  # BERT's without a pooler
    ],
    ids=["roberta-base", "albert-base-v2", "electra-small", "electra-base"],
)
def test_published_sizes_agree(
    tmp_path: Path, class_name: str, published: dict[str, int], encoder_parameters: int
) -> None:
    import transformers

    model_class = getattr(transformers, class_name)
    torch.manual_seed(0)
    reference = model_class(model_class.config_class(**published, attn_implementation="eager")).eval()
    model = ours_of(reference, tmp_path)
    assert sum(parameter.numel() for parameter in model.encoder.parameters()) == encoder_parameters
    assert model.encoder.embeddings.max_seq_length == 512
    batch = ragged([211, 31, 1], vocab_size=30000, lowest=4)
    rectangle = padded(batch)
    with torch.no_grad():
        expected = reference(**hf_inputs(rectangle, reference), output_hidden_states=True)
        output = model(batch)
        encoded = model.encoder(batch, output_hidden_states=True)
    is_real = rectangle.attention_mask.bool()
    assert_outputs_agree(output, expected, is_real)
    for theirs, ours in zip(expected.hidden_states, encoded.hidden_states, strict=True):
        torch.testing.assert_close(ours, theirs[is_real], **TOLERANCE)


def test_a_head_tied_to_the_word_embeddings_wants_them_all() -> None:
    config = FAMILIES["albert"].config.from_dict(reference_of(KINDS["albert"], "Model").config.to_dict())
    for head in ("masked-lm", "pre-training"):
        model = build_model(config, head).eval()
        model.encoder.embeddings.word.restrict(torch.tensor([4, 5]))
        with pytest.raises(ValueError, match="tied to the word embeddings needs them all: release the word embedding"):
            model(ragged([3]))
        model.encoder.embeddings.word.release()
        model(ragged([3], lowest=4))


# Names


@pytest.mark.parametrize(("kind", "suffix"), CASES)
def test_what_we_save_transformers_loads_to_the_bit(tmp_path: Path, kind: Kind, suffix: str) -> None:
    import transformers

    reference = reference_of(kind, suffix)
    model = ours_of(reference, tmp_path / "theirs")
    assert saved_head(model.config) == HEADS[kind.prefix][suffix] == model.head
    config, weights = export_weights(model)
    hub.save_model_folder(tmp_path / "ours", config=config, weights=weights)
    loaded, info = type(reference).from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(info.values()), info
    theirs = dict(reference.named_parameters())
    assert theirs.keys() == dict(loaded.named_parameters()).keys() == weights.keys()
    for name, parameter in loaded.named_parameters():
        assert torch.equal(parameter, theirs[name]), name
    again = transformers.AutoConfig.from_pretrained(tmp_path / "ours").to_dict()
    before = reference.config.to_dict() | {"architectures": [type(reference).__name__]}
    ignored = {"_name_or_path", "dtype", "transformers_version"}
    assert {k: v for k, v in again.items() if k not in ignored} == {k: v for k, v in before.items() if k not in ignored}


@pytest.mark.parametrize("head", ["next-sentence", "pre-training", "replaced-token"])
@pytest.mark.parametrize("model_type", ["bert", "roberta", "albert"])
def test_heads_that_transformers_lacks_come_back_and_their_encoder_loads_there(
    tmp_path: Path, model_type: str, head: str
) -> None:
    import transformers

    sizes = reference_of(Kind(model_type.capitalize(), {}), "Model").config.to_dict()
    config = FAMILIES[model_type].config.from_dict(sizes)
    model = build_model(config, head, seed=3).eval()
    values, weights = export_weights(model)
    hub.save_model_folder(tmp_path / "model", config=values, weights=weights)
    loaded, report = load_model(tmp_path / "model")
    assert report.is_exact
    assert type(loaded) is type(model)
    batch = ragged(LENGTHS, lowest=4)
    output, again = model(batch), loaded.eval()(batch)
    logits = output.logits if hasattr(output, "logits") else output.seq_relationship_logits
    assert torch.equal(logits, again.logits if hasattr(again, "logits") else again.seq_relationship_logits)
    assert logits.shape == ((batch.total_tokens,) if head == "replaced-token" else (len(LENGTHS), 2))
    logits.sum().backward()
    assert all(p.grad is not None for name, p in model.named_parameters() if not name.startswith("masked_lm."))
    rectangle = padded(batch)
    reference = transformers.AutoModel.from_pretrained(tmp_path / "model").eval()
    with torch.no_grad():
        expected = reference(**hf_inputs(rectangle, reference)).last_hidden_state[rectangle.attention_mask.bool()]
    torch.testing.assert_close(encoder_of(model)(batch).last_hidden_state, expected, **TOLERANCE)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_name_is_translated_both_ways(kind: Kind) -> None:
    reference = reference_of(kind, "Model")
    family = FAMILIES[reference.config.model_type]
    config = family.config.from_dict(reference.config.to_dict())
    table = family.weights(config)
    for head in family.heads:
        names = [own for own, _ in empty_model(config, head).named_parameters()]
        foreign = [table.to_foreign(own, has_head=head != "encoder") for own in names]
        assert len(set(foreign)) == len(names)
        for own, theirs in zip(names, foreign, strict=True):
            assert table.to_own(theirs, has_head=head != "encoder", wanted=names) == own
            assert not table.is_redundant(theirs)


# Configurations


def write_config(folder: Path, **values: Any) -> Path:
    (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")
    return folder


@pytest.mark.parametrize("model_type", ["bert", "roberta", "albert", "electra"])
def test_a_key_left_out_means_what_it_means_to_transformers(tmp_path: Path, model_type: str) -> None:
    import transformers

    theirs = transformers.AutoConfig.for_model(model_type).to_dict()
    ours = read_model_config(write_config(tmp_path, model_type=model_type))
    named = {type(ours).foreign_keys.get(f.name, f.name) for f in fields(ours)} - {"extra", "architectures", "id2label"}
    assert {name: value for name, value in ours.to_dict().items() if name in named} == {
        name: theirs[name] for name in named
    }


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model_type": "roberta", "pad_token_id": None}, "pad_token_id must be a number: RoBERTa's positions are cou"),
        (
            {"model_type": "roberta", "max_position_embeddings": 2},
            "max_position_embeddings must be more than pad_token_id \\+ 1, which is 2, not 2",
        ),
        ({"model_type": "albert", "embedding_size": 0}, "embedding_size must be a positive integer, not 0"),
        ({"model_type": "albert", "num_hidden_groups": 0}, "num_hidden_groups must be a positive integer, not 0"),
        ({"model_type": "albert", "inner_group_num": 1.5}, "inner_group_num must be a positive integer, not 1.5"),
        (
            {"model_type": "albert", "classifier_dropout_prob": 1},
            r"classifier_dropout_prob must lie in \[0, 1\), not 1",
        ),
        ({"model_type": "electra", "embedding_size": "x"}, "embedding_size must be a positive integer, not 'x'"),
    ],
)
def test_values_out_of_range_are_refused_under_the_names_in_the_file(
    tmp_path: Path, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(CheckpointError, match=rf"config\.json: {message}"):
        read_model_config(write_config(tmp_path, **values))


def test_roberta_reaches_less_far_than_its_positions(tmp_path: Path) -> None:
    model = ours_of(hf_model("RobertaModel"), tmp_path)
    assert model.embeddings.max_seq_length == 69
    with pytest.raises(ValueError, match="a sequence has 70 tokens; this model takes 69"):
        model(ragged([3, 70], lowest=4))
