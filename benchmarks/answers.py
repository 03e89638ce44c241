"""From logits to answers: SQuAD 2.0's whole dev file, unmask beside the loops of `run_squad.py`.

Both take the same random logits of all windows of all questions (MiniLM's tokenizer, windows of 384 tokens that start
every 128), find the 20 best answers of each, of 30 tokens at most, and turn them into texts with probabilities. The
loops pair the 20 best starts of each window with its 20 best ends, question by question, as `run_squad.py` and the
examples of transformers do; unmask compares all spans of all windows at once. Rounds alternate. Told beside the ratio
are the seconds of every step of an evaluation but the model's own. Run nothing else beside it:

    .venv/bin/python benchmarks/answers.py --data-dir ../shared/data
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from side_by_side import add_common_arguments, alternate, bad_input_exits
from unmask.ragged import Ragged
from unmask.tasks import QuestionAnswering, Reading, TaskOptions
from unmask.workflows.loading import load_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from unmask.data.questions import QuestionExample
    from unmask.tasks.question_windows import QuestionSamples

N_BEST, LONGEST = 20, 30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_common_arguments(parser)
    parser.add_argument("--model", default="minilm", help="whose tokenizer: a folder, a hub id, or minilm")
    parser.add_argument("--source", default="squad/dev-v2.0.rebuilt.json", help="the file of questions")
    parser.add_argument("--rounds", type=int, default=4, help="alternations, after one that is not counted")
    options = parser.parse_args()
    with bad_input_exits("answers"):
        result = measure(options)
    print(json.dumps(result) if options.json else as_text(result))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    seconds: dict[str, float] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        done = work()
        seconds[name] = time.perf_counter() - start
        return done

    reading, tokenizer = Reading(data_dir=options.data_dir), load_tokenizer(options.model)
    examples = timed("read", lambda: QuestionAnswering.read(options.source, reading))
    task = QuestionAnswering.for_training(
        examples, TaskOptions(doc_stride=128, n_best_size=N_BEST, max_answer_length=LONGEST)
    )
    samples = timed("encode", lambda: task.encode(examples, tokenizer, max_seq_length=384))
    values = np.random.default_rng(0).normal(size=(len(samples.input_ids.values), 2)).astype(np.float32)
    logits = Ragged(values, np.concatenate(([0], samples.lengths.cumsum())))
    tuned = timed("tune the null threshold", lambda: task.tuned(examples, samples, logits))
    timed("score", lambda: tuned.score(examples, samples, logits))
    answers: dict[str, list[str]] = {}

    def ours(_: None) -> None:
        answers["unmask"] = [answer.text for answer in tuned.predict(examples, samples, logits)]

    def loops(_: None) -> None:
        threshold = tuned.options.null_score_diff_threshold
        answers["loops"] = predict_by_loops(
            examples, samples, logits, threshold=0.0 if threshold is None else threshold
        )

    taken = alternate(
        {"unmask": ours, "loops": loops},
        [{"unmask": [None], "loops": [None]}] * (options.rounds + 1),
        say=lambda progress: print(progress, end="\r", file=sys.stderr) if sys.stderr.isatty() else None,
    )
    seconds["answer, the 20 best each"] = statistics.median(taken["unmask"])
    ratios = [theirs / own for theirs, own in zip(taken["loops"], taken["unmask"], strict=True)]
    return {
        "questions": len(examples),
        "windows": len(samples.input_ids),
        "seconds": seconds,
        "loops_seconds": statistics.median(taken["loops"]),
        "ratios": {"run_squad_loops": round(statistics.median(ratios), 2)},
        "same_answers": statistics.mean(a == b for a, b in zip(answers["unmask"], answers["loops"], strict=True)),
    }


def predict_by_loops(
    examples: Sequence[QuestionExample], samples: QuestionSamples, logits: Ragged, *, threshold: float
) -> list[str]:
    """The answers as `run_squad.py` finds them, one question and one window after another."""
    assert samples.windows is not None
    texts = []
    for number, example in enumerate(examples):
        found: list[tuple[float, int, int]] = []
        none, row = np.inf, logits[number]
        base = samples.input_ids.offsets[samples.windows[number]]
        for window in range(samples.windows[number], samples.windows[number + 1]):
            start, end = row[slice(*(samples.input_ids.offsets[window : window + 2] - base))].T
            none = min(none, float(start[0] + end[0]))
            first, count = int(samples.first_rows[window]), int(samples.num_context_tokens[window])
            shift = int(samples.context_offsets[samples.contexts[number]] + samples.first_tokens[window]) - first
            for begin in np.argsort(start)[-1 : -N_BEST - 1 : -1].tolist():
                for stop in np.argsort(end)[-1 : -N_BEST - 1 : -1].tolist():
                    if not first <= begin <= stop < min(first + count, begin + LONGEST):
                        continue
                    if samples.may_start[begin + shift] and samples.may_end[stop + shift]:
                        found.append((float(start[begin] + end[stop]), begin + shift, stop + shift))
        found.sort(key=lambda span: -span[0])
        best = [
            (score, example.context[samples.spans[begin, 0] : samples.spans[stop, 1]])
            for score, begin, stop in found[:N_BEST]
        ]
        scores = np.array([score for score, _ in best] + [none])
        shares = np.exp(scores - scores.max())
        shares /= shares.sum()
        texts.append(best[0][1] if best and none - best[0][0] <= threshold else "")
    return texts


def as_text(result: dict[str, Any]) -> str:
    lines = [f"{result['questions']:,} questions, {result['windows']:,} windows"]
    lines += [f"{name:<26}{seconds:>6.1f} s" for name, seconds in result["seconds"].items()]
    ratio, same = result["ratios"]["run_squad_loops"], result["same_answers"]
    lines.append(f"the loops take {result['loops_seconds']:.1f} s to answer: unmask is {ratio:.1f}x as fast")
    lines.append(f"the same answer to {same:.1%}; the loops miss spans that begin or end at no 20 best token")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
