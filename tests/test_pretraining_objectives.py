"""What is learnt of raw text, against transformers' own losses and gradients.

Run: pytest tests/test_pretraining_objectives.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from reference import CountedDropout, hf_inputs, hf_model, ours_of, padded
from unmask.errors import CheckpointError, SettingsError
from unmask.models.registry import named_parameters
from unmask.packing import pad
from unmask.pretraining.masking import Masking
from unmask.pretraining.objective import Pretraining
from unmask.pretraining.objectives import (
    CausalLanguageModelling,
    GeneratorAndDiscriminator,
    MaskedLanguageModelling,
    NextSentencePrediction,
    ReplacedTokenDetection,
    SentenceOrderPrediction,
)
from unmask.pretraining.objectives.rtd import sample_tokens
from unmask.pretraining.vocabulary import Vocabulary

if TYPE_CHECKING:
    from unmask.packing import PaddedBatch

TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}
VOCABULARY = Vocabulary(word_starts=np.arange(101) % 3 != 0, ordinary_tokens=np.arange(5, 101), mask_token_id=4)
MASKING = Masking(mlm_probability=0.3)


class Source:
    """Random pairs; their labels alternate. Even epochs and odd ones differ, as pairs drawn anew do."""

    num_cut_sentences = 0

    def __init__(self, lengths: list[int], *, has_pairs: bool = True) -> None:
        self.lengths = np.array(lengths)
        self._has_pairs = has_pairs

    def __len__(self) -> int:
        return len(self.lengths)

    def build(self, index: int, *, epoch: int) -> Any:
        from types import SimpleNamespace

        length = int(self.lengths[index])
        ids = np.random.default_rng([index, epoch % 2]).integers(5, 101, length)
        is_special = np.zeros(length, np.bool_)
        is_special[[0, length // 2, -1]] = True
        ids[is_special] = 3
        types = (np.arange(length) > length // 2).astype(np.int64)
        return SimpleNamespace(
            input_ids=ids,
            token_type_ids=types if self._has_pairs else np.zeros_like(types),
            is_special=is_special,
            pair_label=(index + epoch) % 2 if self._has_pairs else None,
        )


LENGTHS = [17, 5, 37, 64, 23, 9, 3]
DEV = Source([13, 31, 7])


def pretraining(tokens: Any, pairs: Any = None, **arguments: Any) -> Pretraining:
    source = Source(LENGTHS, has_pairs=pairs is not None)
    return Pretraining(tokens, pairs, source, DEV, seed=3, **arguments)


def whole_batch(objective: Pretraining) -> Any:
    return objective.collate(range(len(LENGTHS)), epoch=1)


def as_labels(batch: Any) -> torch.Tensor:
    """Labels as transformers takes them, -100 where nothing is to be guessed."""
    labels = torch.full_like(batch.original_ids, -100)
    labels[batch.positions] = batch.labels
    return pad(labels, batch.inputs.cu_seqlens, value=-100)


def compare_gradients(ours: torch.nn.Module, theirs: torch.nn.Module, *, prefix: str = "") -> None:
    found = dict(named_parameters(ours))
    expected = {name: parameter for name, parameter in theirs.named_parameters() if parameter.grad is not None}
    for name, parameter in found.items():
        gradient = expected.pop(name).grad
        torch.testing.assert_close(parameter.grad, gradient, **TOLERANCE, msg=lambda text, name=name: f"{name}: {text}")
    assert not {name for name in expected if "decoder" not in name and "lm_head" not in name}


@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("class_name", ["BertForMaskedLM", "RobertaForMaskedLM", "AlbertForMaskedLM"])
def test_mlm_is_the_loss_of_transformers(class_name, dropout, tmp_path, monkeypatch):
    theirs = hf_model(class_name, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout)
    ours = ours_of(theirs, tmp_path / "model").train()
    objective = pretraining(MaskedLanguageModelling(MASKING, VOCABULARY))
    batch = whole_batch(objective)
    losses, count = objective.compute_loss(ours, batch), batch.num_targets[0]
    assert losses.shape == (1,)
    (losses.sum() / count).backward()
    rectangle = padded(batch.inputs)
    monkeypatch.setattr(F, "dropout", CountedDropout(rectangle))
    theirs.train()
    loss = theirs(**inputs_for(theirs, rectangle), labels=as_labels(batch)).loss
    loss.backward()
    torch.testing.assert_close(losses[0].detach() / count, loss.detach(), **TOLERANCE)
    compare_gradients(ours, theirs)


def inputs_for(theirs: Any, rectangle: PaddedBatch) -> dict[str, Any]:
    inputs = hf_inputs(rectangle)
    if theirs.config.model_type == "roberta":  # its positions are counted from the padding, which ours need not be
        inputs["position_ids"] = rectangle.position_ids.expand_as(rectangle.input_ids) + theirs.config.pad_token_id + 1
        del inputs["token_type_ids"]
    return inputs


@pytest.mark.parametrize(
    ("class_name", "pairs", "label"),
    [
        ("BertForPreTraining", NextSentencePrediction(), "next_sentence_label"),
        ("AlbertForPreTraining", SentenceOrderPrediction(), "sentence_order_label"),
    ],
)
def test_pairs_are_a_term_of_their_own_as_in_transformers(class_name, pairs, label, tmp_path):
    off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "classifier_dropout_prob": 0.0}
    theirs = hf_model(class_name, **off).train()
    ours = ours_of(theirs, tmp_path / "model").train()
    objective = pretraining(MaskedLanguageModelling(MASKING, VOCABULARY), pairs)
    assert objective.loss_terms == ("mlm", pairs.name)
    assert objective.head == "pre-training"
    batch = whole_batch(objective)
    assert batch.num_targets[1] == len(LENGTHS)
    losses = objective.compute_loss(ours, batch) / torch.tensor(batch.num_targets)
    losses.sum().backward()
    rectangle = padded(batch.inputs)
    loss = theirs(**hf_inputs(rectangle), labels=as_labels(batch), **{label: batch.pair_labels}).loss
    loss.backward()
    torch.testing.assert_close(losses.sum().detach(), loss.detach(), **TOLERANCE)
    compare_gradients(ours, theirs)


def test_a_sequence_that_is_no_pair_has_no_label(tmp_path):
    ours = ours_of(hf_model("BertForPreTraining"), tmp_path / "model")
    objective = Pretraining(
        MaskedLanguageModelling(MASKING, VOCABULARY),
        NextSentencePrediction(),
        Source(LENGTHS, has_pairs=False),
        DEV,
        seed=3,
    )
    batch = whole_batch(objective)
    assert batch.num_targets[1] == 0
    assert objective.compute_loss(ours, batch)[1] == 0


def test_clm_is_the_loss_of_transformers(tmp_path):
    import transformers

    config = transformers.GPT2Config(
        vocab_size=101, n_embd=33, n_head=3, n_layer=3, n_positions=71, n_inner=None,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=1, eos_token_id=1, attn_implementation="eager",
    )  # fmt: skip
    torch.manual_seed(0)
    theirs = transformers.GPT2LMHeadModel(config).train()
    ours = ours_of(theirs, tmp_path / "model").train()
    objective = pretraining(CausalLanguageModelling())
    batch = whole_batch(objective)
    assert (batch.inputs.input_ids == batch.original_ids).all()
    assert batch.num_targets == (sum(LENGTHS) - len(LENGTHS),)
    loss = objective.compute_loss(ours, batch)[0] / batch.num_targets[0]
    loss.backward()
    rectangle = padded(batch.inputs)
    labels = rectangle.input_ids.masked_fill(rectangle.attention_mask == 0, -100)
    expected = theirs(input_ids=rectangle.input_ids, attention_mask=rectangle.attention_mask, labels=labels).loss
    expected.backward()
    torch.testing.assert_close(loss.detach(), expected.detach(), **TOLERANCE)
    torch.testing.assert_close(
        ours.encoder.embeddings.word.weight.grad, theirs.transformer.wte.weight.grad, **TOLERANCE
    )


def electra(folder: Any) -> tuple[GeneratorAndDiscriminator, Any, Any]:
    """Both models, and transformers' own with the same weights."""
    off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    small = {"hidden_size": 12, "intermediate_size": 29, "num_hidden_layers": 2, "num_attention_heads": 2}
    their_generator = hf_model("ElectraForMaskedLM", seed=1, **small, **off)
    their_discriminator = hf_model("ElectraForPreTraining", seed=2, **off)
    their_generator.electra.embeddings = their_discriminator.electra.embeddings
    their_generator.generator_lm_head.weight = their_discriminator.electra.embeddings.word_embeddings.weight
    generator, discriminator = (
        ours_of(model, folder / name)
        for name, model in (("generator", their_generator), ("discriminator", their_discriminator))
    )
    return GeneratorAndDiscriminator(generator, discriminator).train(), their_generator, their_discriminator


def test_rtd_is_electra(tmp_path):
    ours, their_generator, their_discriminator = electra(tmp_path)
    objective = pretraining(
        ReplacedTokenDetection(replace(MASKING, mask_token_rate=1.0, random_token_rate=0.0), VOCABULARY)
    )
    assert objective.loss_terms == ("generator", "discriminator")
    batch = whole_batch(objective)
    assert batch.num_targets == (len(batch.labels), sum(LENGTHS))
    losses = objective.compute_loss(ours, batch) / torch.tensor(batch.num_targets)
    losses.sum().backward()

    rectangle = padded(batch.inputs)
    generated = their_generator.train()(**hf_inputs(rectangle), labels=as_labels(batch))
    is_real = rectangle.attention_mask.bool()
    logits = generated.logits[is_real][batch.positions].detach()
    corrupted = batch.original_ids.clone()
    for row, (position, draw) in enumerate(zip(batch.positions.tolist(), batch.draws.tolist(), strict=True)):
        cumulative = torch.softmax(logits[row], -1).cumsum(-1, dtype=torch.float64)
        corrupted[position] = int((cumulative <= draw * cumulative[-1]).sum())
    is_replaced = corrupted != batch.original_ids
    assert 0 < is_replaced.sum() <= len(batch.labels)  # a guess that is right is no replacement
    inputs = hf_inputs(rectangle) | {"input_ids": pad(corrupted, batch.inputs.cu_seqlens)}
    discriminated = their_discriminator.train()(**inputs, labels=pad(is_replaced.long(), batch.inputs.cu_seqlens))
    expected = generated.loss + 50 * discriminated.loss
    expected.backward()
    torch.testing.assert_close(losses[0].detach(), generated.loss.detach(), **TOLERANCE)
    torch.testing.assert_close(losses[1].detach(), 50 * discriminated.loss.detach(), **TOLERANCE)
    wide = {"rtol": 1e-4, "atol": 1e-4}  # fifty times the discriminator's
    theirs = dict(their_discriminator.named_parameters())
    for name, parameter in named_parameters(ours.discriminator):
        torch.testing.assert_close(
            parameter.grad, theirs[name].grad, **wide, msg=lambda text, name=name: f"{name}: {text}"
        )
    assert ours.generator.encoder.embeddings is ours.discriminator.encoder.embeddings
    torch.testing.assert_close(
        ours.generator.masked_lm.dense.weight.grad, their_generator.generator_predictions.dense.weight.grad, **TOLERANCE
    )


def test_the_discriminators_gradient_does_not_reach_the_generator(tmp_path):
    ours, _, _ = electra(tmp_path)
    objective = pretraining(ReplacedTokenDetection(MASKING, VOCABULARY))
    objective.compute_loss(ours, whole_batch(objective))[1].backward()
    assert not ours.generator.masked_lm.dense.weight.grad.any()
    assert ours.encoder.embeddings.word.weight.grad.any()


def test_generator_and_discriminator_must_share_their_embeddings(tmp_path):
    ours, _, _ = electra(tmp_path)
    other = ours_of(hf_model("ElectraForMaskedLM", embedding_size=11), tmp_path / "other")
    with pytest.raises(ValueError, match="share their embeddings"):
        GeneratorAndDiscriminator(other, ours.discriminator)


def test_tokens_are_sampled_from_the_distribution_itself():
    logits = torch.tensor([[0.0, 1.0, -1.0, 2.0]]).expand(40_000, 4)
    draws = torch.rand(40_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    counts = sample_tokens(logits, draws).bincount(minlength=4)
    expected = logits[0].softmax(-1) * 40_000
    assert ((counts - expected) ** 2 / expected).sum() < 16.3  # chi-square, 3 degrees: p = 0.001
    ends = torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)
    assert sample_tokens(torch.tensor([[-1e9, 0.0, -1e9]] * 2), ends).tolist() == [1, 1]


def test_a_sequence_is_the_same_alone_and_in_any_batch(tmp_path):
    objective = pretraining(MaskedLanguageModelling(MASKING, VOCABULARY), NextSentencePrediction())
    together = whole_batch(objective)
    bounds = together.inputs.cu_seqlens.tolist()
    for index in range(len(LENGTHS)):
        alone = objective.collate([index], epoch=1)
        part = slice(bounds[index], bounds[index + 1])
        assert alone.inputs.input_ids.tolist() == together.inputs.input_ids[part].tolist()
        assert alone.inputs.dropout_seeds[0] == together.inputs.dropout_seeds[index]
        inside = (together.positions >= part.start) & (together.positions < part.stop)
        assert alone.draws.tolist() == together.draws[inside].tolist()
    assert whole_batch(objective).inputs.input_ids.tolist() == together.inputs.input_ids.tolist()
    other = Pretraining(objective.tokens, objective.pairs, objective.train, DEV, seed=4)
    assert whole_batch(other).inputs.input_ids.tolist() != together.inputs.input_ids.tolist()


def test_epochs_see_other_masks_unless_they_are_static():
    def positions(epoch: int, **settings: Any) -> list[int]:
        objective = pretraining(MaskedLanguageModelling(Masking(**settings), VOCABULARY))
        return objective.collate([3], epoch=epoch).positions.tolist()

    assert positions(0) != positions(2)
    assert positions(0, static_copies=2) == positions(2, static_copies=2) != positions(1, static_copies=2)


def test_a_pack_is_its_sequences():
    packs = [np.array([3, 0]), np.array([1, 2, 4, 5, 6])]
    objective = pretraining(MaskedLanguageModelling(MASKING, VOCABULARY), packs=packs)
    assert objective.num_samples == 2
    unpacked = pretraining(MaskedLanguageModelling(MASKING, VOCABULARY))
    assert (
        objective.collate([1, 0], epoch=5).inputs.input_ids.tolist()
        == unpacked.collate([1, 2, 4, 5, 6, 3, 0], epoch=5).inputs.input_ids.tolist()
    )


def test_evaluation_masks_are_fixed_and_scores_are_means_over_targets(tmp_path):
    ours = ours_of(hf_model("BertForPreTraining"), tmp_path / "model")
    objective = pretraining(MaskedLanguageModelling(MASKING, VOCABULARY), NextSentencePrediction())
    with torch.inference_mode():
        scores = objective.evaluate(ours)
        assert objective.evaluate(ours) == scores
        parts = [objective.make_batch(DEV, np.array([index]), epoch=2**32)[0] for index in range(len(DEV))]
        outputs = [ours(part.inputs, part.positions) for part in parts]
    logits = torch.cat([output.prediction_logits for output in outputs])
    pair_logits = torch.cat([output.seq_relationship_logits for output in outputs])
    labels, pair_labels = (torch.cat([getattr(part, name) for part in parts]) for name in ("labels", "pair_labels"))
    mlm_loss, nsp_loss = F.cross_entropy(logits, labels).item(), F.cross_entropy(pair_logits, pair_labels).item()
    assert scores == pytest.approx(
        {
            "loss": mlm_loss + nsp_loss,
            "mlm_loss": mlm_loss,
            "perplexity": np.exp(mlm_loss),
            "masked_accuracy": (logits.argmax(-1) == labels).float().mean().item(),
            "nsp_loss": nsp_loss,
            "nsp_accuracy": (pair_logits.argmax(-1) == pair_labels).float().mean().item(),
        },
        rel=1e-5,
    )


def test_rtd_scores_are_those_of_a_detector():
    sums = {
        "generator_loss": 8.0, "generator_correct": 1, "generator_targets": 4, "discriminator_loss": 5.0,
        "tokens": 20, "replaced": 5, "flagged": 4, "rightly_flagged": 3, "right": 17,
    }  # fmt: skip
    scores = ReplacedTokenDetection(MASKING, VOCABULARY).summarise(sums)
    assert scores["loss"] == 2.0 + 50 * 0.25
    assert (scores["rtd_accuracy"], scores["rtd_precision"], scores["rtd_recall"]) == (0.85, 0.75, 0.6)
    assert scores["masked_accuracy"] == 0.25


def test_rtd_is_measured_as_it_is_trained(tmp_path):
    ours, _, _ = electra(tmp_path)
    objective = pretraining(ReplacedTokenDetection(MASKING, VOCABULARY))
    batch = objective.make_batch(DEV, np.arange(3), epoch=2**32)[0]
    losses = objective.compute_loss(ours.eval(), batch) / torch.tensor(batch.num_targets)
    with torch.inference_mode():
        assert objective.evaluate(ours)["loss"] == pytest.approx(losses.sum().item(), rel=1e-5)


def test_what_does_not_go_together_is_refused():
    with pytest.raises(SettingsError, match="nsp goes with mlm, not with clm"):
        pretraining(CausalLanguageModelling(), NextSentencePrediction())
    with pytest.raises(CheckpointError, match=r"the tokenizer has no \[MASK\] token, which the objective rtd hides"):
        ReplacedTokenDetection(MASKING, replace(VOCABULARY, mask_token_id=None))
