"""Exported graphs on ONNX Runtime: padded batches that change nothing, and folders that are none.

Run: pytest tests/test_runtimes_onnx.py
"""

from __future__ import annotations

import itertools
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from exported import ARCHITECTURES, OF_SEQUENCES, expected_rows, save_export
from tiny import VOCABULARY
from unmask.errors import CheckpointError
from unmask.models.registry import FAMILIES
from unmask.ragged import Ragged, offsets_of
from unmask.runtimes import onnx
from unmask.runtimes.onnx import OnnxRuntime

if TYPE_CHECKING:
    from pathlib import Path

LENGTHS = [5, 1, 13, 2, 37, 7, 39, 3, 13, 1]
CASES = [(name, head) for name, family in FAMILIES.items() for head in family.heads]


def sequences(lengths: list[int] = LENGTHS, *, seed: int = 0) -> tuple[Ragged, Ragged]:
    """Random tokens, none of them padding's, of random types."""
    rng, offsets = np.random.default_rng(seed), offsets_of(lengths)
    ids, types = (rng.integers(low, high, offsets[-1]) for low, high in ((1, len(VOCABULARY)), (0, 2)))
    return Ragged(ids, offsets), Ragged(types, offsets)


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_export(tmp_path_factory.mktemp("exported") / "tagger", "token-classification", num_outputs=5)


# Answers


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("head", ARCHITECTURES)
def test_answers_are_those_of_each_sequence_alone_whatever_it_is_batched_with(
    head: str, threads: int, tmp_path: Path
) -> None:
    runtime = OnnxRuntime(save_export(tmp_path / "model", head, num_outputs=5), intra_op_threads=threads)
    assert (runtime.head, runtime.max_seq_length) == (head, 40)
    ids, types = sequences()
    expected = expected_rows(head, ids, types, 5)
    for outputs in (
        runtime.run(ids, types),
        *(runtime.run_all(ids, types, tokens_at_once=tokens) for tokens in (1, 20, 10**6)),
    ):
        assert outputs.values.dtype == np.float32
        assert len(outputs) == len(expected)
        for one, other in zip(outputs, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    if head in OF_SEQUENCES:
        return
    rows = Ragged.of([[] if n % 4 == 3 else range(0, length, 3) for n, length in enumerate(LENGTHS)], np.int64)
    for asked in (runtime.run(ids, types, rows), runtime.run_all(ids, types, rows, tokens_at_once=20)):
        for own, at, other in zip(asked, rows, expected, strict=True):
            np.testing.assert_allclose(own, other[at], rtol=1e-5, atol=1e-5)


def test_a_family_that_knows_one_text_is_given_no_types(tmp_path: Path) -> None:
    runtime = OnnxRuntime(save_export(tmp_path / "model", "encoder", takes_types=False))
    ids, types = sequences()
    expected = expected_rows("encoder", ids, types, 2, takes_types=False)
    np.testing.assert_allclose(runtime.run(ids, types).values, np.concatenate(expected), rtol=1e-5, atol=1e-5)


def test_threads_may_share_one(tagger: Path) -> None:
    runtime = OnnxRuntime(tagger)
    asked = [sequences([1 + (7 * n + k) % 23 for k in range(9)], seed=n) for n in range(24)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda own: runtime.run_all(*own, tokens_at_once=30), asked))
    for outputs, own in zip(found, asked, strict=True):
        expected = np.concatenate(expected_rows("token-classification", *own, 5))
        np.testing.assert_allclose(outputs.values, expected, rtol=1e-5, atol=1e-5)


def test_a_sequence_without_a_token_is_refused(tagger: Path) -> None:
    with pytest.raises(ValueError, match=r"every sequence needs at least one token, got lengths \[3, 0\]"):
        OnnxRuntime(tagger).run(*sequences([3, 0]))


# Batches


def test_lengths_far_apart_are_not_padded_to_one_another() -> None:
    batches = list(onnx._like_lengths(np.array([3, 100, 3, 101, 4])))
    assert sorted(map(sorted, map(np.ndarray.tolist, batches))) == [[0, 2, 4], [1, 3]]
    assert len(list(onnx._like_lengths(np.array([7, 9, 8])))) == 1  # three tokens of padding cost less than a call
    assert [len(batch) for batch in onnx._like_lengths(np.full(50, 12))] == [50]


def test_no_other_parting_costs_less() -> None:
    """All partings of an order by length are tried."""
    rng = np.random.default_rng(0)
    for _ in range(40):
        lengths = np.sort(rng.integers(1, 60, rng.integers(1, 9)))
        least = min(
            sum(16 + (stop - start) * lengths[stop - 1] for start, stop in itertools.pairwise((0, *cuts, len(lengths))))
            for count in range(len(lengths))
            for cuts in itertools.combinations(range(1, len(lengths)), count)
        )
        batches = list(onnx._like_lengths(lengths))
        assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
        assert sum(16 + len(batch) * lengths[batch].max() for batch in batches) == least


# Folders


@pytest.mark.parametrize(("model_type", "head"), CASES)
def test_a_head_is_known_by_its_class_as_the_registry_names_it(model_type: str, head: str, tmp_path: Path) -> None:
    config = {"architectures": [FAMILIES[model_type].heads[head].architecture]}
    if head == "pre-training":  # two outputs, which no graph gives
        with pytest.raises(CheckpointError, match="which does not tell what the model gives"):
            onnx._head_of(config, tmp_path)
    else:
        assert onnx._head_of(config, tmp_path) == head


def test_a_folder_that_is_no_export(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere: no such folder .*: unmask export RUN --format onnx writes"):
        OnnxRuntime(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"no model\.onnx here: unmask export RUN --format onnx writes a folder"):
        OnnxRuntime(tmp_path)
    save_export(tmp_path / "run" / "onnx", "encoder")
    with pytest.raises(CheckpointError, match=r"/run: no model\.onnx here: give .*/run/onnx$"):
        OnnxRuntime(tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architectures": []}, r"config\.json: architectures is \[\], which does not tell what the model gives"),
        ({"architectures": ["T5ForThings"]}, r"architectures is \['T5ForThings'\], which does not tell"),
        (None, r"config\.json: missing"),
    ],
)
def test_a_config_that_does_not_tell_the_head(change: dict[str, Any] | None, message: str, tmp_path: Path) -> None:
    folder = save_export(tmp_path / "model", "encoder", **(change or {}))
    if change is None:
        (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=message):
        OnnxRuntime(folder)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (None, r"tokenizer_config\.json: it does not say model_max_length"),
        ("{", r"tokenizer_config\.json: it does not say model_max_length"),
        (json.dumps({"model_max_length": None}), "model_max_length is None: it must be a number of tokens"),
        (json.dumps({"model_max_length": 0}), "model_max_length is 0: it must be a number of tokens"),
    ],
)
def test_a_tokenizer_that_does_not_tell_the_length(said: str | None, message: str, tmp_path: Path) -> None:
    folder = save_export(tmp_path / "model", "encoder")
    if said is None:
        (folder / "tokenizer_config.json").unlink()
    else:
        (folder / "tokenizer_config.json").write_text(said)
    with pytest.raises(CheckpointError, match=message):
        OnnxRuntime(folder)


@pytest.mark.parametrize("content", [b"", b"no graph at all", None])
def test_a_damaged_graph_is_one_clear_error(content: bytes | None, tmp_path: Path) -> None:
    path = save_export(tmp_path / "model", "encoder") / "model.onnx"
    path.write_bytes(path.read_bytes()[:-200] if content is None else content)
    with pytest.raises(CheckpointError, match=r"model\.onnx: not a graph that onnxruntime \S+ can run .*: copy or exp"):
        OnnxRuntime(path.parent)


@pytest.mark.parametrize(
    ("names", "head", "message"),
    [
        ({"token_type_ids": "position_ids"}, "encoder", "it takes attention_mask, input_ids, position_ids, and only"),
        ({"input_ids": "tokens"}, "encoder", "it takes attention_mask, token_type_ids, tokens, and only input_ids"),
        ({"last_hidden_state": "logits"}, "encoder", "it gives logits of 3 axes, and not last_hidden_state of 3, as"),
        ({"logits": "scores"}, "masked-lm", "it gives scores of 3 axes, and not logits of 3, as masked-lm does"),
    ],
)
def test_a_graph_of_another_kind(names: dict[str, str], head: str, message: str, tmp_path: Path) -> None:
    folder = save_export(tmp_path / "model", head, graph_names=names)
    with pytest.raises(CheckpointError, match=message):
        OnnxRuntime(folder)


def test_a_graph_that_does_not_fit_its_config(tmp_path: Path) -> None:
    folder = save_export(tmp_path / "model", "token-classification", architectures=["BertForSequenceClassification"])
    with pytest.raises(CheckpointError, match="logits of 3 axes, and not logits of 2, as sequence-classification does"):
        OnnxRuntime(folder)


def test_without_onnxruntime_the_message_names_the_extra(tagger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(CheckpointError, match=r'onnxruntime, .*, is not installed: pip install "unmask\[onnx\]"'):
        OnnxRuntime(tagger)
