"""How fast a fine-tuned model answers: unmask beside transformers' pipeline, sentence-transformers and onnxruntime.

All have the same weights and the same texts, and start from strings. The streams:

- cola: the 8,551 sentences of CoLA's training file, 11 tokens each, in one list, in the order of the file;
- mixed: texts of 8 to 512 tokens, every octave alike often, cut out of SQuAD's paragraphs, in random order;
- single: sentences of CoLA, one call each;
- embeddings, embeddings-mixed: the same texts, one vector each (the mean over tokens, of length 1), with MiniLM.

The peers: transformers' text-classification pipeline as it comes, with batches of 1 and of 32; sentence-transformers'
`encode`, with batches of 32; and onnxruntime by hand, as its documentation has it: transformers' fast tokenizer,
batches of 32, padding to the longest, in float and in 8 bits by `quantize_dynamic`. unmask is `pipeline(...)` with
torch, with an exported graph, and with one in 8 bits: both are exported here, behind the gate, on CoLA's own dev set.

Rounds alternate, so that a slow minute of the machine is everybody's; of a batch of 1 every eighth text is timed.
Needs a model fine-tuned on CoLA. Run nothing else beside it:

    .venv/bin/unmask finetune --config recipes/cola-minilm.yaml --data-dir ../shared/data --output-dir runs/cola
    .venv/bin/python benchmarks/predict.py --model runs/cola --data-dir ../shared/data
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import torch
import transformers

from side_by_side import add_common_arguments, alternate, bad_input_exits, versions
from unmask import export, pipeline
from unmask.data.questions import read_questions
from unmask.data.tables import read_table
from unmask.workflows.loading import find_model, load_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

COLA = "cola/in_domain_train.tsv"
COLA_DEV = "cola/in_domain_dev.tsv"
COLA_COLUMNS = ("source", "label", "star", "sentence")
PARAGRAPHS = "squad/dev-v2.0.rebuilt.json"
SHORTEST, LONGEST = 8, 512  # tokens of the mixed stream, special ones included
BATCH_SIZE = 32  # of the peers
EVERY = 8  # text is timed where a peer takes them one by one
STREAMS = ("cola", "mixed", "single", "embeddings", "embeddings-mixed")


@dataclass(frozen=True, kw_only=True)
class Stream:
    """Texts, and who answers them.

    Args:
        texts: in the order they come.
        ours: by name, what answers a list.
        peers: likewise.
        every: of each contender that does not take them all, which texts it takes: every so many.
    """

    texts: Sequence[str]
    ours: dict[str, Callable[[Sequence[str]], Sequence[Any]]]
    peers: dict[str, Callable[[Sequence[str]], Sequence[Any]]]
    every: dict[str, int] = field(default_factory=dict)

    def texts_of(self, contender: str) -> Sequence[str]:
        return self.texts[:: self.every.get(contender, 1)]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_common_arguments(parser)
    parser.add_argument("--model", default="runs/cola", help="a run of fine-tuning on CoLA")
    parser.add_argument("--encoder", default="minilm", help="whose vectors are timed: a folder, or minilm")
    parser.add_argument("--streams", nargs="+", choices=STREAMS, default=list(STREAMS))
    parser.add_argument("--rounds", type=int, default=5, help="alternations, after one that is not counted")
    parser.add_argument("--texts", type=int, help="of the short streams, the first so many; all unless given")
    parser.add_argument("--mixed-texts", type=int, default=512, help="of the streams of mixed lengths")
    options = parser.parse_args(arguments)
    if min(options.rounds, options.threads or 1, options.mixed_texts, options.texts or 1) < 1:
        parser.error("--rounds, --threads, --texts and --mixed-texts are 1 or more")
    if options.threads:
        torch.set_num_threads(options.threads)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with bad_input_exits("predict.py"), tempfile.TemporaryDirectory() as folder:
        result = measure_all(options, Path(folder))
    print(json.dumps(result) if options.json else as_text(result))


def measure_all(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    sentences = read_sentences(options)
    mixed = mixed_texts(options) if {"mixed", "embeddings-mixed"} & set(options.streams) else []
    result: dict[str, Any] = {"ratios": {}, "texts_per_second": {}, "same_labels": {}, "tokens_per_text": {}}
    if {"cola", "mixed", "single"} & set(options.streams):
        exported = {kind: export_to(folder / kind, options, int8=kind == "int8") for kind in ("float32", "int8")}
        result["gate"] = {kind: report["gate"][kind] for kind, report in exported.items()}
        ours, peers, one_by_one = classifiers(options, folder)
        every = dict.fromkeys((*one_by_one, "transformers, batch 1"), EVERY)
    tokenizer = load_tokenizer(find_model(options.model if "gate" in result else options.encoder))
    for name in options.streams:
        if name in ("cola", "mixed"):
            stream = Stream(texts=sentences if name == "cola" else mixed, ours=ours, peers=peers, every=every)
        elif name == "single":
            stream = Stream(
                texts=sentences[::EVERY],
                ours={kind: singly(answer) for kind, answer in ours.items()},
                peers={kind: singly(peers[kind]) for kind in one_by_one},
            )
        else:
            theirs, own = embedders(options)
            stream = Stream(texts=sentences if name == "embeddings" else mixed, ours=own, peers=theirs)
        result["tokens_per_text"][name] = round(
            statistics.mean(len(encoding) for encoding in tokenizer.encode_batch(list(stream.texts)).encodings), 1
        )
        measured = measure(name, stream, options)
        for key, value in measured.items():
            result[key][name] = value
    return result | {"rounds": options.rounds, "onnxruntime": onnxruntime.__version__, **versions()}


def measure(name: str, stream: Stream, options: argparse.Namespace) -> dict[str, Any]:
    """Let all answer a stream in turns."""

    def say(progress: str) -> None:
        if not options.json:
            print(f"{name}: {progress}   ", end="\r", file=sys.stderr)

    answers: dict[str, Sequence[Any]] = {}

    def keeping(contender: str, answer: Callable[[Sequence[str]], Sequence[Any]]) -> Callable[[Sequence[str]], None]:
        def step(texts: Sequence[str]) -> None:
            answers[contender] = answer(texts)

        return step

    contenders = stream.peers | stream.ours
    seconds = alternate(
        {contender: keeping(contender, answer) for contender, answer in contenders.items()},
        [{contender: [stream.texts_of(contender)] for contender in contenders}] * (options.rounds + 1),
        say=say,
    )
    rates = {
        contender: [len(stream.texts_of(contender)) / taken for taken in times] for contender, times in seconds.items()
    }
    reference = next(iter(stream.peers))
    expected = dict(zip(stream.texts_of(reference), answers[reference], strict=True))
    return {
        "ratios": {
            own: {
                peer: round(statistics.median(a / b for a, b in zip(rates[own], rates[peer], strict=True)), 2)
                for peer in stream.peers
            }
            for own in stream.ours
        },
        "texts_per_second": {contender: round(statistics.median(own)) for contender, own in rates.items()},
        "same_labels": {
            own: same(expected, dict(zip(stream.texts_of(own), answers[own], strict=True))) for own in stream.ours
        },
    }


def same(expected: dict[str, Any], given: dict[str, Any]) -> float:
    """The share of labels that are the same; of vectors the largest difference."""
    common = expected.keys() & given.keys()
    if isinstance(next(iter(expected.values())), str):
        return statistics.mean(expected[text] == given[text] for text in common)
    return max(float(np.abs(np.asarray(expected[text]) - np.asarray(given[text])).max()) for text in common)


# The texts.


def read_sentences(options: argparse.Namespace) -> list[str]:
    table = read_table(COLA, data_dir=options.data_dir, column_names=COLA_COLUMNS)
    return table.column("sentence")[: options.texts]


def mixed_texts(options: argparse.Namespace) -> list[str]:
    """Texts cut out of paragraphs, whose lengths have logarithms that are uniform."""
    questions, _ = read_questions(PARAGRAPHS, data_dir=options.data_dir)
    paragraphs = list(dict.fromkeys(question.context for question in questions))
    tokenizer = load_tokenizer(find_model(options.encoder))
    text = " ".join(paragraphs)
    spans = tokenizer.encode(text).offsets[1:-1]
    rng = np.random.default_rng(0)
    lengths = np.exp(rng.uniform(np.log(SHORTEST), np.log(LONGEST), options.mixed_texts)).astype(int) - 2
    starts = rng.integers(0, len(spans) - LONGEST, options.mixed_texts)
    return [
        text[spans[start][0] : spans[start + length - 1][1]]
        for start, length in zip(starts.tolist(), lengths.tolist(), strict=True)
    ]


# Who answers.


def export_to(folder: Path, options: argparse.Namespace, *, int8: bool) -> dict[str, Any]:
    return export(
        options.model,
        output_dir=folder,
        int8=int8,
        data=COLA_DEV,
        data_dir=options.data_dir,
        column_names=COLA_COLUMNS,
        text_column="sentence",
        label_column="label",
    )


def classifiers(options: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], dict[str, Any], tuple[str, ...]]:
    """Ours, the peers, and which of these are asked text by text too."""
    own_folder = find_model(options.model)
    theirs = transformers.pipeline("text-classification", str(own_folder), device="cpu", dtype=torch.float32)
    by_hand = "onnxruntime by hand, float32"
    quantized = "onnxruntime by hand, int8"
    peers = {
        "transformers, batch 32": lambda texts: labels_of(theirs(list(texts), batch_size=BATCH_SIZE)),
        "transformers, batch 1": lambda texts: labels_of(theirs(list(texts), batch_size=1)),
        by_hand: OnnxByHand(folder / "float32" / "model.onnx", own_folder),
        quantized: OnnxByHand(quantize_by_hand(folder), own_folder),
    }
    ours = {"unmask, torch": answering(pipeline("text-classification", own_folder))}
    for precision in ("float32", "int8"):
        exported = pipeline("text-classification", folder / precision, runtime="onnx")
        ours[f"unmask, onnx {precision}"] = answering(exported)
    return ours, peers, ("transformers, batch 1", by_hand, quantized)


def answering(classify: Any) -> Callable[[Sequence[str]], list[str]]:
    return lambda texts: labels_of(classify(list(texts), progress=False))


def singly(answer: Callable[[Sequence[str]], Sequence[Any]]) -> Callable[[Sequence[str]], list[Any]]:
    """Ask text by text."""
    return lambda texts: [answer([text])[0] for text in texts]


def labels_of(results: Sequence[dict[str, Any]]) -> list[str]:
    return [result["label"] for result in results]


class OnnxByHand:
    """A graph asked as most people would: batches in the order of the texts, each padded to its longest."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.labels = transformers.AutoConfig.from_pretrained(folder).id2label
        self.inputs = [given.name for given in self.session.get_inputs()]

    def __call__(self, texts: Sequence[str]) -> list[str]:
        labels = []
        for start in range(0, len(texts), BATCH_SIZE):
            given = self.tokenizer(
                list(texts[start : start + BATCH_SIZE]), padding=True, truncation=True, return_tensors="np"
            )
            [logits] = self.session.run(["logits"], {name: given[name].astype(np.int64) for name in self.inputs})
            labels += [self.labels[label] for label in logits.argmax(-1).tolist()]
        return labels


def quantize_by_hand(folder: Path) -> Path:
    from onnxruntime.quantization import quantize_dynamic

    path = folder / "by-hand.onnx"
    quantize_dynamic(folder / "float32" / "model.onnx", path)
    return path


def embedders(options: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    """The peer that makes vectors, and ours."""
    from sentence_transformers import SentenceTransformer

    own_folder = find_model(options.encoder)
    theirs = SentenceTransformer(str(own_folder), device="cpu")
    ours = pipeline("feature-extraction", own_folder, pooling="mean", normalize=True, return_arrays=True)
    return (
        {
            "sentence-transformers, batch 32": lambda texts: theirs.encode(
                list(texts), batch_size=BATCH_SIZE, normalize_embeddings=True, show_progress_bar=False
            )
        },
        {"unmask, torch": lambda texts: ours(list(texts), progress=False, truncation=True)},
    )


def as_text(result: dict[str, Any]) -> str:
    lines = []
    for name, ratios in result["ratios"].items():
        rates = result["texts_per_second"][name]
        peers = list(next(iter(ratios.values())))
        lines.append(f"{name}: {result['tokens_per_text'][name]} tokens a text; texts a second, beside each peer's")
        lines.append(f"{'':<24}{'texts/s':>9}" + "".join(f"{short(peer):>18}" for peer in peers))
        for own, of_peers in ratios.items():
            lines.append(f"{own:<24}{rates[own]:>9,}" + "".join(f"{of_peers[peer]:>17.2f}x" for peer in peers))
        lines.append(f"{'the peers themselves':<24}{'':>9}" + "".join(f"{rates[peer]:>18,}" for peer in peers))
        agreement = result["same_labels"][name]
        if name.startswith("embeddings"):
            lines.append(f"vectors agree to {max(agreement.values()):.1e}")
        else:
            told = ", ".join(f"{own.removeprefix('unmask, ')} {share:.2%}" for own, share in agreement.items())
            lines.append(f"same labels as transformers: {told}")
        lines.append("")
    for kind, figures in result.get("gate", {}).items():
        lines.append(
            f"gate, {kind}: {figures['agreement']:.2%} of {figures['num_counted']:,} {figures['counted']} the same, "
            f"{figures['metric']} {figures['original_score']:.4f} -> {figures['exported_score']:.4f}"
        )
    lines.append(
        f"medians of {result['rounds']} rounds, {result['threads']} threads, torch {result['torch']}, transformers "
        f"{result['transformers']}, onnxruntime {result['onnxruntime']}"
    )
    return "\n".join(lines)


def short(peer: str) -> str:
    return peer.replace("transformers", "hf").replace("onnxruntime by hand", "ort").replace("sentence-hf", "st")


if __name__ == "__main__":
    main()
