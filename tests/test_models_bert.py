"""BERT against transformers: the same numbers forward and backward, with dropout off and on, packed and padded.

Run: .venv/bin/python -m pytest tests/test_models_bert.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
import torch.nn.functional as F

from reference import CountedDropout, hf_inputs, hf_model, one_by_one, ours_of, padded, ragged
from unmask import hub
from unmask.models.registry import export_weights, load_model, named_parameters
from unmask.packing import pad

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}
LENGTHS = [5, 1, 13, 2, 37, 7, 64, 3]  # several groups of rows, and several sequences to a row


def assert_gradients_agree(ours: nn.Module, theirs: nn.Module) -> None:
    expected = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    for name, parameter in named_parameters(ours):
        assert parameter.grad is not None, name
        torch.testing.assert_close(
            parameter.grad, expected[name], **TOLERANCE, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize("lengths", [[1], [23], LENGTHS, [11] * 17], ids=["one_token", "one", "many", "equal"])
def test_encoder_gives_the_same_numbers_packed_padded_and_alone(tmp_path: Path, lengths: list[int]) -> None:
    reference = hf_model("BertModel")
    model = ours_of(reference, tmp_path)
    batch = ragged(lengths)
    rectangle = padded(batch, length=batch.max_seqlen + 2)
    with torch.no_grad():
        expected = reference(**hf_inputs(rectangle), output_hidden_states=True, output_attentions=True)
        packed = model(batch, output_hidden_states=True, output_attentions=True)
        boxed = model(rectangle, output_hidden_states=True, output_attentions=True)
        alone = [model(single) for single in one_by_one(batch)]
    is_real = rectangle.attention_mask.bool()
    assert len(packed.hidden_states) == len(boxed.hidden_states) == 4
    for theirs, ours, in_box in zip(expected.hidden_states, packed.hidden_states, boxed.hidden_states, strict=True):
        torch.testing.assert_close(ours, theirs[is_real], **TOLERANCE)
        torch.testing.assert_close(in_box[is_real], theirs[is_real], **TOLERANCE)
    longest = batch.max_seqlen
    real_rows = is_real[:, None, :, None]
    for theirs, ours, in_box in zip(expected.attentions, packed.attentions, boxed.attentions, strict=True):
        theirs = theirs * real_rows
        torch.testing.assert_close(ours, theirs[:, :, :longest, :longest], **TOLERANCE)
        torch.testing.assert_close(in_box * real_rows, theirs, **TOLERANCE)
    for output in (packed, boxed):
        torch.testing.assert_close(output.pooler_output, expected.pooler_output, **TOLERANCE)
    torch.testing.assert_close(torch.cat([o.last_hidden_state for o in alone]), packed.last_hidden_state, **TOLERANCE)


@pytest.mark.parametrize("dropout", [0.0, 0.1, 0.37], ids=["off", "on", "strong"])
@pytest.mark.parametrize("layout", ["packed", "padded", "one_by_one"])
def test_classifier_trains_as_transformers_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dropout: float, layout: str
) -> None:
    reference = hf_model(
        "BertForSequenceClassification",
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        num_labels=5,
    )
    model = ours_of(reference, tmp_path).train()
    reference.train()
    batch = ragged(LENGTHS, seeds=True)
    rectangle = padded(batch)
    labels = torch.arange(len(LENGTHS)) % 5
    if layout == "one_by_one":
        logits = torch.cat([model(single).logits for single in one_by_one(batch)])
    else:
        logits = model(batch if layout == "packed" else rectangle).logits
    F.cross_entropy(logits, labels).backward()
    with monkeypatch.context() as patch:
        patch.setattr(F, "dropout", CountedDropout(rectangle))
        expected = reference(**hf_inputs(rectangle), labels=labels)
    expected.loss.backward()
    torch.testing.assert_close(logits, expected.logits, **TOLERANCE)
    assert_gradients_agree(model, reference)


def test_dropout_is_active_in_training_and_only_there(tmp_path: Path) -> None:
    model = ours_of(hf_model("BertForSequenceClassification"), tmp_path)
    with torch.no_grad():
        quiet = [model(ragged(LENGTHS, seeds=True)).logits, model(ragged(LENGTHS)).logits]
        model.train()
        counted = [model(ragged(LENGTHS, seeds=True)).logits for _ in range(2)]
        drawn = [model(ragged(LENGTHS)).logits for _ in range(2)]
    assert torch.equal(*quiet)
    assert torch.equal(*counted)  # the same seeds, the same dropout
    assert not torch.allclose(counted[0], quiet[0])
    assert not torch.allclose(*drawn)  # torch's generator moves on


@pytest.mark.parametrize("class_name", ["BertForMaskedLM", "BertForNextSentencePrediction", "BertForPreTraining"])
def test_pretraining_heads_agree(tmp_path: Path, class_name: str) -> None:
    reference = hf_model(class_name, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0).train()
    model = ours_of(reference, tmp_path).train()
    batch = ragged(LENGTHS)
    rectangle = padded(batch)
    is_real = rectangle.attention_mask.bool()
    chosen = torch.tensor([0, 4, 5, 17, 100, 131])
    words = torch.arange(len(chosen)) + 3
    labels = torch.full(is_real.shape, -100)
    packed_labels = torch.full((batch.total_tokens,), -100)
    packed_labels[chosen] = words
    labels[is_real] = packed_labels
    follows = torch.arange(len(LENGTHS)) % 2
    theirs = reference(**hf_inputs(rectangle))
    ours = model(batch) if class_name == "BertForNextSentencePrediction" else model(batch, chosen)
    loss, expected_loss = torch.zeros(()), torch.zeros(())
    for words_name, follows_name in (("logits", "logits"), ("prediction_logits", "seq_relationship_logits")):
        if "MaskedLM" in class_name or words_name == "prediction_logits":
            logits, expected = getattr(ours, words_name, None), getattr(theirs, words_name, None)
            if logits is not None and logits.shape[-1] == 101:
                torch.testing.assert_close(logits, expected[is_real][chosen], **TOLERANCE)
                loss = loss + F.cross_entropy(logits, words)
                expected_loss = expected_loss + F.cross_entropy(expected.flatten(0, 1), labels.flatten())
        logits, expected = getattr(ours, follows_name, None), getattr(theirs, follows_name, None)
        if logits is not None and logits.shape[-1] == 2:
            torch.testing.assert_close(logits, expected, **TOLERANCE)
            loss = loss + F.cross_entropy(logits, follows)
            expected_loss = expected_loss + F.cross_entropy(expected, follows)
    assert loss > 0
    loss.backward()
    expected_loss.backward()
    torch.testing.assert_close(loss, expected_loss, **TOLERANCE)
    assert_gradients_agree(model, reference)


@pytest.mark.parametrize(
    "class_name",
    [
        "BertModel",
        "BertForSequenceClassification",
        "BertForMaskedLM",
        "BertForNextSentencePrediction",
        "BertForPreTraining",
    ],
)
def test_what_we_save_transformers_loads_to_the_same_logits(tmp_path: Path, class_name: str) -> None:
    import transformers

    model = ours_of(hf_model(class_name), tmp_path / "theirs")
    config, weights = export_weights(model)
    hub.save_model_folder(tmp_path / "ours", config=config, weights=weights)
    loaded, info = getattr(transformers, class_name).from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(info.values()), info
    batch = ragged(LENGTHS)
    rectangle = padded(batch)
    with torch.no_grad():
        expected, output = loaded.eval()(**hf_inputs(rectangle)), model(rectangle)
    is_real = rectangle.attention_mask.bool()
    for name in ("logits", "prediction_logits", "seq_relationship_logits", "last_hidden_state", "pooler_output"):
        if hasattr(output, name):
            ours, theirs = getattr(output, name), expected[name]
            if theirs.dim() == 3:
                ours, theirs = ours[is_real], theirs[is_real]
            torch.testing.assert_close(ours, theirs, **TOLERANCE)


def test_minilm_agrees_on_real_sentences_of_every_length(minilm: Path) -> None:
    import transformers

    reference = transformers.BertModel.from_pretrained(minilm, attn_implementation="eager").eval()
    model, report = load_model(minilm)
    assert report.is_complete
    assert report.num_loaded == 103
    model.eval()
    for lengths in ([512, 1, 80, 9, 300], [2, 31, 33, 32, 64, 65]):
        batch = ragged(lengths, vocab_size=30522)
        rectangle = padded(batch)
        is_real = rectangle.attention_mask.bool()
        expected = reference(**hf_inputs(rectangle), output_hidden_states=True, output_attentions=True)
        output = model(batch, output_hidden_states=True, output_attentions=True)
        for theirs, ours in zip(expected.hidden_states, output.hidden_states, strict=True):
            torch.testing.assert_close(ours, theirs[is_real], **TOLERANCE)
        for theirs, ours in zip(expected.attentions, output.attentions, strict=True):
            torch.testing.assert_close(ours, theirs * is_real[:, None, :, None], **TOLERANCE)
        weights = torch.randn_like(output.pooler_output)
        (output.pooler_output * weights).sum().backward()
        (expected.pooler_output * weights).sum().backward()
        gradients = {name: parameter.grad for name, parameter in reference.named_parameters()}
        for name, parameter in named_parameters(model):
            scale = gradients[name].abs().max().clamp(min=1.0)  # the sum over 900 tokens rounds with their size
            torch.testing.assert_close(parameter.grad / scale, gradients[name] / scale, **TOLERANCE)
        model.zero_grad()
        reference.zero_grad()


def test_bert_base_agrees_at_full_size(tmp_path: Path) -> None:
    import transformers

    torch.manual_seed(0)
    config = transformers.BertConfig(
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, attn_implementation="eager"
    )
    reference = transformers.BertForSequenceClassification(config).train()
    model = ours_of(reference, tmp_path).train()
    parameters = list(named_parameters(model))
    assert len(parameters) == 201
    assert sum(p.numel() for p in model.encoder.parameters()) == 109_482_240
    assert [(name, p.shape) for name, p in parameters] == [(name, p.shape) for name, p in reference.named_parameters()]
    batch = ragged([512, 1, 31, 12], vocab_size=30522)
    rectangle = padded(batch)
    is_real = rectangle.attention_mask.bool()
    labels = torch.tensor([0, 1, 1, 0])
    expected = reference(**hf_inputs(rectangle), labels=labels, output_hidden_states=True, output_attentions=True)
    with torch.no_grad():
        encoded = model.encoder(batch, output_hidden_states=True, output_attentions=True)
    for theirs, ours in zip(expected.hidden_states, encoded.hidden_states, strict=True):
        torch.testing.assert_close(ours, theirs[is_real], **TOLERANCE)
    for theirs, ours in zip(expected.attentions, encoded.attentions, strict=True):
        torch.testing.assert_close(ours, theirs * is_real[:, None, :, None], **TOLERANCE)
    output = model(batch)
    torch.testing.assert_close(output.logits, expected.logits, **TOLERANCE)
    F.cross_entropy(output.logits, labels).backward()
    expected.loss.backward()
    assert_gradients_agree(model, reference)


def test_packed_attention_never_crosses_texts(tmp_path: Path) -> None:
    model = ours_of(hf_model("BertModel"), tmp_path)
    batch = ragged([7, 9])
    changed = batch.input_ids.clone()
    changed[:7] = 50
    with torch.no_grad():
        before = model(batch).last_hidden_state
        after = model(type(batch)(**{**vars(batch), "input_ids": changed})).last_hidden_state
    assert torch.equal(before[7:], after[7:])
    assert not torch.allclose(before[:7], after[:7])


def test_a_sequence_longer_than_the_model_is_refused(tmp_path: Path) -> None:
    model = ours_of(hf_model("BertModel"), tmp_path)
    with pytest.raises(ValueError, match="a sequence has 72 tokens; this model takes 71"):
        model(ragged([3, 72]))


def test_pad_restores_the_rectangle(tmp_path: Path) -> None:
    batch = ragged([2, 3])
    hidden: Tensor = torch.arange(10.0).view(5, 2)
    expected = torch.tensor([[[0.0, 1], [2, 3], [0, 0]], [[4, 5], [6, 7], [8, 9]]])
    assert torch.equal(pad(hidden, batch.cu_seqlens), expected)
