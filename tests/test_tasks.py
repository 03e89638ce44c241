"""Tasks of texts and pairs: reading, windows, batches, losses and answers, by hand and against torch and scikit-learn.

Run: pytest tests/test_tasks.py
"""

from __future__ import annotations

import dataclasses
import json
import unicodedata
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tiny import NOUNS, SIZES, VOCABULARY, write_rows
from unmask.errors import DataError, SettingsError
from unmask.models.bert import BertConfig
from unmask.models.registry import build_model
from unmask.packing import pack
from unmask.ragged import Ragged
from unmask.tasks import (
    TASKS,
    Classification,
    Columns,
    FineTuning,
    Labels,
    MultiLabel,
    Reading,
    Regression,
    Samples,
    Tagging,
    Task,
    TaskOptions,
    TextExample,
    evaluate_samples,
    make_batch,
    predict_logits,
)
from unmask.tasks.words import split_words, untagged
from unmask.tokenization import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

LABELS = Labels(values=("0", "1", "2"), names=("bad", "good", "odd"))


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    vocab_file = tmp_path_factory.mktemp("vocab") / "vocab.txt"
    vocab_file.write_text("".join(f"{word}\n" for word in VOCABULARY))
    return Tokenizer.from_vocab(vocab_file)


def example(text: str, label: str | None = "0", *, pair: str | None = None, line: int = 1) -> TextExample:
    return TextExample(text=text, text_pair=pair, label=label, source="texts.tsv", line=line, label_column="label")


def words(tokenizer: Tokenizer, samples: Samples) -> list[str]:
    return [" ".join(tokenizer.id_to_token(i) or "" for i in ids) for ids in samples.input_ids]


def classification(**options: Any) -> Classification:
    return Classification(LABELS, TaskOptions(**options))


def encode(task: Task[Any], tokenizer: Tokenizer, texts: Sequence[str], length: int = 40, **more: Any) -> Samples:
    return task.encode([example(text) for text in texts], tokenizer, max_seq_length=length, **more)


# Which tokens of a long text are read


@pytest.mark.parametrize(
    ("truncate", "kept"),
    [
        ("head", "[CLS] dog cat bird horse child [SEP]"),
        ("tail", "[CLS] boy king queen farmer doctor [SEP]"),
        ("head-tail", "[CLS] dog king queen farmer doctor [SEP]"),  # round(5 * 128 / 510) = 1
    ],
)
def test_a_text_is_cut_at_its_end_its_beginning_or_between(tokenizer: Tokenizer, truncate: Any, kept: str) -> None:
    texts = ["dog cat bird horse child girl boy king queen farmer doctor", "dog cat"]
    samples = encode(classification(truncate=truncate), tokenizer, texts, 7)
    assert words(tokenizer, samples) == [kept, "[CLS] dog cat [SEP]"]
    assert (samples.num_truncated_texts, samples.num_truncated_tokens) == (1, 6)
    assert samples.windows is None


def test_head_and_tail_have_the_paper_s_shares(tokenizer: Tokenizer) -> None:
    """Sun et al. 2019, section 5.3.1: the first 128 and the last 382 of 510 tokens."""
    text = " ".join(["dog"] * 300 + ["cat"] * 500)
    samples = encode(classification(truncate="head-tail"), tokenizer, [text], 512)
    ids = samples.input_ids[0]
    assert (ids == tokenizer.token_to_id("dog")).sum() == 128
    assert (ids == tokenizer.token_to_id("cat")).sum() == 382


def test_each_text_of_a_pair_is_cut_to_the_length_its_head_would_have(tokenizer: Tokenizer) -> None:
    pair = example("dog cat bird", pair="horse child girl boy king queen")
    cut = {
        truncate: classification(truncate=truncate).encode([pair], tokenizer, max_seq_length=9)
        for truncate in ("head", "tail", "head-tail")
    }
    assert [words(tokenizer, samples)[0] for samples in cut.values()] == [
        "[CLS] dog cat bird [SEP] horse child girl [SEP]",
        "[CLS] dog cat bird [SEP] boy king queen [SEP]",
        "[CLS] dog cat bird [SEP] horse king queen [SEP]",
    ]
    for samples in cut.values():
        assert samples.token_type_ids[0].tolist() == [0] * 5 + [1] * 4


def test_windows_are_full_evenly_spread_and_leave_nothing_out(tokenizer: Tokenizer) -> None:
    texts = ["dog cat bird horse child girl boy king queen", "dog cat", "dog cat bird horse child"]
    samples = encode(classification(long_texts="windows", doc_stride=3), tokenizer, texts, 7)
    assert samples.windows.tolist() == [0, 3, 4, 5]
    assert words(tokenizer, samples) == [
        "[CLS] dog cat bird horse child [SEP]",
        "[CLS] bird horse child girl boy [SEP]",
        "[CLS] child girl boy king queen [SEP]",
        "[CLS] dog cat [SEP]",
        "[CLS] dog cat bird horse child [SEP]",
    ]
    assert samples.lengths.tolist() == [21, 4, 7]
    assert samples.num_truncated_tokens == 0
    assert len(samples) == 3


def test_random_texts_are_all_read_and_windows_step_by_the_stride_at_most(tokenizer: Tokenizer) -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        count, room = int(rng.integers(1, 60)), int(rng.integers(1, 20))
        stride = int(rng.integers(1, room + 1)) if rng.random() < 0.7 else None
        # Words of the vocabulary in order, so that a window says where it starts.
        text = " ".join(VOCABULARY[13 : 13 + count])
        samples = encode(classification(long_texts="windows", doc_stride=stride), tokenizer, [text], room + 2)
        bodies = [ids[1:-1] for ids in samples.input_ids]
        starts = [int(body[0]) - 13 for body in bodies]
        assert set(np.concatenate(bodies).tolist()) == set(range(13, 13 + count))
        assert all(len(body) == min(room, count) for body in bodies)
        assert all((np.diff(body) == 1).all() for body in bodies)
        assert all(0 < step <= (stride or max(1, room - room // 8)) for step in np.diff(starts))


def test_windows_and_pairs_contradict_one_another(tokenizer: Tokenizer) -> None:
    task = classification(long_texts="windows", doc_stride=6)
    with pytest.raises(SettingsError, match="long_texts is 'windows', which read a text alone: pairs of texts are cut"):
        task.encode([example("dog", pair="cat")], tokenizer, max_seq_length=9)


def test_a_stride_beyond_a_window_leaves_nothing_out(tokenizer: Tokenizer) -> None:
    text = " ".join(VOCABULARY[13:24])
    far, wide = (encode(classification(long_texts="windows", doc_stride=n), tokenizer, [text], 7) for n in (50, 5))
    assert words(tokenizer, far) == words(tokenizer, wide)
    assert len(far.input_ids) == 3
    with pytest.raises(SettingsError, match="max_seq_length is 2: nothing of a text fits beside its special tokens"):
        encode(classification(long_texts="windows"), tokenizer, [text], 2)


def test_rows_without_a_text_are_left_out_where_one_may(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_rows(
        tmp_path / "t.tsv", [("dog", "a"), ("  ", "b"), ("", "a"), ("cat", "b")], header=("text", "label")
    )
    skipping = Reading(options=TaskOptions(skip_empty=True))
    assert [(each.text, each.line) for each in Classification.read(path, skipping)] == [("dog", 2), ("cat", 5)]
    assert len(Classification.read(path, Reading())) == 4  # encoding them is the error
    assert len(Classification.read(path, skipping, with_labels=False)) == 4  # each line has its answer
    assert caplog.messages == [f"{path}: 2 rows without a text left out"]
    pairs = write_rows(tmp_path / "p.tsv", [("", "dog", "a"), ("", " ", "b")], header=("text", "second", "label"))
    reading = Reading(columns=Columns(text_pair="second"), options=TaskOptions(skip_empty=True))
    assert [each.line for each in Classification.read(pairs, reading)] == [2]


@pytest.mark.parametrize("task", [Classification, MultiLabel, Regression])
def test_a_file_of_empty_texts_is_refused(tmp_path: Path, task: Any) -> None:
    path = write_rows(tmp_path / "t.tsv", [(" ", "1"), ("", "2")], header=("text", "label"))
    with pytest.raises(DataError, match=r"t\.tsv: every text is empty: is this the column of the texts\?"):
        task.read(path, Reading(options=TaskOptions(skip_empty=True)))


@pytest.mark.parametrize("long_texts", ["cut", "windows"])
def test_a_text_of_which_nothing_is_left_is_not_called_empty(tokenizer: Tokenizer, long_texts: Any) -> None:
    """Leaving empty rows out would not leave this one out."""
    task = classification(long_texts=long_texts)
    left = r"texts\.tsv, line 1: the tokenizer leaves nothing of the text '\\u200b': write another, or leave"
    with pytest.raises(DataError, match=left):
        encode(task, tokenizer, ["dog", "\u200b"])
    with pytest.raises(DataError, match=r"the text is empty, .*, as training does with --skip-empty"):
        encode(task, tokenizer, ["dog", " \n"])


def test_an_empty_label_is_named_with_its_line_and_column(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "t.tsv", [("dog", "a"), ("cat", "")], header=("text", "class"))
    with pytest.raises(DataError, match=r"t\.tsv, line 3, column 'class': the label is empty"):
        Classification.read(path, Reading())


def test_a_text_alone_among_pairs_is_named(tokenizer: Tokenizer) -> None:
    with pytest.raises(DataError, match=r"texts\.tsv, line 7: some examples are pairs, and this is a text alone"):
        classification().encode([example("a", pair="b"), example("a", line=7)], tokenizer, max_seq_length=9)


# Batches


def ragged_samples(**changes: Any) -> Samples:
    """Three samples of two, one and three windows."""
    ids = Ragged.of([[2, 11, 3], [2, 12, 13, 3], [2, 3], [2, 14, 3], [2, 15, 16, 17, 3], [2, 18, 3]], np.int64)
    parts = {
        "input_ids": ids,
        "token_type_ids": Ragged(np.zeros_like(ids.values), ids.offsets),
        "windows": np.array([0, 2, 3, 6]),
        "rows": Ragged.of([[1], [1, 2], [], [1], [1, 3], [1]], np.int64),
        "targets": Ragged.of([[5, -100, 6], [], [7, 8, -100, 9]], np.int64),
    }
    return Samples(**parts | changes)


def test_windows_of_a_sample_stay_together_and_rows_become_places_in_the_pack() -> None:
    samples = ragged_samples()
    assert len(samples) == 3
    assert samples.lengths.tolist() == [7, 2, 11]
    batch = make_batch(samples, np.array([2, 0]))
    assert batch.inputs.input_ids.tolist() == [2, 14, 3, 2, 15, 16, 17, 3, 2, 18, 3, 2, 11, 3, 2, 12, 13, 3]
    assert batch.inputs.cu_seqlens.tolist() == [0, 3, 8, 11, 14, 18]
    assert batch.windows.tolist() == [0, 3, 5]
    assert batch.rows.tolist() == [1, 4, 6, 9, 12, 15, 16]
    assert batch.inputs.input_ids[batch.rows].tolist() == [14, 15, 17, 18, 11, 12, 13]
    assert batch.row_offsets.tolist() == [0, 1, 3, 4, 5, 7]
    assert batch.targets.tolist() == [7, 8, -100, 9, 5, -100, 6]
    assert batch.num_targets == (5,)
    assert batch.num_tokens == 18


def test_a_batch_looks_at_its_own_samples_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each batch would cost what the whole data set does."""

    class Large(Ragged):
        @property
        def lengths(self) -> Any:
            raise AssertionError("a batch looks at the whole data set")

    samples = ragged_samples()
    whole = make_batch(samples, np.array([2, 0]))
    large = {name: Large(part.values, part.offsets) for name, part in vars(samples).items() if isinstance(part, Ragged)}
    monkeypatch.setattr(Samples, "num_windows", property(lambda _: pytest.fail("a batch looks at the whole data set")))
    batch = make_batch(dataclasses.replace(samples, **large), np.array([2, 0]))
    assert torch.equal(batch.inputs.input_ids, whole.inputs.input_ids)
    assert torch.equal(batch.rows, whole.rows)


def test_a_moved_batch_has_the_same_parts() -> None:
    batch = make_batch(ragged_samples(), np.arange(3))
    moved = batch.to(torch.device("cpu"))
    for field in dataclasses.fields(batch):
        before, after = getattr(batch, field.name), getattr(moved, field.name)
        if isinstance(before, torch.Tensor):
            assert torch.equal(before, after)
    assert moved.num_targets == batch.num_targets
    away = batch.to(torch.device("meta"))
    assert {away.inputs.input_ids.device.type, away.rows.device.type, away.targets.device.type} == {"meta"}


def test_the_first_window_keeps_its_sample_s_dropout_seed_and_the_others_have_their_own() -> None:
    seeds = np.array([3, 5, 2**63 - 1])
    together = make_batch(ragged_samples(), np.arange(3), dropout_seeds=seeds).inputs.dropout_seeds
    apart = [
        make_batch(ragged_samples(), np.array([i]), dropout_seeds=seeds[i : i + 1]).inputs.dropout_seeds
        for i in range(3)
    ]
    assert torch.equal(together, torch.cat(apart))
    assert together[[0, 2, 3]].tolist() == seeds.tolist()
    assert len(set(together.tolist())) == 6
    assert (together >= 0).all()


def test_float_targets_are_counted_one_by_one() -> None:
    targets = Ragged.of_rows(np.zeros((3, 4), np.float32))
    assert make_batch(ragged_samples(targets=targets), np.array([0, 2])).num_targets == (8,)
    assert make_batch(ragged_samples(targets=None), np.array([0])).num_targets == (0,)


# Logits


class Echo(torch.nn.Module):
    """A model of tokens: its logits are the token's id, and less than nothing by as much."""

    head = "token-classification"

    def __init__(self) -> None:
        super().__init__()
        self.sign = torch.nn.Parameter(torch.tensor([1.0, -1.0]))

    def forward(self, batch: Any, rows: Tensor | None = None) -> Any:
        ids = batch.input_ids if rows is None else batch.input_ids[rows]
        return dataclasses.make_dataclass("Output", ["logits"])(ids[:, None] * self.sign)


class EchoOfSequences(Echo):
    """A model of whole sequences: its logits are those of the first word."""

    head = "sequence-classification"

    def forward(self, batch: Any) -> Any:
        return super().forward(batch, batch.first_rows + 1)


class Tagger(Classification):
    """As many logits as rows: what tagging is."""

    def num_logits(self, samples: Samples) -> Any:
        return Task.num_logits(self, samples)

    def gather(self, outputs: Ragged, samples: Samples) -> Ragged:
        return Task.gather(self, outputs, samples)


def test_logits_come_back_in_order_however_many_each_sample_has() -> None:
    samples = ragged_samples()
    logits = predict_logits(Echo(), Tagger(LABELS), samples)
    assert [rows[:, 0].tolist() for rows in logits] == [[11, 12, 13], [], [14, 15, 17, 18]]
    whole = predict_logits(EchoOfSequences(), Tagger(LABELS), dataclasses.replace(samples, rows=None))
    assert [rows[:, 0].tolist() for rows in whole] == [[11, 12], [3], [14, 15, 18]]


def test_a_model_in_training_is_asked_without_dropout_and_goes_on_training(tokenizer: Tokenizer) -> None:
    task = classification()
    model = build_model(BertConfig(**SIZES, id2label=dict(enumerate("abc"))), task.head, seed=1).train()
    samples = encode(task, tokenizer, ["dog cat", "bird"])
    first, second = (predict_logits(model, task, samples).values for _ in range(2))
    assert model.training
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("pooling", "expected"), [("mean", [[11.5, -11.5], [47 / 3, -47 / 3]]), ("max", [[12, -11], [18, -14]])]
)
def test_the_logits_of_windows_are_pooled(pooling: Any, expected: list[list[float]]) -> None:
    task = classification(long_texts="windows", window_pooling=pooling)
    samples = ragged_samples(rows=None, windows=np.array([0, 2, 3, 6]))
    logits = predict_logits(EchoOfSequences(), task, samples)
    assert logits.lengths.tolist() == [1, 1, 1]
    np.testing.assert_allclose(logits.values[[0, 2]], expected, rtol=1e-6)
    assert logits.values[1].tolist() == [3, -3]


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_pooled_texts_train_as_one_by_one(tokenizer: Tokenizer, pooling: Any) -> None:
    """The loss and gradients of a batch with windows are those of texts taken alone, and pooled by hand."""
    task = classification(long_texts="windows", window_pooling=pooling)
    model = build_model(BertConfig(**SIZES, id2label=dict(enumerate("abc"))), task.head, seed=1).train()
    texts = ["dog cat bird horse child girl boy king queen", "dog cat", "boy girl run sing jump eat laugh cry"]
    samples = encode(task, tokenizer, texts, 7)
    objective = FineTuning(task, samples, samples, seed=5)
    loss = objective.compute_loss(model, objective.collate([0, 1, 2], epoch=1))
    loss.backward()
    gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    total = torch.zeros(())
    for index in range(3):
        batch = objective.collate([index], epoch=1)
        logits = model(batch.inputs).logits
        pooled = logits.mean(0) if pooling == "mean" else logits.max(0).values
        total = total + F.cross_entropy(pooled[None], batch.targets, reduction="sum")
    total.backward()
    torch.testing.assert_close(loss[0], total, rtol=1e-5, atol=1e-5)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-4, atol=1e-5)


def sentence(text: str) -> Any:
    tags = tuple(("N", "V", "P")[len(word) % 3] for word in text.split())
    words_ = split_words(text)
    return dataclasses.replace(untagged(text, words_, by_character=False, source="tags.tsv", line=1), tags=tags)


@pytest.mark.parametrize("kind", ["mean", "max", "tagging"])
def test_windows_are_computed_some_at_a_time_and_learn_the_same(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    """Texts of many windows, with dropout and without: the parts are small, the numbers the same."""
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(NOUNS, count)) for count in (200, 3, 61)]
    task: Task[Any]
    if kind == "tagging":
        options = TaskOptions(doc_stride=2, labels=("N", "V", "P"), text_unit="word")
        task, examples = Tagging.for_model(dict(enumerate("NVP")), options), list(map(sentence, texts))
    else:
        task = classification(long_texts="windows", doc_stride=3, window_pooling=kind)
        examples = [example(text, str(n)) for n, text in enumerate(texts)]
    model = build_model(BertConfig(**SIZES, id2label=dict(enumerate("abc"))), task.head, seed=1)
    samples = task.encode(examples, tokenizer, max_seq_length=9)
    objective = FineTuning(task, samples, samples, dev_examples=examples, seed=5)
    seen: list[int] = []
    model.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].total_tokens))
    results = []
    for limit in (10**6, 60):
        monkeypatch.setattr("unmask.tasks.finetuning._WINDOW_TOKENS_AT_ONCE", limit)
        model.train()
        model.zero_grad()
        seen.clear()
        loss = objective.compute_loss(model, objective.collate([2, 0, 1], epoch=0)).sum()
        loss.backward()
        gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
        most, calls = max(seen), len(seen)
        model.eval()
        with torch.no_grad():
            logits = task.compute_logits(model, make_batch(samples, np.arange(3)))
        results.append((loss.detach(), gradients, logits, most, calls))
    (loss, gradients, logits, most, calls), (parted, parted_gradients, parted_logits, fewest, parted_calls) = results
    torch.testing.assert_close(parted, loss, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(parted_logits, logits, rtol=1e-4, atol=1e-5)
    asked = predict_logits(model, task, samples)  # by the runtime, whose passes mix windows of all texts
    np.testing.assert_allclose(asked.values, logits, rtol=1e-4, atol=1e-5)
    for name, gradient in gradients.items():
        torch.testing.assert_close(parted_gradients[name], gradient, rtol=1e-4, atol=1e-5)
    assert most == samples.lengths.sum() > 500
    assert fewest < 60 + 9
    assert calls == 1
    assert parted_calls > 2 * (most // 69)  # training computes each part twice


def test_the_loss_of_an_evaluation_is_a_mean_over_targets(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = classification()
    model = build_model(BertConfig(**SIZES, id2label=dict(enumerate("abc"))), task.head, seed=1)
    examples = [example("dog " * n, str(n % 3), line=n) for n in range(1, 8)]
    samples = task.encode(examples, tokenizer, max_seq_length=40)
    logits, scores = evaluate_samples(model, task, examples, samples)
    with torch.no_grad():
        alone = torch.cat([model.eval()(pack([ids])).logits for ids in samples.input_ids])
    np.testing.assert_allclose(logits.values, alone, rtol=1e-4, atol=1e-5)
    expected = F.cross_entropy(alone, torch.arange(1, 8) % 3).item()
    assert scores["loss"] == pytest.approx(expected, rel=1e-5)
    monkeypatch.setattr("unmask.tasks.finetuning._TOKENS_SCORED_AT_ONCE", 9)
    assert evaluate_samples(model, task, examples, samples)[1]["loss"] == pytest.approx(expected, rel=1e-5)


def test_probabilities_are_those_of_torch(tokenizer: Tokenizer) -> None:
    """They are decoded without it, as exported models are; also where an exponential would overflow."""
    rng = np.random.default_rng(0)
    logits = np.concatenate([rng.normal(size=(40, 3)) * scale for scale in (0.1, 3, 30, 900)]).astype(np.float32)
    examples = [example("dog") for _ in logits]
    labels = Labels(values=("a", "b", "c"), names=("a", "b", "c"))
    label_sets = MultiLabel(labels, TaskOptions())
    tagger = Tagging.for_model(dict(enumerate("NVP")), TaskOptions(text_unit="word"))
    sentences = [sentence("dog") for _ in logits]
    for answers, expected in (
        (classification(temperature=1.7).predict(examples, ragged_samples(), Ragged.of_rows(logits)), "softmax"),
        (label_sets.predict(examples, ragged_samples(), Ragged.of_rows(logits)), "sigmoid"),
    ):
        found = [list(answer.probabilities.values()) for answer in answers]
        wanted = F.softmax(torch.tensor(logits) / 1.7, 1) if expected == "softmax" else torch.tensor(logits).sigmoid()
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)
    samples = tagger.encode(sentences, tokenizer, max_seq_length=9)
    tagged = tagger.predict(sentences, samples, Ragged.of_rows(logits))
    surest = F.softmax(torch.tensor(logits), 1).max(1).values
    np.testing.assert_allclose([answer.scores[0] for answer in tagged], surest, rtol=0, atol=1e-6)


# Classification


def batch_with(targets: Any) -> Any:
    return dataclasses.make_dataclass("Batch", ["targets"])(torch.as_tensor(targets))


def test_balanced_weights_are_scikit_learn_s_and_the_loss_is_weighted_text_by_text() -> None:
    from sklearn.utils.class_weight import compute_class_weight

    labels = ["a"] * 6 + ["b"] * 2 + ["c"]
    task = Classification.for_training(
        [example("x", label) for label in labels], TaskOptions(class_weights=("balanced",))
    )
    expected = compute_class_weight("balanced", classes=np.array(["a", "b", "c"]), y=labels)
    assert list(map(float, task.options.class_weights)) == pytest.approx(expected)
    logits = torch.randn(9, 3, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([0] * 6 + [1] * 2 + [2])
    by_hand = sum(
        expected[t] * F.cross_entropy(row[None], t[None]).item() for row, t in zip(logits, targets, strict=True)
    )
    assert task.compute_loss(logits, batch_with(targets)).item() == pytest.approx(by_hand, rel=1e-6)
    again = Classification.for_model(task.id2label, TaskOptions.of(task.memory))
    assert again.compute_loss(logits, batch_with(targets)).item() == pytest.approx(by_hand, rel=1e-6)


@pytest.mark.parametrize(
    ("given", "weights"),
    [(("1", "2.5", "0"), [1, 2.5, 0]), (("odd=3",), [1, 1, 3]), (("0=2", "odd=0.5"), [2, 1, 0.5])],
)
def test_weights_are_given_in_order_or_by_name_or_value(given: tuple[str, ...], weights: list[float]) -> None:
    task = classification(class_weights=given)
    logits = torch.zeros(3, 3)
    losses = [task.compute_loss(logits[:1], batch_with([i])).item() / np.log(3) for i in range(3)]
    assert losses == pytest.approx(weights, rel=1e-6)


@pytest.mark.parametrize(
    "given",
    [
        ("1", "2"),
        ("1", "x", "2"),
        ("good=1", "2", "3"),
        ("better=2",),
        ("1", "nan", "1"),
        ("0", "0", "0"),
        ("1", "-1", "1"),
    ],
)
def test_weights_that_fit_no_labels_are_refused(given: tuple[str, ...]) -> None:
    with pytest.raises(SettingsError, match="class_weights is "):
        classification(class_weights=given)


def test_balance_needs_a_text_of_each_label() -> None:
    options = TaskOptions(labels=("a", "b", "c"), class_weights=("balanced",))
    with pytest.raises(SettingsError, match="class_weights is balanced, and no training text has the label 'c'"):
        Classification.for_training([example("x", "a"), example("x", "b")], options)


def test_smoothing_shares_the_target_out() -> None:
    task = classification(label_smoothing=0.3)
    logits = torch.tensor([[1.0, -1.0, 0.5]])
    targets = torch.tensor([[0.8, 0.1, 0.1]])
    expected = -(targets * logits.log_softmax(1)).sum().item()
    assert task.compute_loss(logits, batch_with([0])).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    "options", [{}, {"label_smoothing": 0.2}, {"class_weights": ("1", "3", "0.5"), "label_smoothing": 0.1}]
)
def test_no_constant_answer_loses_less_than_the_no_skill_loss(options: dict[str, Any]) -> None:
    task = classification(**options)
    targets = torch.tensor([0] * 5 + [1] * 3 + [2] * 2)
    samples = ragged_samples(targets=Ragged.of_rows(targets.numpy()))
    described = task.describe_targets(samples)
    assert described["labels"] == {"bad": 5, "good": 3, "odd": 2}
    shares = np.array([0.5, 0.3, 0.2])
    lowest = described.get("no_skill_loss", -(shares * np.log(shares)).sum())
    constant = torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.LBFGS([constant], max_iter=100)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = task.compute_loss(constant.expand(10, 3), batch_with(targets)) / 10
        loss.backward()
        return loss

    optimizer.step(closure)
    assert closure().item() == pytest.approx(lowest, abs=1e-5)


def test_labels_that_differ_in_case_only_are_named_with_their_line_unless_both_are_given() -> None:
    examples = [example("x", "Pos"), example("x", "neg"), example("x", "pos", line=9)]
    with pytest.raises(
        DataError, match=r"texts\.tsv, line 9, column 'label': the labels 'Pos' and 'pos' differ in case only"
    ):
        Classification.for_training(examples, TaskOptions())
    task = Classification.for_training(examples, TaskOptions(labels=("Pos", "pos", "neg")))
    assert task.id2label == {0: "Pos", 1: "pos", 2: "neg"}


def test_labels_that_differ_in_unicode_form_only() -> None:
    """The two look the same: without a word there would be three classes of two."""
    nfc, nfd = "긍정", unicodedata.normalize("NFD", "긍정")
    examples = [example("x", nfc), example("x", "부정"), example("x", nfd, line=9)]
    with pytest.raises(
        DataError, match=r"line 9, column 'label': the labels '긍정' and '.*' differ in Unicode form only: bring both"
    ):
        Classification.for_training(examples, TaskOptions())
    with pytest.raises(
        DataError, match=r"\(긍정, 부정\): '긍정' is alike after Unicode normalization: bring both to NFC"
    ):
        Classification.for_training(examples, TaskOptions(labels=(nfc, "부정")))
    assert len(Classification.for_training(examples, TaskOptions(labels=(nfc, "부정", nfd))).id2label) == 3
    accented = [example("x", "É"), example("x", "no"), example("x", unicodedata.normalize("NFD", "é"), line=5)]
    with pytest.raises(DataError, match=r"line 5, column 'label': .* differ in case only: write them alike"):
        Classification.for_training(accented, TaskOptions())


# Regression


def scores_file(path: Path, scores: Sequence[str]) -> Path:
    return write_rows(path, [("dog", score) for score in scores], header=("sentence", "score"))


def test_scores_are_read_and_lose_their_squared_error(tmp_path: Path, tokenizer: Tokenizer) -> None:
    examples = Regression.read(scores_file(tmp_path / "s.tsv", ["1.5", " -2 ", "0.25"]), Reading())
    task = Regression.for_training(examples, TaskOptions())
    samples = task.encode(examples, tokenizer, max_seq_length=9)
    batch = make_batch(samples, np.arange(3))
    assert batch.targets.tolist() == [1.5, -2, 0.25]
    assert batch.targets.dtype == torch.float32
    logits = torch.tensor([[1.0], [0.0], [0.5]])
    assert task.compute_loss(logits, batch).item() == 0.25 + 4 + 0.0625
    described = task.describe_targets(samples)
    assert described["no_skill_loss"] == pytest.approx(np.var([1.5, -2, 0.25]))
    answers = task.predict(examples, samples, Ragged.of_rows(logits.numpy()))
    assert [answer.score for answer in answers] == [1.0, 0.0, 0.5]
    assert task.judge(examples[1], answers[1]) == {"text": "dog", "text_pair": None, "score": -2.0, "predicted": 0.0}


def test_correlations_are_scipy_s_and_a_broken_model_has_none(tokenizer: Tokenizer) -> None:
    from scipy.stats import pearsonr, spearmanr

    rng = np.random.default_rng(0)
    scores, predicted = rng.normal(size=20), rng.normal(size=(20, 1)).astype(np.float32)
    examples = [example("dog", repr(score)) for score in scores.tolist()]
    task = Regression.for_training(examples, TaskOptions())
    samples = task.encode(examples, tokenizer, max_seq_length=9)
    found = task.score(examples, samples, Ragged.of_rows(predicted))
    assert found["pearson"] == pytest.approx(pearsonr(scores, predicted[:, 0]).statistic, abs=1e-6)
    assert found["spearman"] == pytest.approx(spearmanr(scores, predicted[:, 0]).statistic, abs=1e-6)
    report = task.report(examples, samples, Ragged.of_rows(predicted))
    assert (report["kind"], report["num_examples"]) == ("regression", 20)
    predicted[3] = np.nan
    assert all(np.isnan(score) for score in task.score(examples, samples, Ragged.of_rows(predicted)).values())


@pytest.mark.parametrize(
    ("scores", "options", "message"),
    [
        (["1", "high"], {}, r"s\.tsv, line 3, column 'score': the score 'high' is not a number"),
        (["1", ""], {}, r"s\.tsv, line 3, column 'score': there is no score here"),
        (["1", "inf"], {}, "line 3, column 'score': the score 'inf' is not a finite number"),
        (["1", "1e39"], {}, "line 3, column 'score': the score 1e\\+39 is too large to compute with"),
        (["1", "5.5"], {"score_range": (0.0, 5.0)}, "line 3, column 'score': the score 5.5 lies outside 0 to 5"),
    ],
)
def test_what_is_no_score_is_named_with_its_place(
    tmp_path: Path, scores: list[str], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        Regression.read(scores_file(tmp_path / "s.tsv", scores), Reading(options=TaskOptions(**options)))


def test_one_score_alone_teaches_nothing() -> None:
    with pytest.raises(DataError, match=r"texts\.tsv: every score is 2: nothing is to be learnt"):
        Regression.for_training([example("a", "2"), example("b", "2.0")], TaskOptions())


# Any number of labels


def test_labels_between_separators_lists_and_none(tmp_path: Path, tokenizer: Tokenizer) -> None:
    plain = write_rows(tmp_path / "m.tsv", [("dog", "b, a"), ("cat", ""), ("king", '["b"]')], header=("text", "labels"))
    lists = tmp_path / "m.jsonl"
    lists.write_text(
        "".join(
            json.dumps({"text": t, "labels": v}) + "\n" for t, v in (("dog", ["b", "a"]), ("cat", []), ("king", ["b"]))
        )
    )
    nulls = tmp_path / "n.jsonl"
    nulls.write_text(
        '{"text": "dog", "labels": "b,a"}\n{"text": "cat", "labels": null}\n{"text": "king", "labels": "b"}\n'
    )
    for path in (plain, lists, nulls):
        examples = MultiLabel.read(path, Reading())
        task = MultiLabel.for_training(examples, TaskOptions())
        assert task.id2label == {0: "a", 1: "b"}
        samples = task.encode(examples, tokenizer, max_seq_length=9)
        assert samples.targets.values.tolist() == [[1, 1], [0, 0], [0, 1]]
        assert samples.targets.values.dtype == np.float32
        assert task.describe_targets(samples)["labels"] == {"a": 1, "b": 2}


def test_another_separator_and_names_of_values(tokenizer: Tokenizer) -> None:
    options = TaskOptions(label_separator=" | ", labels=("2=two", "1=one"))
    examples = [example("dog", "1 | 2"), example("cat", "two")]
    task = MultiLabel.for_training(examples, options)
    samples = task.encode(examples, tokenizer, max_seq_length=9)
    assert samples.targets.values.tolist() == [[1, 1], [1, 0]]
    assert task.memory["labels"] == ["2=two", "1=one"]
    again = MultiLabel.for_model(task.id2label, TaskOptions.of(task.memory))
    assert again.targets_of(examples).tolist() == [[1, 1], [1, 0]]


def test_each_label_is_a_question_of_its_own(tokenizer: Tokenizer) -> None:
    examples = [example("dog", "a,b"), example("cat", ""), example("king", "b")]
    task = MultiLabel.for_training(examples, TaskOptions())
    samples = task.encode(examples, tokenizer, max_seq_length=9)
    logits = np.array([[2.0, -1.0], [-3.0, 0.0], [-0.5, 4.0]], np.float32)
    batch = make_batch(samples, np.arange(3))
    sigmoid = 1 / (1 + np.exp(-logits.astype(np.float64)))
    expected = -np.log(np.where(samples.targets.values == 1, sigmoid, 1 - sigmoid)).sum()
    assert task.compute_loss(torch.from_numpy(logits), batch).item() == pytest.approx(expected, rel=1e-6)
    assert batch.num_targets == (6,)
    answers = task.predict(examples, samples, Ragged.of_rows(logits))
    assert [answer.labels for answer in answers] == [("a",), ("b",), ("b",)]
    assert answers[0].probabilities == pytest.approx({"a": sigmoid[0, 0], "b": sigmoid[0, 1]}, rel=1e-5)
    scores = task.score(examples, samples, Ragged.of_rows(logits))
    assert scores["exact_match"] == pytest.approx(1 / 3)
    assert scores["micro_f1"] == pytest.approx(2 / 3)  # 2 right of 3 given and of 3 there are
    line = task.judge(examples[0], answers[0])
    assert (line["labels"], line["predicted"]) == (["a", "b"], ["a"])
    report = task.report(examples, samples, Ragged.of_rows(logits))
    assert report["metrics"] == scores
    assert [label["name"] for label in report["labels"]] == ["a", "b"]


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("a,,b", "line 3, column 'labels': one of the labels 'a,,b' is empty"),
        ('["a"', "line 3, column 'labels': the labels start like a JSON list and are none"),
        ('["a", 1.5]', "line 3, column 'labels': one of the labels"),
    ],
)
def test_labels_that_cannot_be_read_are_named(tmp_path: Path, label: str, message: str) -> None:
    path = write_rows(tmp_path / "m.tsv", [("dog", "a"), ("cat", label)], header=("text", "labels"))
    with pytest.raises(DataError, match=message):
        MultiLabel.read(path, Reading())


def test_texts_without_any_label_teach_nothing() -> None:
    with pytest.raises(
        DataError, match=r"texts\.tsv, column 'label': no text has a label, .*: give texts labels, or name"
    ):
        MultiLabel.for_training([example("a", ""), example("b", "")], TaskOptions())


def test_a_label_never_learnt_is_named_with_its_line(tokenizer: Tokenizer) -> None:
    task = MultiLabel.for_training([example("a", "x"), example("b", "x,y")], TaskOptions())
    with pytest.raises(
        DataError, match=r"texts\.tsv, line 4, column 'label': the label 'z' is not one the model was given"
    ):
        task.encode([example("a", "x,z", line=4)], tokenizer, max_seq_length=9)


# Options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_seq_length": 2}, "max_seq_length is 2: it must be 3 or more"),
        ({"truncate": "middle"}, "truncate is 'middle'"),
        ({"long_texts": "all"}, "long_texts is 'all'"),
        ({"doc_stride": 0}, "doc_stride is 0: it must be 1 or more"),
        ({"window_pooling": "sum"}, "window_pooling is 'sum'"),
        ({"label_smoothing": 1.0}, r"label_smoothing is 1.0: it must be in \[0, 1\)"),
        ({"label_separator": ""}, "label_separator is ''"),
        ({"score_range": (5.0, 0.0)}, r"score_range is \(5.0, 0.0\): it must be two numbers, the smaller first"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        TaskOptions(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"truncate": "tail", "long_texts": "windows"}, "truncate is 'tail', and long texts are read whole: leave it"),
        ({"doc_stride": 9}, "doc_stride is 9, and long texts are cut: leave it out, or set long_texts to windows"),
        ({"window_pooling": "max"}, "window_pooling is 'max', and long texts are cut: leave it out"),
    ],
)
@pytest.mark.parametrize("task", [Classification, MultiLabel, Regression])
def test_options_that_would_do_nothing_are_refused(task: Any, options: dict[str, Any], message: str) -> None:
    given = TaskOptions(**options)
    with pytest.raises(SettingsError, match=message):
        task.for_training([example("x", "1"), example("y", "2")], given)
    assert task.for_model({0: "1", 1: "2"}, given).options == given  # a model that was so trained still loads
    task.for_training([example("x", "1"), example("y", "2")], TaskOptions(truncate="tail"))
    task.for_training([example("x", "1"), example("y", "2")], TaskOptions(long_texts="windows", doc_stride=3))


def test_a_card_asks_for_texts_or_pairs_as_the_model_takes_them() -> None:
    task = Regression(TaskOptions())
    assert task.usage(pairs=False).splitlines() == [
        'from transformers import pipeline  # or: unmask predict FOLDER "a text"',
        "",
        'pipeline("text-classification", model="FOLDER")("a text")',
    ]
    assert task.usage(pairs=True).splitlines() == [
        'from transformers import pipeline  # or: unmask predict FOLDER "a text" --text-pair "another"',
        "",
        'pipeline("text-classification", model="FOLDER")({"text": "a text", "text_pair": "another"})',
    ]
    assert 'model="FOLDER", top_k=None)("a text")' in MultiLabel(LABELS, TaskOptions()).usage(pairs=False)
    for kind in TASKS.values():
        for pairs in (False, True):
            compile(kind.for_model({0: "a", 1: "b"}, TaskOptions()).usage(pairs=pairs), "card", "exec")


def test_a_task_remembers_the_options_it_uses_through_json() -> None:
    names = {option.name for option in dataclasses.fields(TaskOptions)}
    for task in TASKS.values():
        assert set(task.option_names) <= names
        assert task.metric_for_best in task.metrics
    task = Regression(TaskOptions(truncate="tail", score_range=(0, 5), label_smoothing=0.5))
    memory = json.loads(json.dumps(task.memory))
    assert (memory["task"], memory["truncate"], memory["score_range"]) == ("regression", "tail", [0, 5])
    assert "label_smoothing" not in memory
    assert TaskOptions.of(memory) == TaskOptions(truncate="tail", score_range=(0, 5))


def test_columns_are_named_or_usual(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "t.tsv", [("dog", "1"), ("cat", "2")], header=("words", "verdict"))
    with pytest.raises(DataError, match="no column is named sentence or text"):
        Classification.read(path, Reading())
    reading = Reading(columns=Columns(text="words", label="verdict"))
    assert [(e.text, e.label, e.line) for e in Classification.read(path, reading)] == [("dog", "1", 2), ("cat", "2", 3)]
