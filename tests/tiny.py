"""A tiny random BERT, its words, labelled sentences of them, and the command line called in this process."""

from __future__ import annotations

import csv
import json
import os
import random
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from unmask.cli.main import main
from unmask.models.bert import BertConfig
from unmask.models.registry import build_model
from unmask.tokenization import Tokenizer
from unmask.workflows.loading import save_pretrained

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

DETERMINERS = {"this": "s", "that": "s", "these": "p", "those": "p"}
WORDS = """
dog cat bird horse child girl boy king queen farmer doctor nurse pilot writer singer painter baker sailor tiger rabbit
sleep run sing jump eat laugh cry swim walk talk read write think dream wait
the a in on under near and not is was house garden river forest quickly slowly today now often never
"""
NOUNS, VERBS, OTHERS = map(str.split, WORDS.strip().splitlines())
UNSEEN_NOUNS, UNSEEN_VERBS = ["wizard", "dragon", "castle"], ["glow", "vanish"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCABULARY = [
    *SPECIAL,
    *"!\"',-.;?|",
    *DETERMINERS,
    *NOUNS,
    *VERBS,
    *OTHERS,
    *UNSEEN_NOUNS,
    *UNSEEN_VERBS,
    "##s",
    "##es",
    "##ing",
]

SIZES: dict[str, Any] = {
    "vocab_size": len(VOCABULARY),
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
}
QUICK = ("--epochs", "2", "--global-batch-size", "8", "--learning-rate", "1e-3", "--device", "cpu")

REFUSING_TORCH = """
import sys

class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers", "sklearn"):
            raise ImportError(f"{name} is not to be imported")

sys.meta_path.insert(0, Refusing())
"""

Row = tuple[str, str]  # sentence, label


def save_tiny_bert(folder: Path, head: str = "encoder", *, seed: int = 3, **changes: Any) -> Path:
    """Save a random model that knows `VOCABULARY`, in Hugging Face's layout."""
    vocab_file = folder.with_name(f"{folder.name}-vocab.txt")
    vocab_file.parent.mkdir(parents=True, exist_ok=True)
    vocab_file.write_text("".join(f"{word}\n" for word in VOCABULARY))
    model = build_model(BertConfig(**SIZES | changes), head, seed=seed)
    save_pretrained(model, Tokenizer.from_vocab(vocab_file), folder)
    return folder


def sentences(count: int, *, seed: int, nouns: Sequence[str] = NOUNS, verbs: Sequence[str] = VERBS) -> list[Row]:
    """Sentences like "these dogs sleep near the house.", good where determiner and noun agree, half of them bad."""
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        determiner, noun, verb = rng.choice(list(DETERMINERS)), rng.choice(nouns), rng.choice(verbs)
        is_good = number % 2 == 0
        is_plural = (DETERMINERS[determiner] == "p") == is_good
        rest = " ".join(rng.sample(OTHERS, rng.randrange(4)))
        text = f"{determiner} {noun}{'s' if is_plural else ''} {verb} {rest}".strip() + "."
        rows.append((text, "good" if is_good else "bad"))
    return rows


def write_rows(path: Path, rows: Sequence[Row], *, header: tuple[str, str] | None = ("sentence", "label")) -> Path:
    """Write labelled sentences in the format of the file's name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tsv":
        path.write_text("".join("\t".join(row) + "\n" for row in ([header] if header else []) + list(rows)))
    elif path.suffix == ".csv":
        with path.open("w", newline="") as file:
            csv.writer(file).writerows(([header] if header else []) + list(rows))
    elif path.suffix == ".jsonl":
        assert header
        path.write_text("".join(json.dumps(dict(zip(header, row, strict=True))) + "\n" for row in rows))
    else:
        import pyarrow
        import pyarrow.parquet

        assert header
        columns = dict(zip(header, map(list, zip(*rows, strict=True)), strict=True))
        pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


def unmask(*arguments: object) -> int:
    """Run a command as the shell would; its exit code."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as end:  # of the parser: a usage error, or --help
        return int(end.code or 0)


def without_torch(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a program in a process where whoever imports torch fails."""
    return subprocess.run(
        [sys.executable, "-c", REFUSING_TORCH + program, *map(str, arguments)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        check=False,
    )


def make_workplace(folder: Path) -> Path:
    """A folder with bert/, a random encoder, and train.tsv, dev.tsv and test.tsv, the latter two with unseen words."""
    save_tiny_bert(folder / "bert")
    write_rows(folder / "train.tsv", sentences(61, seed=1))
    for name, seed in (("dev", 2), ("test", 3)):
        rows = sentences(17, seed=seed, nouns=[*NOUNS[:5], *UNSEEN_NOUNS], verbs=[*VERBS[:5], *UNSEEN_VERBS])
        write_rows(folder / f"{name}.tsv", rows)
    return folder


def finetune_tiny(place: Path, output_dir: Path, *arguments: object) -> int:
    """Fine-tune a workplace's model on its files, 16 steps; later arguments override."""
    files = ("--model", place / "bert", "--train", place / "train.tsv", "--dev", place / "dev.tsv")
    return unmask("finetune", *files, "--output-dir", output_dir, *QUICK, *arguments)


def weights_of(run: Path) -> bytes:
    return (run / "model" / "model.safetensors").read_bytes()


def everything_in(folder: Path) -> dict[str, bytes]:
    """Every file of a folder with its bytes, to prove that nothing changed."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
