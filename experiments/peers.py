"""What transformers makes of a task: its models, tokenizers and losses in a plain loop, under the settings of a run.

The same as in `unmask finetune`: the weights of the encoder, the examples and the numbers of their labels, epochs,
batch size (a question is one example, whatever windows it has), AdamW with its fused kernel, decay of matrices only,
warm-up and linear fall of the learning rate, clipping, dropout, the longest input. The seed is the same number, and
draws another head, another order and other dropout.

Its own: every batch is padded to its longest sequence, after its Trainer's `group_by_length` has put sequences of like
length together; of a padded batch its loss of answers counts the padding too; a word whose tokens come to nothing gets
the most frequent tag. No choice is made among epochs: the last is judged.

Predictions are judged by the metrics of this project. Its decoder finds the answers to questions in the logits given
here, with a null threshold tuned on dev; the windows must therefore be the same, and it is an error if they are not.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
import torch
import transformers
from transformers.trainer_pt_utils import get_length_grouped_indices

from unmask.metrics import classification_metrics, regression_metrics, tagging_metrics
from unmask.ragged import Ragged
from unmask.tasks import TASKS, Classification, QuestionAnswering, Regression, Tagging
from unmask.training import training_device
from unmask.training.machine import keep_freed_memory
from unmask.workflows.loading import load_tokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from unmask import FinetuneSettings
    from unmask.data.questions import QuestionExample
    from unmask.data.tagged_sentence import TaggedSentence
    from unmask.tasks import Task, TextExample

IGNORED = -100
PREDICTED_AT_ONCE = 32  # sequences


@dataclass(frozen=True, kw_only=True)
class PeerResult:
    """What a run of transformers came to.

    Args:
        scores: of "dev" and, where there are files, "test".
        seconds: of the training loop: batches, losses, gradients, updates.
        num_steps: updates.
        model: as the last of them left it.
    """

    scores: dict[str, dict[str, float]]
    seconds: float
    num_steps: int
    model: Any


@dataclass(frozen=True)
class Feature:
    """One sequence, and what is to be learnt of it.

    Args:
        input_ids, token_type_ids: as the tokenizer made them.
        labels: the labels by the names that transformers' models give them: a number, or one for each token.
        first_pieces: of a tagged sentence, where the first token of each word is; not of words that have none.
    """

    input_ids: list[int]
    token_type_ids: list[int]
    labels: dict[str, Any]
    first_pieces: dict[int, int] = field(default_factory=dict)


Group: TypeAlias = list[Feature]  # the sequences of one example: windows, or one
Logits: TypeAlias = "list[list[NDArray[np.float32]]]"  # of each example those of its sequences


def finetune_peer(settings: FinetuneSettings, folder: Path) -> PeerResult:
    """Fine-tune the model of a folder with transformers.

    Args:
        settings: of the run that it is compared with.
        folder: the weights and tokenizer, in Hugging Face's layout.
    """
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    examples = read_examples(settings)
    kind = next(kind for kind in PEERS if kind.task_class is TASKS[settings.task])
    peer = kind(settings, examples["train"], folder)
    groups = {name: peer.encode(members) for name, members in examples.items()}
    torch.manual_seed(settings.seed)
    auto_class = getattr(transformers, peer.auto_class)
    model = auto_class.from_pretrained(folder, dtype=torch.float32, **peer.model_options).to(training_device(settings))
    seconds, num_steps = train(model, groups["train"], settings)
    logits = {name: predict(model, groups[name]) for name in examples if name != "train"}
    if isinstance(peer, PeerOfQuestions):
        peer.tune_threshold(examples["dev"], groups["dev"], logits["dev"])
    scores = {name: peer.score(examples[name], groups[name], logits[name]) for name in logits}
    return PeerResult(scores=scores, seconds=seconds, num_steps=num_steps, model=model)


def read_examples(settings: FinetuneSettings) -> dict[str, list[Any]]:
    """Read the files of a run: "train", "dev" and, where there are any, "test"; several files are one set."""
    assert settings.train is not None
    read = TASKS[settings.task].read
    files = {"train": (settings.train,), "dev": settings.dev, "test": settings.test}
    return {
        name: [example for file in sources for example in read(file, settings.reading(file, name))]
        for name, sources in files.items()
        if sources
    }


# The loop.


def train(model: Any, groups: Sequence[Group], settings: FinetuneSettings) -> tuple[float, int]:
    """Train in place; the seconds it took, and how many steps."""
    matrices = [parameter for parameter in model.parameters() if parameter.ndim >= 2]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim < 2]
    parameters: list[dict[str, Any]] = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(
        parameters,
        lr=settings.peak_learning_rate,
        betas=settings.betas,
        eps=settings.eps,
        weight_decay=settings.weight_decay,
        fused=True,
    )
    batch_size = settings.global_batch_size
    num_steps = settings.epochs * math.ceil(len(groups) / batch_size)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, settings.num_warmup_steps(num_steps), num_steps)
    lengths = [max(len(feature.input_ids) for feature in group) for group in groups]
    if model.device.type == "cpu":
        keep_freed_memory()  # as our loop does, for the whole process: whoever runs first, both have it
    generator = torch.Generator().manual_seed(settings.seed)
    model.train()
    start = time.perf_counter()
    for _ in range(settings.epochs):
        order = get_length_grouped_indices(lengths, batch_size, generator=generator)
        for first in range(0, len(order), batch_size):
            features = [feature for index in order[first : first + batch_size] for feature in groups[index]]
            loss = model(**collate(features, model)).loss
            loss.backward()
            if settings.max_grad_norm is not None:
                torch.nn.utils.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    if model.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start, num_steps


def collate(features: Sequence[Feature], model: Any, *, with_labels: bool = True) -> dict[str, torch.Tensor]:
    """Pad sequences to the longest of them: (B, S)."""
    width = max(len(feature.input_ids) for feature in features)

    def padded(rows: Sequence[Sequence[int]], value: int) -> torch.Tensor:
        return torch.tensor([[*row, *[value] * (width - len(row))] for row in rows])

    batch = {
        "input_ids": padded([feature.input_ids for feature in features], model.config.pad_token_id),
        "token_type_ids": padded([feature.token_type_ids for feature in features], 0),
        "attention_mask": padded([[1] * len(feature.input_ids) for feature in features], 0),
    }
    for name in features[0].labels if with_labels else ():
        labels = [feature.labels[name] for feature in features]
        batch[name] = padded(labels, IGNORED) if isinstance(labels[0], list) else torch.tensor(labels)
    return {name: tensor.to(model.device) for name, tensor in batch.items()}


def predict(model: Any, groups: Sequence[Group]) -> Logits:
    """The logits of each example's sequences: (labels,), or (tokens, labels) without the padding."""
    features = [feature for group in groups for feature in group]
    order = sorted(range(len(features)), key=lambda index: len(features[index].input_ids))
    logits: list[NDArray[np.float32]] = [np.zeros(0, np.float32)] * len(features)
    model.eval()
    with torch.inference_mode():
        for first in range(0, len(order), PREDICTED_AT_ONCE):
            some = order[first : first + PREDICTED_AT_ONCE]
            output = model(**collate([features[index] for index in some], model, with_labels=False))
            rows = torch.stack((output.start_logits, output.end_logits), -1) if "start_logits" in output else output[0]
            for index, row in zip(some, rows.cpu().numpy(), strict=True):
                logits[index] = row[: len(features[index].input_ids)] if row.ndim == 2 else row
    taken = iter(logits)
    return [[next(taken) for _ in group] for group in groups]


# What differs from task to task.


class Peer(ABC):
    """One task, from examples to sequences, and from logits to scores.

    Args:
        settings: of the run.
        train: the examples to learn from, which tell the labels.
        folder: of the tokenizer.
    """

    task_class: ClassVar[type[Task[Any]]]
    auto_class: ClassVar[str]

    def __init__(self, settings: FinetuneSettings, train: Sequence[Any], folder: Path) -> None:
        self.task: Any = TASKS[settings.task].for_training(train, settings.task_options)
        self.folder = folder
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        reach = transformers.AutoConfig.from_pretrained(folder).max_position_embeddings
        self.max_length = min(settings.max_seq_length or reach, reach)

    @property
    def model_options(self) -> dict[str, Any]:
        """What the model is made with beside its weights."""
        id2label = self.task.id2label
        return {"id2label": id2label, "label2id": {name: number for number, name in id2label.items()}}

    @abstractmethod
    def encode(self, examples: Sequence[Any]) -> list[Group]:
        """Make the sequences of each example."""

    @abstractmethod
    def score(self, examples: Sequence[Any], groups: Sequence[Group], logits: Logits) -> dict[str, float]:
        """Judge the logits of each example's sequences."""


class PeerOfTexts(Peer):
    """Labels of texts and of pairs, as `run_glue.py` learns them."""

    task_class: ClassVar[type[Task[Any]]] = Classification
    auto_class = "AutoModelForSequenceClassification"

    def encode(self, examples: Sequence[TextExample]) -> list[Group]:
        texts, pairs = [[getattr(example, name) for example in examples] for name in ("text", "text_pair")]
        encoded = self.tokenizer(
            texts,
            pairs if pairs[0] is not None else None,
            truncation=True,
            max_length=self.max_length,
            return_token_type_ids=True,
        )
        targets = self.task.targets_of(examples).tolist()
        columns = (encoded["input_ids"], encoded["token_type_ids"], targets)
        return [[Feature(ids, types, {"labels": target})] for ids, types, target in zip(*columns, strict=True)]

    def score(self, examples: Sequence[TextExample], groups: Sequence[Group], logits: Logits) -> dict[str, float]:
        predicted = [int(row.argmax()) for [row] in logits]
        return classification_metrics(
            self.task.targets_of(examples).tolist(), predicted, num_labels=len(self.task.id2label)
        )


class PeerOfScores(PeerOfTexts):
    """Numbers of pairs: mean squared error."""

    task_class = Regression

    @property
    def model_options(self) -> dict[str, Any]:
        return {"num_labels": 1, "problem_type": "regression"}

    def score(self, examples: Sequence[TextExample], groups: Sequence[Group], logits: Logits) -> dict[str, float]:
        return regression_metrics(self.task.targets_of(examples), np.array([row[0] for [row] in logits]))


class PeerOfTags(Peer):
    """Tags of words, as `run_ner.py` learns them: on a word's first token.

    A sentence must fit into the model; the tags of the files must be in the scheme that the model learns.
    """

    task_class = Tagging
    auto_class = "AutoModelForTokenClassification"

    def __init__(self, settings: FinetuneSettings, train: Sequence[TaggedSentence], folder: Path) -> None:
        super().__init__(settings, train, folder)
        self.ids = {name: number for number, name in self.task.id2label.items()}
        [(self.most_frequent, _)] = Counter(tag for example in train for tag in example.tags or ()).most_common(1)

    def encode(self, examples: Sequence[TaggedSentence]) -> list[Group]:
        encoded = self.tokenizer(
            [list(example.words) for example in examples], is_split_into_words=True, return_token_type_ids=True
        )
        groups = []
        for number, example in enumerate(examples):
            ids, types = encoded["input_ids"][number], encoded["token_type_ids"][number]
            if len(ids) > self.max_length:
                raise ValueError(
                    f"{example.source}, line {example.line}: {len(ids)} tokens, which this loop cannot cut"
                )
            first_pieces: dict[int, int] = {}
            for position, word in enumerate(encoded.word_ids(number)):
                if word is not None:
                    first_pieces.setdefault(word, position)
            labels = [IGNORED] * len(ids)
            for word, position in first_pieces.items():
                labels[position] = self.ids[(example.tags or ())[word]]
            groups.append([Feature(ids, types, {"labels": labels}, first_pieces)])
        return groups

    def score(self, examples: Sequence[TaggedSentence], groups: Sequence[Group], logits: Logits) -> dict[str, float]:
        names = self.task.id2label
        predicted = []
        for example, [feature], [rows] in zip(examples, groups, logits, strict=True):
            best = {word: names[int(rows[position].argmax())] for word, position in feature.first_pieces.items()}
            predicted.append([best.get(word, self.most_frequent) for word in range(len(example))])
        return tagging_metrics([example.tags or () for example in examples], predicted, scheme=self.task.label_scheme)


class PeerOfQuestions(Peer):
    """Answers to questions, as `run_qa.py` learns them: the first and the last token of an answer in each window."""

    task_class = QuestionAnswering
    auto_class = "AutoModelForQuestionAnswering"

    def __init__(self, settings: FinetuneSettings, train: Sequence[QuestionExample], folder: Path) -> None:
        super().__init__(settings, train, folder)
        self.doc_stride = settings.doc_stride or 128
        self.max_query_length = settings.max_query_length

    @property
    def model_options(self) -> dict[str, Any]:
        return {}

    def encode(self, examples: Sequence[QuestionExample]) -> list[Group]:
        return [self._windows(example) for example in examples]

    def _windows(self, example: QuestionExample) -> Group:
        question = self.tokenizer(example.question, add_special_tokens=False, return_offsets_mapping=True)
        asked, num_special = example.question, self.tokenizer.num_special_tokens_to_add(pair=True)
        num_kept = min(self.max_query_length, (self.max_length - num_special) // 2)
        if len(question["input_ids"]) > num_kept:
            asked = asked[: question["offset_mapping"][num_kept - 1][1]]
        room = self.max_length - num_special - min(len(question["input_ids"]), num_kept)
        encoded = self.tokenizer(
            asked,
            example.context,
            truncation="only_second",
            max_length=self.max_length,
            stride=room - min(self.doc_stride, room),  # what two windows share, in this library
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            return_token_type_ids=True,
        )
        group = []
        for number, (ids, types) in enumerate(zip(encoded["input_ids"], encoded["token_type_ids"], strict=True)):
            start, end = _find_answer(example, encoded["offset_mapping"][number], encoded.sequence_ids(number))
            group.append(Feature(ids, types, {"start_positions": start, "end_positions": end}))
        return group

    def tune_threshold(self, examples: Sequence[QuestionExample], groups: Sequence[Group], logits: Logits) -> None:
        """Choose the null threshold that is best for these questions, where some of them have no answer."""
        self.task = self.task.tuned(examples, *self._as_ours(examples, groups, logits))

    def score(self, examples: Sequence[QuestionExample], groups: Sequence[Group], logits: Logits) -> dict[str, float]:
        scores: dict[str, float] = self.task.score(examples, *self._as_ours(examples, groups, logits))
        return scores

    def _as_ours(
        self, examples: Sequence[QuestionExample], groups: Sequence[Group], logits: Logits
    ) -> tuple[Any, Ragged]:
        """The samples of this project and these logits, in the order of its tokens."""
        tokenizer = load_tokenizer(str(self.folder))
        samples = self.task.encode(examples, tokenizer, max_seq_length=self.max_length, with_targets=False)
        ids = [np.array(feature.input_ids) for group in groups for feature in group]
        if [len(group) for group in groups] != samples.num_windows.tolist() or not np.array_equal(
            np.concatenate(ids), samples.input_ids.values
        ):
            raise ValueError("the two tokenizers make different windows of these questions")
        return samples, Ragged.of((np.concatenate(windows) for windows in logits), np.float32)


def _find_answer(
    example: QuestionExample, offsets: Sequence[tuple[int, int]], sequence_ids: Sequence[int | None]
) -> tuple[int, int]:
    """The tokens of an answer in a window; twice the first token, [CLS], where it is not whole in it."""
    if not example.answers:
        return 0, 0
    answer = example.answers[0]
    places = [position for position, owner in enumerate(sequence_ids) if owner == 1]
    if offsets[places[0]][0] > answer.start or offsets[places[-1]][1] < answer.end:
        return 0, 0
    return (
        max(position for position in places if offsets[position][0] <= answer.start),
        min(position for position in places if offsets[position][1] >= answer.end),
    )


PEERS: tuple[type[Peer], ...] = (PeerOfTexts, PeerOfScores, PeerOfTags, PeerOfQuestions)
