"""Fine-tuning as scikit-learn knows it: `fit`, `predict`, `score`, in pipelines, grid searches and cross-validation.

    from unmask import UnmaskClassifier

    classifier = UnmaskClassifier(model="minilm", epochs=3).fit(texts, labels)
    classifier.predict_proba(["They drank the pub."])
    classifier.save("models/mine")  # an ordinary model folder, which `unmask predict` and transformers read too

A fit is a run as `unmask finetune` makes one; its folder is kept where `output_dir` names one. It needs texts to choose
the best epoch by, and to calibrate probabilities on: a tenth of what it is given is held back, or `fit(dev=...)` gives
others.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from rich.console import Console
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from unmask.errors import CheckpointError, DataError, Interrupted, SettingsError
from unmask.logits import softmax
from unmask.models.config import ModelConfig
from unmask.reporting import RunRecord
from unmask.tasks import Classification, Reading, Regression, TextExample, TextTask
from unmask.training import training_device
from unmask.workflows.finetune import train_one
from unmask.workflows.finetune_data import hold_back, prepare_examples
from unmask.workflows.loading import save_pretrained
from unmask.workflows.run_folder import refuse_used_folder
from unmask.workflows.run_settings import with_types
from unmask.workflows.settings import FinetuneSettings
from unmask.workflows.trained import Trained, load_trained

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["UnmaskClassifier", "UnmaskRegressor"]

_MEMORY = "unmask_sklearn"  # the key of a model's config.json for what an estimator knows beside its model
_NOT_OF_A_FIT = (
    *("train", "dev", "test", "resume", "seeds"),
    *("check", "column_names", "text_column", "text_pair_column", "label_column", "data_dir"),
)  # settings of files, and of several runs


class _TextEstimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """What the estimators of texts share; `UnmaskClassifier` tells the arguments."""

    _task: ClassVar[type[TextTask]]

    def __init__(
        self,
        model: str = "minilm",
        *,
        epochs: int = 3,
        learning_rate: float | None = None,
        global_batch_size: int = 32,
        max_seq_length: int | None = None,
        dev_fraction: float = 0.1,
        seed: int = 0,
        device: str | None = None,
        settings: Mapping[str, Any] | None = None,
        output_dir: str | Path | None = None,
        verbose: bool = False,
    ) -> None:
        self.model = model
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.global_batch_size = global_batch_size
        self.max_seq_length = max_seq_length
        self.dev_fraction = dev_fraction
        self.seed = seed
        self.device = device
        self.settings = settings
        self.output_dir = output_dir
        self.verbose = verbose

    def fit(self, X: Any, y: ArrayLike, *, dev: tuple[Any, ArrayLike] | None = None) -> Self:
        """Fine-tune the model.

        Args:
            X: a list, array or column of texts; of pairs of texts a list of tuples, or an array (n, 2).
            y: what is right of each, (n,).
            dev: texts, and what is right of them, to choose the best epoch by and to calibrate on; None holds some
                of X back.

        Raises:
            KeyboardInterrupt: ctrl-C; nothing is learnt then, and what an earlier fit learnt stays.
            UnmaskError: texts, labels, checkpoint or settings that cannot be used; the message says what to do.
        """
        given = {"X": (X, y)} | ({} if dev is None else {"dev": dev})
        texts = {source: _examples(part, source) for source, (part, _) in given.items()}
        targets = {source: column_or_1d(part) for source, (_, part) in given.items()}
        for source in given:
            if len(texts[source]) != len(targets[source]):
                problem = f"{len(texts[source])} texts and {len(targets[source])} labels: give one each"
                raise DataError(problem, path=source)
            if not texts[source]:
                raise DataError("there are no texts: give one at least", path=source)
        own, memory = self._find_targets(np.concatenate(list(targets.values())))
        settings = self._settings(**own)
        examples, *others = (
            [
                dataclasses.replace(example, label=label)
                for example, label in zip(texts[source], self._write_targets(targets[source]), strict=True)
                if not (settings.skip_empty and example.is_empty)
            ]
            for source in given
        )
        if not all((examples, *others)):
            raise DataError("there are no texts: give one at least", path="dev" if examples else "X")
        self._task.check_labels(sum(others, examples), "y", Reading(options=settings.task_options))
        kept, held_back = (examples, others[0]) if others else hold_back(examples, settings)
        console = Console(stderr=True, quiet=not self.verbose)
        say = partial(console.print, markup=False, highlight=False, soft_wrap=True)
        with tempfile.TemporaryDirectory() as temporary:
            folder = settings.output_dir or Path(temporary) / "run"
            refuse_used_folder(folder, overwrite=settings.overwrite, resume=False)
            training_device(settings)
            prepared = prepare_examples(
                dataclasses.replace(settings, output_dir=folder),
                {"train": kept, "dev": held_back},
                console=console,
                say=say,
            )
            try:
                train_one(prepared, console=console, say=say, report=settings.output_dir is not None)
            except Interrupted as error:
                # An Exception would count as one fold's bad luck in a grid search, and the next fit begin.
                lost = "the fit was interrupted: what it had learnt is lost"
                if settings.output_dir is not None:
                    lost += f"; {folder} keeps its metrics and a checkpoint, from which no fit goes on"
                raise KeyboardInterrupt(lost) from error
            trained, scores = load_trained(folder, device=settings.device), RunRecord.read(folder).dev_scores
            card = (folder / "model" / "README.md").read_text(encoding="utf-8")
        self.trained_, self.dev_scores_, self._card = trained, scores, card
        self._remember(memory)
        return self

    def save(self, folder: str | Path, *, replace: bool = False) -> None:
        """Write the model as a folder that `load`, unmask's commands and transformers read.

        Raises:
            NotFittedError: there is no model yet.
            DataError: the folder exists and replace is false, or the disk is full or read-only.
        """
        check_is_fitted(self, "trained_")
        pretrained = self.trained_.pretrained
        assert pretrained is not None
        config = pretrained.model.config
        assert isinstance(config, ModelConfig)
        memory = {"params": _plain(self.get_params(deep=False)), **self._memory()}
        pretrained.model.config = dataclasses.replace(config, extra={**config.extra, _MEMORY: memory})
        save_pretrained(
            pretrained.model, pretrained.tokenizer, Path(folder), model_card=self._card or None, replace=replace
        )

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Take up a model that was saved, or any other that was fine-tuned for this: a run folder, a hub id.

        Raises:
            CheckpointError: nothing usable is found under that name, or it was trained for something else.
        """
        trained = load_trained(folder)
        if not isinstance(trained.task, cls._task):
            raise CheckpointError(f"{folder}: it was trained for {trained.task.name}, not for {cls._task.name}")
        assert trained.pretrained is not None  # torch loaded it
        memory = trained.pretrained.config.extra.get(_MEMORY) or {}
        estimator = cls(**memory.get("params", {"model": str(folder)}))
        estimator.trained_, estimator.dev_scores_ = trained, {}
        card = trained.pretrained.folder / "README.md"
        estimator._card = card.read_text(encoding="utf-8") if card.is_file() else ""
        estimator._remember(memory)
        return estimator

    def _find_targets(self, y: NDArray[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Check all targets; returns the settings that they make, and what to remember of them."""
        return {}, {}

    def _write_targets(self, y: NDArray[Any]) -> list[str]:
        """The targets as a label column has them."""
        raise NotImplementedError

    def _memory(self) -> dict[str, Any]:
        """What a model folder must keep beside the model and the parameters."""
        return {}

    def _remember(self, memory: Mapping[str, Any]) -> None:
        """Take that up again; it may be empty, or of another model."""

    def _settings(self, **own: Any) -> FinetuneSettings:
        given = _plain(self.get_params(deep=False))
        more = given.pop("settings") or {}
        given.pop("verbose")
        for name in more:
            if name in (*given, *_NOT_OF_A_FIT, "task", *own):
                raise SettingsError(f"settings has {name!r}: that is given in another way, or not at all here")
        known = {field.name for field in dataclasses.fields(FinetuneSettings)}
        if unknown := sorted(more.keys() - known):
            raise SettingsError(f"settings has {unknown[0]!r}: unmask.FinetuneSettings has none of this name")
        values = given | more | {"task": self._task.name, "train": "texts given in Python"} | own
        return FinetuneSettings(**with_types(FinetuneSettings, values))

    def _logits(self, X: Any) -> NDArray[np.float64]:
        """Run the model: (n, num_labels)."""
        check_is_fitted(self, "trained_")
        trained: Trained = self.trained_
        examples = _examples(X, "X")
        if not examples:
            return np.zeros((0, len(trained.task.id2label)))
        samples = trained.encode(examples, with_targets=False)
        return trained.predict_logits(samples).values.astype(np.float64)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.one_d_array, tags.input_tags.string = False, True, True
        return tags


class UnmaskClassifier(ClassifierMixin, _TextEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """One label for each text or pair.

    Labels may be words or numbers, and keep their type. Probabilities are calibrated on the dev texts.

    Args:
        model: what to start from: a folder, a hub id, or "minilm", the pretrained BERT that comes as a pip package.
        epochs: passes over the texts; the best of them by the dev texts is kept.
        learning_rate: at its peak, after warm-up; None is that of `unmask finetune`.
        global_batch_size: texts an optimizer step.
        max_seq_length: tokens of the longest text; longer ones are cut. None is the model's own limit.
        dev_fraction: how much is held back to choose the best epoch by where `fit` is given no dev texts.
        seed: of the new head, the order of the texts, dropout, and what is held back.
        device: "cpu", "cuda" or "cuda:1", to train on; None takes CUDA where there is one.
        settings: any others of `unmask.FinetuneSettings`, such as {"class_weights": "balanced", "tune": "lora"}.
        output_dir: where the run is kept, report and all; None keeps none.
        verbose: whether progress is shown.

    Attributes:
        trained_: the model, its tokenizer and its task.
        dev_scores_: scores of the best epoch on the dev texts; empty for a model that was loaded.
        classes_: the labels, sorted, as they were given.
    """

    _task = Classification

    def _logits(self, X: Any) -> NDArray[np.float64]:
        """Run the model: (n, num_classes), in the order of `classes_`, which the model's own need not be."""
        logits = super()._logits(X)
        names = list(self.trained_.task.id2label.values())
        return logits[:, [names.index(name) for name in _names(self.classes_)]]

    def predict(self, X: Any) -> NDArray[Any]:
        """The most probable label of each text or pair, (n,), of the type of those given to `fit`."""
        logits = self._logits(X)
        return self.classes_[logits.argmax(1)]

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """The probability of each of `classes_`, (n, num_classes), calibrated."""
        logits, task = self._logits(X), self.trained_.task
        assert isinstance(task, Classification)
        return softmax(logits, temperature=task.temperature)

    def _find_targets(self, y: NDArray[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        if not all(isinstance(label, str if y.dtype == object else str | int | float) for label in y.tolist()):
            raise DataError("labels are all words or all numbers, and these are not: write them alike", path="y")
        check_classification_targets(y)
        classes = np.unique(y)
        return {"labels": _names(classes)}, {"classes": classes.tolist(), "dtype": classes.dtype.str}

    def _write_targets(self, y: NDArray[Any]) -> list[str]:
        return _names(y)

    def _memory(self) -> dict[str, Any]:
        return {"classes": self.classes_.tolist(), "dtype": self.classes_.dtype.str}

    def _remember(self, memory: Mapping[str, Any]) -> None:
        names = np.unique(list(self.trained_.task.id2label.values()))
        classes = np.array(memory["classes"], memory["dtype"]) if "classes" in memory else names
        self.classes_ = classes if sorted(_names(classes)) == names.tolist() else names


class UnmaskRegressor(RegressorMixin, _TextEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A number for each text or pair, such as how alike two texts are; `score` is R².

    Arguments and attributes are those of `UnmaskClassifier`, without `classes_`.
    """

    _task = Regression

    def predict(self, X: Any) -> NDArray[np.float64]:
        """The number of each text or pair, (n,)."""
        return self._logits(X)[:, 0]

    def _write_targets(self, y: NDArray[Any]) -> list[str]:
        return [repr(float(value)) for value in y.tolist()]


def _examples(X: Any, source: str) -> list[TextExample]:
    """Make examples of texts or pairs; an error tells the number of the text, from 1."""
    if isinstance(X, str):
        raise DataError("this is one text: give a list of texts", path=source)
    rows = X.to_numpy() if hasattr(X, "to_numpy") else X
    examples = []
    for line, row in enumerate(rows, start=1):
        text, pair = _text_or_pair(row, source, line)
        examples.append(TextExample(text=text, text_pair=pair, label=None, source=source, line=line))
    return examples


def _text_or_pair(row: Any, source: str, line: int) -> tuple[str, str | None]:
    if isinstance(row, str):
        return str(row), None
    texts = list(row) if isinstance(row, list | tuple | np.ndarray) else []
    if len(texts) == 2 and all(isinstance(text, str) for text in texts):
        return str(texts[0]), str(texts[1])
    raise DataError(f"{row!r:.60} is neither a text nor a pair of texts", path=source, line=line)


def _names(y: NDArray[Any]) -> list[str]:
    return [str(value) for value in y.tolist()]


def _plain(value: Any) -> Any:
    """A parameter as JSON has it."""
    if isinstance(value, Mapping):
        return {_plain(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, np.generic):
        return value.item()
    return str(value) if isinstance(value, Path) else value
