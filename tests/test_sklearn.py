"""Fine-tuning as scikit-learn knows it. Run: pytest tests/test_sklearn.py.

Of scikit-learn's own checks of estimators those run here that make no data; the others fit on tables of numbers, which
are no texts.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import accuracy_score, log_loss, r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks

from tiny import save_tiny_bert, sentences, unmask, write_rows
from unmask import UnmaskClassifier, UnmaskRegressor, predict
from unmask.errors import CheckpointError, DataError, SettingsError
from unmask.logits import softmax
from unmask.tasks import FineTuning
from unmask.training import DivergedError
from unmask.training.loop import _Run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TEXTS, LABELS = zip(*sentences(60, seed=1), strict=True)
# Whether a sentence is of one or of many is learnt in a few steps.
NUMBERS = ["one" if text[2] in "ia" else "many" for text in TEXTS]
NEW_TEXTS = [text for text, _ in sentences(21, seed=2)]
NEW_NUMBERS = ["one" if text[2] in "ia" else "many" for text in NEW_TEXTS]


@pytest.fixture(scope="module", autouse=True)
def no_report() -> Any:
    """Drawing the plots takes longer than these runs."""
    patch = pytest.MonkeyPatch()
    with patch.context() as patched:
        patched.setattr("unmask.workflows.finetune.write_report", lambda folder: folder / "report.html")
        yield


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_bert(tmp_path_factory.mktemp("place") / "bert")


@pytest.fixture(scope="module")
def make(bert: Path) -> Callable[..., UnmaskClassifier]:
    def make(kind: type = UnmaskClassifier, **changes: Any) -> Any:
        usual = {"model": str(bert), "epochs": 6, "learning_rate": 5e-3, "global_batch_size": 8, "device": "cpu"}
        return kind(**usual | changes)

    return make


@pytest.fixture(scope="module")
def fitted(make: Callable[..., UnmaskClassifier]) -> UnmaskClassifier:
    return make().fit(TEXTS, NUMBERS)


def test_it_learns(fitted: UnmaskClassifier) -> None:
    assert fitted.classes_.tolist() == ["many", "one"]
    assert fitted.predict(NEW_TEXTS).shape == (21,)
    score = fitted.score(NEW_TEXTS, NEW_NUMBERS)
    assert score == accuracy_score(NEW_NUMBERS, fitted.predict(NEW_TEXTS))
    assert score > 0.9
    assert fitted.dev_scores_["accuracy"] > 0.8
    probabilities = fitted.predict_proba(NEW_TEXTS)
    assert (fitted.classes_[probabilities.argmax(1)] == fitted.predict(NEW_TEXTS)).all()
    assert log_loss(NEW_NUMBERS, probabilities, labels=fitted.classes_) < 0.65  # and no warning: they sum to 1
    assert fitted.predict([]).shape == (0,)


def test_a_fit_is_the_run_of_the_command_line(
    bert: Path, tmp_path: Path, make: Callable[..., UnmaskClassifier]
) -> None:
    rows = list(zip(TEXTS, NUMBERS, strict=True))
    for name, part in (("train", rows[:40]), ("dev", rows[40:])):
        write_rows(tmp_path / f"{name}.tsv", part)
    files = ("--train", tmp_path / "train.tsv", "--dev", tmp_path / "dev.tsv", "--output-dir", tmp_path / "cli")
    told = ("--epochs", 6, "--learning-rate", "5e-3", "--global-batch-size", 8, "--device", "cpu")
    assert unmask("finetune", "classification", "--model", bert, *files, *told) == 0
    estimator = make(output_dir=tmp_path / "python").fit(TEXTS[:40], NUMBERS[:40], dev=(TEXTS[40:], NUMBERS[40:]))
    weights = [(tmp_path / run / "model" / "model.safetensors").read_bytes() for run in ("cli", "python")]
    assert weights[0] == weights[1]
    dev = json.loads((tmp_path / "cli" / "evaluation_dev.json").read_text())
    assert json.loads((tmp_path / "python" / "evaluation_dev.json").read_text()) == dev
    assert estimator.dev_scores_ == {"loss": dev["loss"], **dev["metrics"]}
    expected = [list(answer.probabilities.values()) for answer in predict(tmp_path / "cli", NEW_TEXTS)]
    np.testing.assert_allclose(estimator.predict_proba(NEW_TEXTS), expected, atol=1e-6)
    with pytest.raises(DataError, match="the folder holds a run already"):
        make(output_dir=tmp_path / "python").fit(TEXTS, NUMBERS)


def test_the_same_seed_gives_the_same_and_verbose_tells(
    fitted: UnmaskClassifier, make: Callable[..., UnmaskClassifier], capfd: pytest.CaptureFixture[str]
) -> None:
    again = make().fit(list(TEXTS), np.array(NUMBERS))
    assert (again.predict_proba(NEW_TEXTS) == fitted.predict_proba(NEW_TEXTS)).all()
    assert capfd.readouterr() == ("", "")
    other = make(seed=1, epochs=1, verbose=True).fit(TEXTS, NUMBERS)
    assert (other.predict_proba(NEW_TEXTS) != fitted.predict_proba(NEW_TEXTS)).any()
    assert "dev loss" in capfd.readouterr().err


@pytest.mark.parametrize("kind", [int, bool, float, "object", "category"])
def test_labels_keep_their_type(kind: Any, make: Callable[..., UnmaskClassifier], tmp_path: Path) -> None:
    import pandas

    y: Any = [{"one": 10, "many": 9}[label] for label in NUMBERS]
    if kind in (bool, float):
        y = np.array([kind(value == 10) for value in y])
    elif kind == "object":
        y = np.array(NUMBERS, object)
    elif kind == "category":
        y = pandas.Series(NUMBERS).astype("category")
    estimator = make(epochs=1).fit(pandas.Series(TEXTS), y)
    expected = np.unique(np.asarray(y))
    estimator.save(tmp_path / "model")
    for model in (estimator, UnmaskClassifier.load(tmp_path / "model")):
        assert model.classes_.tolist() == expected.tolist()
        assert model.classes_.dtype == model.predict(NEW_TEXTS).dtype == expected.dtype
        assert set(model.predict(NEW_TEXTS)) <= set(expected)
    names = json.loads((tmp_path / "model" / "config.json").read_text())["id2label"]
    assert list(names.values()) == [str(value) for value in expected.tolist()]


def test_pairs_come_in_every_shape(make: Callable[..., UnmaskClassifier], tmp_path: Path) -> None:
    import pandas

    pairs = [(text, TEXTS[0]) for text in TEXTS]
    shapes = (pairs, np.array(pairs), np.array(pairs, object), pandas.DataFrame(pairs))
    given = [make(epochs=1).fit(X, NUMBERS).predict_proba(X[:7]) for X in shapes]
    for other in given[1:]:
        assert (other == given[0]).all()
    estimator = make(epochs=1).fit(pairs, NUMBERS)
    swapped = estimator.predict_proba([(second, first) for first, second in pairs[:7]])
    assert (swapped != given[0]).any()
    estimator.save(tmp_path / "model")
    assert "Gives each text pair one of 2 labels" in (tmp_path / "model" / "README.md").read_text()
    with pytest.raises(DataError, match="X, line 2: some examples are pairs, and this is a text alone"):
        estimator.predict([pairs[0], "a king"])


# scikit-learn's tools.


def test_grid_search_cross_validation_and_pipelines(make: Callable[..., UnmaskClassifier]) -> None:
    lower = FunctionTransformer(lambda X: [text.lower() for text in X])
    pipeline = Pipeline([("lower", lower), ("bert", make(global_batch_size=4))])
    grid = {"bert__learning_rate": [1e-9, 5e-3], "bert__epochs": np.array([8])}
    search = GridSearchCV(pipeline, grid, cv=2).fit(TEXTS, NUMBERS)
    assert search.best_params_ == {"bert__learning_rate": 5e-3, "bert__epochs": 8}
    assert search.cv_results_["mean_test_score"][1] > search.cv_results_["mean_test_score"][0]
    assert search.score([text.upper() for text in NEW_TEXTS], NEW_NUMBERS) > 0.8
    scores = cross_val_score(make(epochs=1), TEXTS, NUMBERS, cv=2, scoring="neg_log_loss")
    assert scores.shape == (2,)
    assert (scores > -1).all()


def test_an_interrupt_ends_a_grid_search_and_not_a_fold(
    make: Callable[..., UnmaskClassifier], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """scikit-learn takes any Exception of a fit for that fold's bad luck."""
    original, steps = _Run.take_step, []

    def take_step(run: _Run) -> None:
        original(run)
        steps.append(run.state.step)
        if len(steps) == 3:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(_Run, "take_step", take_step)
    with pytest.raises(KeyboardInterrupt, match=r"the fit was interrupted: what it had learnt is lost$"):
        GridSearchCV(make(), {"epochs": [1, 2]}, cv=2).fit(TEXTS, NUMBERS)
    assert len(steps) == 3
    steps.clear()
    with pytest.raises(KeyboardInterrupt, match=f"{tmp_path / 'run'} keeps its metrics and a checkpoint"):
        make(output_dir=tmp_path / "run").fit(TEXTS, NUMBERS)
    assert list((tmp_path / "run" / "checkpoints").iterdir())


def test_a_fit_that_fails_leaves_what_was_learnt_before(
    make: Callable[..., UnmaskClassifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    estimator = make(epochs=1).fit(TEXTS, NUMBERS)
    before = estimator.predict(NEW_TEXTS).tolist()
    with monkeypatch.context() as patch:
        patch.setattr(FineTuning, "evaluate", lambda *_: {"loss": math.nan, "mcc": math.nan})
        with pytest.raises(DivergedError):
            estimator.fit(TEXTS, [f"a {label}" for label in NUMBERS])
    assert estimator.classes_.tolist() == ["many", "one"]
    assert estimator.predict(NEW_TEXTS).tolist() == before


def test_clones_know_parameters_and_nothing_learnt(fitted: UnmaskClassifier) -> None:
    other = clone(fitted)
    assert other.get_params() == fitted.get_params()
    assert not hasattr(other, "classes_")
    with pytest.raises(NotFittedError):
        other.predict(["a king"])
    with pytest.raises(NotFittedError):
        other.save("nowhere")
    assert other.set_params(epochs=7, settings={"tune": "lora"}).get_params()["epochs"] == 7
    with pytest.raises(ValueError, match="Invalid parameter 'epoch'"):
        other.set_params(epoch=7)


@pytest.mark.parametrize("kind", [UnmaskClassifier, UnmaskRegressor])
@pytest.mark.parametrize(
    "check",
    [
        "check_estimator_cloneable",
        "check_estimator_repr",
        "check_estimator_tags_renamed",
        "check_get_params_invariance",
        "check_mixin_order",
        "check_no_attributes_set_in_init",
        "check_parameters_default_constructible",
        "check_set_params",
        "check_valid_tag_types",
    ],
)
def test_scikit_learns_checks(kind: Any, check: str) -> None:
    getattr(estimator_checks, check)(kind.__name__, kind())


# Folders.


def test_a_saved_model_is_an_ordinary_folder(fitted: UnmaskClassifier, tmp_path: Path) -> None:
    import transformers

    fitted.save(tmp_path / "model")
    with pytest.raises(DataError, match="exists"):
        fitted.save(tmp_path / "model")
    fitted.save(tmp_path / "model", replace=True)
    assert not any(path.suffix in (".pkl", ".pickle", ".joblib", ".bin") for path in (tmp_path / "model").iterdir())
    assert "texts given in Python" in (tmp_path / "model" / "README.md").read_text()
    loaded = UnmaskClassifier.load(tmp_path / "model")
    expected = fitted.predict_proba(NEW_TEXTS)
    assert (loaded.predict_proba(NEW_TEXTS) == expected).all()
    assert loaded.get_params() == fitted.get_params()
    ours = [list(answer.probabilities.values()) for answer in predict(tmp_path / "model", NEW_TEXTS)]
    np.testing.assert_allclose(ours, expected, atol=1e-6)
    pipeline = transformers.pipeline(
        "text-classification", model=str(tmp_path / "model"), device="cpu", top_k=None, function_to_apply="none"
    )
    theirs = [{entry["label"]: entry["score"] for entry in entries} for entries in pipeline(NEW_TEXTS)]
    logits = np.array([[scores[name] for name in ("many", "one")] for scores in theirs])
    temperature = loaded.trained_.task.temperature
    np.testing.assert_allclose(softmax(logits, temperature=temperature), expected, atol=1e-5)


def test_models_of_the_command_line_load_too(
    bert: Path, tmp_path: Path, fitted: UnmaskClassifier, make: Callable[..., UnmaskClassifier]
) -> None:
    fitted.save(tmp_path / "one-many")
    file = write_rows(tmp_path / "train.tsv", list(zip(TEXTS, LABELS, strict=True)))
    told = ("--train", file, "--dev", file, "--output-dir", tmp_path / "run", "--epochs", 1, "--device", "cpu")
    assert unmask("finetune", "classification", "--model", tmp_path / "one-many", *told) == 0
    loaded = UnmaskClassifier.load(tmp_path / "run")
    assert loaded.classes_.tolist() == ["bad", "good"]  # and not those of the model it started from
    assert loaded.predict(NEW_TEXTS).tolist() == [answer.label for answer in predict(tmp_path / "run", NEW_TEXTS)]
    with pytest.raises(CheckpointError, match="it was trained for classification, not for regression"):
        UnmaskRegressor.load(tmp_path / "run")


def test_classes_are_sorted_whatever_the_model_s_order(bert: Path, tmp_path: Path) -> None:
    file = write_rows(tmp_path / "train.tsv", list(zip(TEXTS, NUMBERS, strict=True)))
    told = ("--train", file, "--dev", file, "--output-dir", tmp_path / "run", "--epochs", 1, "--device", "cpu")
    assert unmask("finetune", "classification", "--model", bert, *told, "--labels", "one", "many") == 0
    loaded = UnmaskClassifier.load(tmp_path / "run")
    assert loaded.classes_.tolist() == ["many", "one"]
    expected = predict(tmp_path / "run", NEW_TEXTS)
    loaded.save(tmp_path / "model")
    for model in (loaded, UnmaskClassifier.load(tmp_path / "model")):
        assert model.classes_.tolist() == ["many", "one"]
        assert model.predict(NEW_TEXTS).tolist() == [answer.label for answer in expected]
        rows = [[answer.probabilities[name] for name in ("many", "one")] for answer in expected]
        np.testing.assert_allclose(model.predict_proba(NEW_TEXTS), rows, atol=1e-6)


def test_regression(make: Callable[..., Any], tmp_path: Path) -> None:
    y = np.array([2.5 if label == "one" else -1 for label in NUMBERS])
    estimator = make(UnmaskRegressor, epochs=8).fit(TEXTS, y)
    expected = np.array([2.5 if label == "one" else -1 for label in NEW_NUMBERS])
    predicted = estimator.predict(NEW_TEXTS)
    assert estimator.score(NEW_TEXTS, expected) == r2_score(expected, predicted)
    assert estimator.score(NEW_TEXTS, expected) > 0.5
    estimator.save(tmp_path / "model")
    loaded = UnmaskRegressor.load(tmp_path / "model")
    assert (loaded.predict(NEW_TEXTS) == predicted).all()
    assert not hasattr(loaded, "predict_proba")
    assert [answer.score for answer in predict(tmp_path / "model", NEW_TEXTS)] == pytest.approx(predicted.tolist())
    with pytest.raises(DataError, match="score"):
        make(UnmaskRegressor).fit(TEXTS[:3], [1.0, float("nan"), 2.0])


# Mistakes.


@pytest.mark.parametrize(
    ("X", "y", "error", "said"),
    [
        ("a king", ["a"], DataError, "X: this is one text: give a list of texts"),
        ([], [], DataError, "there are no texts"),
        (["a", "b"], ["x", "y", "x"], DataError, "2 texts and 3 labels: give one each"),
        (["a", 5], ["x", "y"], DataError, "X, line 2: 5 is neither a text nor a pair of texts"),
        (["a", ("b", "c", "d")], ["x", "y"], DataError, "X, line 2: .* is neither a text nor a pair"),
        (["a king", "  "] * 10, ["x", "y"] * 10, DataError, "line .*: the text is empty"),
        (["a king"] * 20, ["x"] * 20, DataError, "every label is 'x', so there is nothing to tell apart"),
        (["a king"] * 20, ["x", ""] * 10, DataError, "line .*: the label is empty"),
        (["a king"] * 20, np.array([1, "1"] * 10, object), DataError, "y: labels are all words or all numbers"),
        (["a king"] * 20, [b"x", b"y"] * 10, DataError, "y: labels are all words or all numbers"),
        (["a king"] * 20, np.linspace(0, 1, 20), ValueError, "Unknown label type: continuous"),
        (["a king"], ["x"], DataError, "1 text cannot be parted into train and dev"),
    ],
)
def test_bad_texts_and_labels(make: Callable[..., Any], X: Any, y: Any, error: Any, said: str) -> None:
    with pytest.raises(error, match=said):
        make(epochs=1).fit(X, y)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"epochs": 0}, "epochs is 0: it must be 1 or more"),
        ({"dev_fraction": 1.5}, "dev_fraction is 1.5"),
        ({"settings": {"epochs": 3}}, "settings has 'epochs': that is given in another way"),
        ({"settings": {"labels": ["a", "b"]}}, "settings has 'labels'"),
        ({"settings": {"seeds": 3}}, "settings has 'seeds'"),
        *(
            ({"settings": {name: "x"}}, f"settings has {name!r}: that is given in another way, or not at all here")
            for name in ("check", "column_names", "text_column", "text_pair_column", "label_column", "data_dir")
        ),
        ({"settings": {"class_weights": {"one": 1, "two": 2}}}, "class_weights is one=1 two=2: give balanced, or"),
        ({"settings": {"epoch": 3}}, "settings has 'epoch': unmask.FinetuneSettings has none of this name"),
        ({"settings": {"score_range": [0, 1]}}, "classification has no use for it"),
    ],
)
def test_bad_settings(make: Callable[..., Any], changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        make(**changes).fit(TEXTS, NUMBERS)


def test_other_settings_are_heard(make: Callable[..., UnmaskClassifier], tmp_path: Path) -> None:
    told = {"class_weights": "balanced", "tune": "head", "max_steps": np.int64(3)}
    estimator = make(settings=told, output_dir=tmp_path / "run").fit(TEXTS, NUMBERS)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["class_weights"], config["tune"], config["max_steps"]) == (["balanced"], "head", 3)
    assert estimator.trained_.task.options.class_weights is not None
    estimator.save(tmp_path / "model")
    assert UnmaskClassifier.load(tmp_path / "model").settings == {**told, "max_steps": 3}


def test_class_weights_come_as_scikit_learn_has_them(make: Callable[..., UnmaskClassifier], tmp_path: Path) -> None:
    y = np.array([int(label == "one") for label in NUMBERS])
    weights = {np.int64(0): 1, np.int64(1): 5.5}
    estimator = make(epochs=1, settings={"class_weights": weights}).fit(TEXTS, y)
    assert estimator.trained_.task.options.class_weights == ("0=1", "1=5.5")
    estimator.save(tmp_path / "model")
    loaded = UnmaskClassifier.load(tmp_path / "model")
    assert loaded.settings == {"class_weights": {"0": 1, "1": 5.5}}
    assert (loaded.predict_proba(NEW_TEXTS) == estimator.predict_proba(NEW_TEXTS)).all()


def test_what_is_held_back_and_left_out_is_as_told(make: Callable[..., UnmaskClassifier], tmp_path: Path) -> None:
    held_back = {}
    for name, changes in (("a", {"seed": 5}), ("b", {"settings": {"dev_seed": 5}}), ("c", {})):
        make(epochs=1, output_dir=tmp_path / name, **changes).fit(TEXTS, NUMBERS)
        lines = (tmp_path / name / "predictions_dev.jsonl").read_text().splitlines()
        held_back[name] = [json.loads(line)["text"] for line in lines]
    assert held_back["a"] == held_back["b"] != held_back["c"]
    texts, labels = [*TEXTS, " "], [*NUMBERS, "one"]
    with pytest.raises(DataError, match=r"line 61: the text is empty"):
        make(epochs=1).fit(texts, labels)
    make(epochs=1, output_dir=tmp_path / "d", settings={"skip_empty": True}).fit(texts, labels)
    data = json.loads((tmp_path / "d" / "data.json").read_text())
    assert data["train"]["rows"] + data["dev"]["rows"] == 60
    with pytest.raises(DataError, match="X: there are no texts"):
        make(epochs=1, settings={"skip_empty": True}).fit([" ", ""], ["one", "many"])


def test_a_fit_says_what_it_cut_and_draws_only_what_is_kept(
    make: Callable[..., UnmaskClassifier],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    drawn: list[Path] = []
    monkeypatch.setattr("unmask.workflows.finetune.write_report", drawn.append)
    make(epochs=1, max_seq_length=5, verbose=True).fit(TEXTS, NUMBERS)
    assert "texts were cut to 5 tokens" in capfd.readouterr().err
    assert drawn == []
    make(epochs=1, output_dir=tmp_path / "run").fit(TEXTS, NUMBERS)
    assert drawn == [tmp_path / "run"]


def test_importing_unmask_brings_in_nothing_heavy() -> None:
    program = "import sys, unmask; print({'sklearn', 'torch', 'scipy'} & set(sys.modules)); unmask.UnmaskClassifier"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
