"""Where in a text is the answer to a question, if anywhere? Devlin et al. 2019 (arXiv:1810.04805), figure 4 c.

Files are SQuAD's JSON, of 1.1 or 2.0, or JSON lines (`unmask.data.questions`); `--text-pair` gives the text of a
question that is typed. The text may be of any length: it is read through windows (`question_windows`), and the best
span of all of them is the answer (`answer_spans`).
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from unmask.data.findings import count_of
from unmask.data.questions import QuestionExample, read_questions
from unmask.data.tables import names_a_file
from unmask.errors import DataError, SettingsError
from unmask.metrics.null_threshold import apply_null_threshold, tune_null_threshold
from unmask.metrics.paired import SummedScore, mean_score
from unmask.metrics.question_answering import question_answering_report, score_answers
from unmask.tasks.answer_spans import QuestionAnswer, find_best_spans, make_answers
from unmask.tasks.options import TaskOptions
from unmask.tasks.question_windows import QuestionSamples, encode_questions
from unmask.tasks.task import IGNORED, Task

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from unmask.data.questions import AnswerCheck
    from unmask.metrics import AnswerScores, QuestionAnsweringReport
    from unmask.ragged import Ragged
    from unmask.tasks.answer_spans import BestSpans
    from unmask.tasks.finetuning import TaskBatch
    from unmask.tasks.options import Reading
    from unmask.tasks.task import Samples
    from unmask.tokenization import Tokenizer

__all__ = ["QuestionAnswering"]

_DOC_STRIDE = 128  # of `run_squad.py`
_CANDIDATES_JUDGED = 3  # of the n best, in `predictions_dev.jsonl`
_EXCERPT = 60  # characters of the text that are shown on both sides of an answer
_CURVE_POINTS = 200  # at most

_log = logging.getLogger(__name__)


class QuestionAnswering(Task[QuestionExample]):
    """Cross-entropy of the answer's first token and of its last; exact match and F1 by the official rules.

    The loss of a window is the mean of both, each over the window's own tokens, and that of a set the mean over all
    windows: a question of two windows has two targets of each kind. A window without the whole answer is to point at
    its first token, [CLS]. `BertForQuestionAnswering` in transformers computes the same of one window; in a padded
    batch its softmax counts the padding too, which no packed batch has.

    A model of questions some of which have no answer learns when to give none: where the score of no answer is above
    that of the best span by more than a threshold (section 4.3), which is tuned on the dev set for F1. The scores of
    an epoch are those with the threshold that is best for it. A GPT reads from left to right and so knows nothing at a
    window's first token; it finds answers, but not that there is none.

    Args:
        options: what it was told.
        is_tuned: whether `null_score_diff_threshold` is settled, None of it meaning that every question is answered;
            if not, it is tuned on whatever is scored.
    """

    name = "question-answering"
    head = "question-answering"
    pipeline_tag = "question-answering"
    unit = "questions"
    metrics = ("loss", "exact_match", "f1")
    metric_for_best = "f1"
    example_keys = ("id", "question", "answers")
    option_names = (
        "max_seq_length",
        "doc_stride",
        "max_query_length",
        "max_answer_length",
        "n_best_size",
        "answer_rules",
        "null_score_diff_threshold",
    )

    def __init__(self, options: TaskOptions | None = None, *, is_tuned: bool = True) -> None:
        super().__init__(options or TaskOptions())
        self.is_tuned = is_tuned

    @classmethod
    def read(cls, source: str | Path, reading: Reading, *, with_labels: bool = True) -> list[QuestionExample]:
        unused = {
            "text_column": reading.columns.text,
            "text_pair_column": reading.columns.text_pair,
            "label_column": reading.columns.label,
            "column_names": reading.column_names or None,
            "split": reading.split if names_a_file(source) else None,
        }
        for name, given in unused.items():
            if given is not None:
                raise SettingsError(
                    f"{name} is {given!r}, and a file of questions has keys of its own, and no parts: leave it out"
                )
        examples, check = read_questions(source, labelled=with_labels, data_dir=reading.data_dir)
        if check.findings:
            _log.warning("%s", _describe(check, source))
        return examples

    @classmethod
    def from_text(cls, text: str, text_pair: str | None = None, *, source: str, line: int) -> QuestionExample:
        if text_pair is None:
            raise DataError("a question is asked of a text: give it too, with --text-pair", path=source, line=line)
        for what, given in (("question", text), ("text that is to answer it", text_pair)):
            if not given.strip():
                raise DataError(f"the {what} is empty: write it", path=source, line=line)
        return QuestionExample(
            id=str(line),
            question=text,
            context=text_pair,
            answers=(),
            is_impossible=False,
            title=None,
            source=source,
            line=line,
            place=None,
            paragraph=0,
        )

    @classmethod
    def for_training(cls, examples: Sequence[QuestionExample], options: TaskOptions) -> QuestionAnswering:
        if all(example.is_impossible for example in examples):
            source = examples[0].source if examples else None
            raise DataError("no question has an answer, so there is nothing to find: give some that have", path=source)
        return cls(options, is_tuned=options.null_score_diff_threshold is not None)

    @classmethod
    def for_model(cls, id2label: Mapping[int, str], options: TaskOptions) -> QuestionAnswering:
        return cls(options)

    @property
    def id2label(self) -> dict[int, str]:
        return {0: "start", 1: "end"}

    def summary(self, *, pairs: bool) -> str:
        threshold = self.options.null_score_diff_threshold
        if threshold is None:
            return "Answers each question with a span of the text it is asked of."
        return (
            "Answers each question with a span of the text it is asked of, or with nothing where the score of no "
            f"answer is above that of the best span by more than {threshold:.4g}."
        )

    # From questions to logits.

    def encode(
        self,
        examples: Sequence[QuestionExample],
        tokenizer: Tokenizer,
        *,
        max_seq_length: int,
        with_targets: bool = True,
    ) -> QuestionSamples:
        """Encode [CLS] question [SEP] window of the text [SEP]; texts are never cut, questions to max_query_length."""
        samples = encode_questions(
            examples,
            tokenizer,
            max_seq_length=max_seq_length,
            max_query_length=self.options.max_query_length,
            doc_stride=self.options.doc_stride or _DOC_STRIDE,
            with_targets=with_targets,
        )
        if samples.num_cut_questions:
            _log.warning("%s cut: see max_query_length", count_of(samples.num_cut_questions, "question"))
        if samples.num_lost_answers:
            _log.warning(
                "%s of characters that the tokenizer drops: nothing is learnt of them",
                count_of(samples.num_lost_answers, "answer"),
            )
        return samples

    def describe_targets(self, samples: Samples) -> dict[str, Any]:
        assert samples.targets is not None
        assert samples.windows is not None
        holds_answer = np.append(0, np.cumsum(samples.targets.values[1::2] > 0))
        per_question = np.diff(holds_answer[samples.windows])
        return {
            "questions": {
                "with_answer": int((per_question > 0).sum()),
                "without_answer": int((per_question == 0).sum()),
            },
            "windows": len(samples.input_ids),
            "windows_with_answer": int(per_question.sum()),
        }

    def num_logits(self, samples: Samples) -> NDArray[np.int64]:
        """One row a token, of all windows."""
        return samples.lengths

    def compute_loss(self, logits: Tensor, batch: TaskBatch) -> Tensor:
        """Sum the cross-entropies of starts and of ends: two targets a window, and logits (T, 2)."""
        import torch
        import torch.nn.functional as F

        inputs = batch.inputs
        owner = torch.arange(inputs.num_sequences, device=logits.device).repeat_interleave(
            inputs.cu_seqlens.diff(), output_size=inputs.total_tokens
        )
        per_window = logits.new_full((inputs.num_sequences, inputs.max_seqlen, 2), -torch.inf, dtype=torch.float32)
        per_window = per_window.index_put((owner, inputs.position_ids), logits.float())
        return F.cross_entropy(per_window, batch.targets.view(-1, 2), reduction="sum", ignore_index=IGNORED)

    # From logits to answers.

    def tuned(self, examples: Sequence[QuestionExample], samples: Samples, logits: Ragged) -> QuestionAnswering:
        """Choose the threshold that gives these questions the best F1, unless it was given or all have answers."""
        if self.is_tuned:
            return self
        threshold = self._threshold(*self._score(examples, samples, logits))
        return QuestionAnswering(replace(self.options, null_score_diff_threshold=threshold))

    def usage(self, *, pairs: bool) -> str:
        return (
            'from unmask import predict  # or: unmask predict FOLDER "a question?" --text-pair "a text"\n\n'
            'predict("FOLDER", ["a question?"], ["a text"])'
        )

    def score(self, examples: Sequence[QuestionExample], samples: Samples, logits: Ragged) -> dict[str, float]:
        """Exact match and F1; also of questions with and without an answer (`has_answer_f1`, ...) where there are both.

        Returns:
            Shares in [0, 1].
        """
        report = self._report(examples, samples, logits)[0]
        return {name: value for name, value in report.metrics.items() if not name.startswith("best_")}

    def report(self, examples: Sequence[QuestionExample], samples: Samples, logits: Ragged) -> dict[str, Any]:
        """All scores, and where there are questions without an answer what other thresholds would give.

        "metrics" has what every set has; "answers" is the whole `QuestionAnsweringReport`.
        """
        report, raw, null_scores = self._report(examples, samples, logits)
        metrics = {name: report.metrics[name] for name in ("exact_match", "f1")}
        entry = {"kind": self.name, "num_examples": len(examples), "metrics": metrics, "answers": report.to_dict()}
        if report.num_has_answer and report.num_no_answer:
            entry["threshold_curve"] = _threshold_curve(raw, null_scores)
        return entry

    def predict(self, examples: Sequence[QuestionExample], samples: Samples, logits: Ragged) -> list[QuestionAnswer]:
        spans = self._spans(samples, logits, self.options.n_best_size)
        return make_answers(examples, spans, null_threshold=self.options.null_score_diff_threshold)

    def judge(self, example: QuestionExample, prediction: QuestionAnswer) -> dict[str, Any]:
        """Put an answer beside those of the file, each with the words around it: before, answer, after."""
        golds = [answer.text for answer in example.answers]
        scores = score_answers([prediction.text], [golds], rules=self.options.answer_rules)
        prediction = replace(prediction, n_best=prediction.n_best[:_CANDIDATES_JUDGED])
        return {
            **prediction.to_dict(),
            "predicted": prediction.text,
            "answers": golds,
            "exact_match": float(scores.exact_match[0]),
            "f1": float(scores.f1[0]),
            "predicted_excerpt": _excerpt(example.context, prediction.start, prediction.end),
            "answer_excerpt": _excerpt(example.context, example.answers[0].start, example.answers[0].end)
            if example.answers
            else None,
        }

    @classmethod
    def line_scores(cls, lines: Sequence[Mapping[str, Any]]) -> dict[str, SummedScore]:
        return {name: mean_score(itemgetter(name)) for name in ("f1", "exact_match")}

    def _spans(self, samples: Samples, logits: Ragged, n_best: int) -> BestSpans:
        assert isinstance(samples, QuestionSamples)
        return find_best_spans(samples, logits, n_best=n_best, max_answer_length=self.options.max_answer_length)

    def _score(
        self, examples: Sequence[QuestionExample], samples: Samples, logits: Ragged
    ) -> tuple[AnswerScores, NDArray[np.float64]]:
        """Judge the best span of each question, whatever the threshold; also the null scores to choose one by."""
        spans = self._spans(samples, logits, 1)
        texts = [
            example.context[start:end]
            for example, start, end in zip(
                examples, spans.starts[:, 0].tolist(), spans.ends[:, 0].tolist(), strict=True
            )
        ]
        golds = [[answer.text for answer in example.answers] for example in examples]
        return score_answers(texts, golds, rules=self.options.answer_rules), spans.null_scores_to_tune

    def _threshold(self, raw: AnswerScores, null_scores: NDArray[np.float64]) -> float | None:
        """The threshold that is settled, or else the best for these questions; None where every one is answered."""
        if self.is_tuned or raw.has_answer.all():
            return self.options.null_score_diff_threshold
        return tune_null_threshold(raw, null_scores)

    def _report(
        self, examples: Sequence[QuestionExample], samples: Samples, logits: Ragged
    ) -> tuple[QuestionAnsweringReport, AnswerScores, NDArray[np.float64]]:
        raw, null_scores = self._score(examples, samples, logits)
        threshold = self._threshold(raw, null_scores)
        report = question_answering_report(
            raw,
            null_scores=None if threshold is None and raw.has_answer.all() else null_scores,
            null_threshold=threshold,
        )
        return report, raw, null_scores


def _describe(check: AnswerCheck, source: str | Path) -> str:
    """Say in a sentence what is odd about a file's answers, and give an example of each kind."""
    counts = Counter(finding.kind for finding in check.findings)
    examples = {finding.kind: finding for finding in reversed(check.findings)}
    told = "; ".join(
        f"{count_of(count, kind.replace('_', ' '))}, such as {examples[kind]}" for kind, count in counts.items()
    )
    return f"{source}: of {count_of(check.num_answers, 'answer')} some do not stand where they are said to: {told}"


def _threshold_curve(raw: AnswerScores, null_scores: NDArray[np.float64]) -> dict[str, list[float]]:
    """Exact match and F1 at thresholds from the lowest null score to the highest."""
    thresholds = np.unique(np.quantile(null_scores, np.linspace(0, 1, _CURVE_POINTS), method="nearest"))
    scores = [apply_null_threshold(raw, null_scores, threshold) for threshold in thresholds.tolist()]
    return {
        "thresholds": thresholds.tolist(),
        "exact_match": [float(score.exact_match.mean()) for score in scores],
        "f1": [float(score.f1.mean()) for score in scores],
    }


def _excerpt(context: str, start: int | None, end: int | None) -> list[str] | None:
    """The words before an answer, the answer, and those after it; None where there is none."""
    if start is None or end is None:
        return None
    return [context[max(0, start - _EXCERPT) : start], context[start:end], context[end : end + _EXCERPT]]
