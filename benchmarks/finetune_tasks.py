"""Fine-tuning speed on tags, pairs and questions: unmask beside transformers with dynamic padding, in one process.

Both start from the same weights and take whole training steps: forward, backward, clipping, AdamW, dropout active.

- tagging: parts of speech, Universal Dependencies' English training file, 32 sentences a step;
- pairs: paraphrase or not, MRPC's training file, 32 pairs a step;
- questions: SQuAD 2.0's dev file, the first 25 of its articles by title, 16 questions a step, in windows of 384 tokens
  that overlap by about 128;
- similarity (only if named): scores of STS-B's training file, 32 pairs a step.

transformers is `BertForTokenClassification` and its siblings, with attention "sdpa", as they come, fed as its data
collators do: each batch padded to its own longest sequence; clipped with `clip_grad_norm_`, updated by the AdamW its
Trainer has unless told otherwise ("adamw_torch_fused" since torch 2.8). It pads whole arrays at once, where its
collators loop over lists. unmask is the step of `unmask finetune`: packed, restricted to the words of the training
file.

Rounds alternate, so that a slow minute of the machine is everybody's; in each both take the same examples, in the same
random batches. `--length-grouped` gives transformers batches of like length, made by its own function for that, and us
the same examples of each round shuffled among its batches. Peak memory is measured in a process of its own for each.
Run nothing else beside it:

    .venv/bin/python benchmarks/finetune_tasks.py --data-dir ../shared/data
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from transformers.trainer_pt_utils import get_length_grouped_indices

from side_by_side import (
    add_common_arguments,
    alternate,
    bad_input_exits,
    clear_peak_memory,
    load_quietly,
    pad_sequences,
    peak_memory,
    peak_memory_of,
    peer_optimizer,
    transformers_step,
    unmask_step,
    versions,
)
from unmask import load
from unmask.models.registry import export_weights
from unmask.ragged import ranges
from unmask.tasks import IGNORED, TASKS, Columns, FineTuning, Reading, TaskOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor, nn

    from unmask.ragged import Ragged
    from unmask.tasks import Samples, Task

CONTENDERS = ("transformers", "unmask")
NUM_ARTICLES = 25


# Targets as transformers' models take them, for sequences padded to a shape.


def pad_tags(targets: Ragged, rows: Ragged | None, shape: tuple[int, int]) -> dict[str, Tensor]:
    """A label for each token, -100 where there is none."""
    assert rows is not None
    labels = torch.full(shape, IGNORED)
    owners = np.repeat(np.arange(len(rows)), rows.lengths)
    labels[torch.from_numpy(owners), torch.from_numpy(rows.values)] = torch.from_numpy(targets.values)
    return {"labels": labels}


def one_each(targets: Ragged, rows: Ragged | None, shape: tuple[int, int]) -> dict[str, Tensor]:
    """A label or a score for each sequence."""
    return {"labels": torch.from_numpy(targets.values)}


def answer_places(targets: Ragged, rows: Ragged | None, shape: tuple[int, int]) -> dict[str, Tensor]:
    """The answer's first and last token; the length, which that model ignores, where there is none to learn."""
    places = torch.from_numpy(np.where(targets.values == IGNORED, shape[1], targets.values)).view(-1, 2)
    return {"start_positions": places[:, 0], "end_positions": places[:, 1]}


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of fine-tuning.

    Args:
        task: a key of `TASKS`.
        peer: the class of transformers that learns the same.
        source: what from, in the data folder.
        columns: of that file.
        options: of the task.
        batch_size: examples a step.
        targets_of: makes of targets what that class takes.
    """

    task: str
    peer: str
    source: str
    columns: Columns = field(default_factory=Columns)
    options: TaskOptions = field(default_factory=TaskOptions)
    batch_size: int = 32
    targets_of: Callable[[Ragged, Ragged | None, tuple[int, int]], dict[str, Tensor]] = one_each


KINDS = {
    "tagging": Kind(
        task="tagging",
        peer="BertForTokenClassification",
        source="ud_english_ewt/en_ewt-ud-train.conllu.gz",
        targets_of=pad_tags,
    ),
    "pairs": Kind(
        task="classification",
        peer="BertForSequenceClassification",
        source="glue/MRPC/train.tsv",
        columns=Columns(text="#1 String", text_pair="#2 String", label="Quality"),
    ),
    "questions": Kind(
        task="question-answering",
        peer="BertForQuestionAnswering",
        source="squad/dev-v2.0.rebuilt.json",
        # From one window's start to the next. transformers' doc_stride is how far two overlap: with the 13 tokens of
        # most questions, windows of 384 hold 368 of the text, and overlap by 128.
        options=TaskOptions(max_seq_length=384, doc_stride=240),
        batch_size=16,
        targets_of=answer_places,
    ),
    "similarity": Kind(
        task="regression",
        peer="BertForSequenceClassification",
        source="glue/STS-B/train.tsv",
        columns=Columns(text="sentence1", text_pair="sentence2", label="score"),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Contest:
    """What both train on."""

    kind: Kind
    model: str
    task: Task[Any]
    samples: Samples

    @classmethod
    def read(cls, kind: Kind, options: argparse.Namespace) -> Contest:
        """Read and encode the examples.

        Raises:
            UnmaskError: the data or the model is missing, or broken.
        """
        reading = Reading(columns=kind.columns, data_dir=options.data_dir, options=kind.options)
        examples = TASKS[kind.task].read(kind.source, reading)
        if kind.task == "question-answering":
            titles = sorted({example.title for example in examples})[:NUM_ARTICLES]
            examples = [example for example in examples if example.title in titles]
        task = TASKS[kind.task].for_training(examples, kind.options)
        pretrained = load(options.model)
        max_seq_length = min(kind.options.max_seq_length or pretrained.max_seq_length, pretrained.max_seq_length)
        samples = task.encode(examples, pretrained.tokenizer, max_seq_length=max_seq_length)
        return cls(kind=kind, model=options.model, task=task, samples=samples)

    @property
    def objective(self) -> FineTuning:
        return FineTuning(self.task, self.samples, self.samples, seed=0)

    def new_models(self) -> dict[str, nn.Module]:
        """Load the model twice, each time with the same new head on it."""
        ours = load(self.model, head=self.task.head, id2label=self.task.id2label, allow_new_head=True)
        peer = load_quietly(
            self.kind.peer, ours.folder, num_labels=len(self.task.id2label), problem_type=self.task.problem_type
        )
        missing, unexpected = peer.load_state_dict(export_weights(ours.model)[1], strict=False)
        assert not missing, missing
        assert not unexpected, unexpected
        return {"transformers": peer, "unmask": ours.model}

    def make_step(self, contender: str, model: nn.Module) -> Callable[[np.ndarray], None]:
        if contender == "unmask":
            return unmask_step(model, self.objective, self.samples)
        return transformers_step(model, self.pad_batch)

    def sequences_of(self, indices: np.ndarray) -> np.ndarray:
        """The sequences of these samples, each a sample's only one or one of its windows."""
        windows = self.samples.windows
        return indices if windows is None else ranges(windows[indices], self.samples.num_windows[indices])

    def pad_batch(self, indices: np.ndarray) -> dict[str, Tensor]:
        """Pad samples to the longest sequence among them, with their targets."""
        samples, sequences = self.samples, self.sequences_of(indices)
        assert samples.targets is not None
        inputs = pad_sequences(samples, sequences)
        rows = None if samples.rows is None else samples.rows.take(sequences)
        num_rows, length = inputs["input_ids"].shape
        return inputs | self.kind.targets_of(samples.targets.take(indices), rows, (num_rows, length))

    def padded_size(self, indices: np.ndarray) -> int:
        """Tokens of such a batch, padding included."""
        lengths = self.samples.input_ids.lengths[self.sequences_of(indices)]
        return len(lengths) * int(lengths.max())


def plan_rounds(
    contest: Contest, *, rounds: int, steps: int, is_length_grouped: bool
) -> list[dict[str, list[np.ndarray]]]:
    """Say which batches each contender takes in each round; examples come again once all have been.

    Args:
        contest: what is trained on.
        rounds: how many there are.
        steps: of a round.
        is_length_grouped: whether transformers takes sequences of like length together.
    """
    samples, size, rng = contest.samples, contest.kind.batch_size, np.random.default_rng(0)
    order = rng.permutation(len(samples))
    if is_length_grouped:
        # A question stands where its longest window does: that is what others are padded to.
        windows = np.arange(len(samples)) if samples.windows is None else samples.windows[:-1]
        longest = np.maximum.reduceat(samples.input_ids.lengths, windows).tolist()
        order = np.array(get_length_grouped_indices(longest, size, generator=torch.Generator().manual_seed(0)))
    whole = order[: max(size, len(order) // size * size)]
    batches = np.split(whole, range(size, len(whole), size))
    turns = rng.permutation(len(batches))
    plan = []
    for number in range(rounds):
        theirs = [batches[turns[i % len(turns)]] for i in range(number * steps, (number + 1) * steps)]
        ours = theirs
        if is_length_grouped:
            ours = np.split(rng.permutation(np.concatenate(theirs)), steps)  # all batches are of one size
        plan.append({"transformers": theirs, "unmask": ours})
    return plan


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_common_arguments(parser)
    parser.add_argument("--model", default="minilm", help="a BERT: a folder, a hub id, or minilm")
    parser.add_argument("--tasks", nargs="+", choices=KINDS, default=["tagging", "pairs", "questions"])
    parser.add_argument("--rounds", type=int, default=8, help="alternations, after one that is not counted")
    parser.add_argument("--steps", type=int, default=4, help="of each contender in a round")
    parser.add_argument("--length-grouped", action="store_true", help="give transformers batches of like length")
    parser.add_argument("--memory", action="store_true", help="measure peak memory too")
    parser.add_argument("--memory-of", choices=CONTENDERS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if min(options.rounds, options.steps, options.threads or 1) < 1:
        parser.error("--rounds, --steps and --threads are 1 or more")
    if options.threads:
        torch.set_num_threads(options.threads)
    with bad_input_exits("finetune_tasks.py"):
        contests = {name: Contest.read(KINDS[name], options) for name in options.tasks}  # all, before any is measured
        if options.memory_of:
            print(own_peak_memory(contests[options.tasks[0]], options))
            return
        measured = {name: measure(name, contest, options) for name, contest in contests.items()}
    columns = next(iter(measured.values()))
    result: dict[str, Any] = {column: {name: row[column] for name, row in measured.items()} for column in columns}
    result |= {
        "length_grouped": options.length_grouped,
        "peer_optimizer": peer_optimizer(),
        **versions(),
    }
    print(json.dumps(result) if options.json else as_text(result))


def measure(name: str, contest: Contest, options: argparse.Namespace) -> dict[str, Any]:
    """Let both train."""

    def say(progress: str) -> None:
        if not options.json:
            print(f"{name}: {progress}   ", end="\r", file=sys.stderr)

    plan = plan_rounds(
        contest, rounds=options.rounds + 1, steps=options.steps, is_length_grouped=options.length_grouped
    )
    models = contest.new_models()
    agreement = compare(contest, models, plan[0]["unmask"][0])
    steps = {contender: contest.make_step(contender, model) for contender, model in models.items()}
    seconds = alternate(steps, plan, say=say)
    ratios = [theirs / ours for theirs, ours in zip(seconds["transformers"], seconds["unmask"], strict=True)]
    batches = [batch for own in plan[1:] for batch in own["transformers"]]
    num_tokens = int(sum(contest.samples.lengths[batch].sum() for batch in batches))
    result = {
        "ratios": round(statistics.median(ratios), 2),
        "ratio_ranges": [round(min(ratios), 2), round(max(ratios), 2)],
        "real_tokens_per_second": {contender: round(num_tokens / sum(times)) for contender, times in seconds.items()},
        "tokens_per_step": round(num_tokens / len(batches)),
        "padding": round(1 - num_tokens / sum(map(contest.padded_size, batches)), 3),
        **agreement,
    }
    if options.memory:
        del models, steps
        result["peak_memory_mib"] = {contender: measure_memory(contender, name, options) for contender in CONTENDERS}
    return result


def compare(contest: Contest, models: dict[str, nn.Module], indices: np.ndarray) -> dict[str, float]:
    """The same batch, dropout off: how far the losses lie apart, and the norms of all gradients by fractions of them.

    The softmax over a window's tokens of `BertForQuestionAnswering` counts the padding too. Here its logits have -inf
    there; "padding_in_peer_loss" is how much its own loss lies above.
    """
    ours, theirs = models["unmask"].eval(), models["transformers"].eval()
    batch, inputs = contest.objective.collate(indices.tolist(), epoch=0), contest.pad_batch(indices)
    our_loss = contest.objective.compute_loss(ours, batch)[0] / batch.num_targets[0]
    outputs = theirs(**inputs)
    their_loss = outputs.loss
    if "start_positions" in inputs:
        is_padding, ignored = inputs["attention_mask"] == 0, inputs["input_ids"].shape[1]
        their_loss = (
            sum(
                F.cross_entropy(logits.masked_fill(is_padding, -torch.inf), positions, ignore_index=ignored)
                for logits, positions in (
                    (outputs.start_logits, inputs["start_positions"]),
                    (outputs.end_logits, inputs["end_positions"]),
                )
            )
            / 2
        )
    norms = []
    for model, loss in ((ours, our_loss), (theirs, their_loss)):
        loss.backward()
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        norms.append(torch.nn.utils.get_total_norm(gradients).item())
        model.zero_grad()
    return {
        "loss_difference": abs(our_loss.item() - their_loss.item()),
        "gradient_norm_difference": abs(norms[0] / norms[1] - 1),
        "padding_in_peer_loss": outputs.loss.item() - their_loss.item(),
    }


def measure_memory(contender: str, name: str, options: argparse.Namespace) -> int:
    arguments = ["--data-dir", options.data_dir, "--model", options.model, "--tasks", name, "--steps", options.steps]
    arguments += ["--threads", options.threads] if options.threads else []
    arguments += ["--length-grouped"] if options.length_grouped else []
    return peak_memory_of(__file__, [*map(str, arguments), "--memory-of", contender])


def own_peak_memory(contest: Contest, options: argparse.Namespace) -> int:
    """Take the steps of one round: the most memory that this process, which does nothing else, had meanwhile."""
    [plan] = plan_rounds(contest, rounds=1, steps=options.steps, is_length_grouped=options.length_grouped)
    model = contest.new_models()[options.memory_of]  # the other one is gone
    step = contest.make_step(options.memory_of, model)
    clear_peak_memory()
    for batch in plan[options.memory_of]:
        step(batch)
    return peak_memory()


def as_text(result: dict[str, Any]) -> str:
    memory = result.get("peak_memory_mib", {})
    title = f"{'':<13}{'transformers':>14}{'unmask':>10}{'unmask is':>12}{'rounds':>15}{'padding':>10}"
    lines = [title + (f"{'peak memory, MiB':>20}" if memory else "")]
    for name, ratio in result["ratios"].items():
        rates, (least, most) = result["real_tokens_per_second"][name], result["ratio_ranges"][name]
        spread = f"{least:.2f}-{most:.2f}x"
        line = f"{name:<13}{rates['transformers']:>14,}{rates['unmask']:>10,}{ratio:>11.2f}x{spread:>15}"
        line += f"{result['padding'][name]:>10.0%}"
        if memory:
            line += f"{memory[name]['transformers']:>12,} / {memory[name]['unmask']:,}"
        lines.append(line)
    batches = "batches of like length" if result["length_grouped"] else "random batches"
    lines += [
        "real tokens a second, the median ratio of the rounds, and the padding that transformers computes on",
        f"losses agree to {max(result['loss_difference'].values()):.1e}, gradient norms to "
        f"{max(result['gradient_norm_difference'].values()):.1e}; the peer takes {batches} and uses "
        f"{result['peer_optimizer']}",
    ]
    if "questions" in result["ratios"]:
        lines.append(
            "of questions that is with its padding masked: its own loss counts padding in the softmax, "
            f"{result['padding_in_peer_loss']['questions']:+.3f} on an untrained head"
        )
    lines.append(f"{result['threads']} threads, torch {result['torch']}, transformers {result['transformers']}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
