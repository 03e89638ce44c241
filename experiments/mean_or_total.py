"""Words of one, two and three pieces behind a mask: are they found by the mean or the total of their log-probabilities?

    .venv/bin/python experiments/mean_or_total.py --data-dir ../shared/data --model runs/english

A word of a novel that the model has not read is hidden, and the model chooses among it and six others of those novels,
two of each number of pieces.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from unmask.filling import Comparison
from unmask.workflows.fill import fill_jointly, load_masked_lm

if TYPE_CHECKING:
    from unmask.tokenization import Tokenizer

NOVELS = ("145_middlemarch", "2701_moby_dick", "1342_pride_and_prejudice")
PIECES = (1, 2, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("UNMASK_DATA_DIR") or Path("../shared/data"))
    parser.add_argument("--model", required=True, help="a masked language model")
    parser.add_argument("--words", type=int, default=40, help="hidden words of each number of pieces")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    rng = random.Random(0)
    pretrained = load_masked_lm(options.model)
    hidden, others = choose(pretrained.tokenizer, Path(options.data_dir) / "text_en" / "gutenberg", options.words, rng)
    found = {compare: dict.fromkeys(PIECES, 0) for compare in get_args(Comparison)}
    for pieces, items in hidden.items():
        for text, word in items:
            candidates = [word, *(rng.choice(others[count]) for count in (1, 1, 2, 2, 3, 3))]
            for compare, counts in found.items():
                [best] = fill_jointly(text, model=pretrained, candidates=candidates, top_k=1, compare=compare)
                counts[pieces] += best.words[0].word == word
    if options.json:
        print(json.dumps({"words": {pieces: len(items) for pieces, items in hidden.items()}, "found": found}))
    else:
        for compare, counts in found.items():
            print(f"by the {compare}: {counts}, {sum(counts.values())} of {sum(map(len, hidden.values()))}")


def choose(
    tokenizer: Tokenizer, folder: Path, count: int, rng: random.Random
) -> tuple[dict[int, list[tuple[str, str]]], dict[int, list[str]]]:
    """Choose sentences with a word to hide, by the number of its pieces, and gather other words of the novels."""
    text = " ".join((folder / f"{name}.txt").read_text(encoding="utf-8", errors="ignore") for name in NOVELS)
    sentences = re.findall(r'[A-Z][^.!?"]{30,90}[.]', re.sub(r"\s+", " ", text))
    rng.shuffle(sentences)
    hidden: dict[int, list[tuple[str, str]]] = {pieces: [] for pieces in PIECES}
    others: dict[int, list[str]] = {pieces: [] for pieces in PIECES}
    for sentence in sentences:
        if len(tokenizer.encode(sentence)) > 24:
            continue
        words = [match for match in re.finditer(r"[A-Za-z]+", sentence) if len(match[0]) > 2]
        by_pieces: dict[int, list[re.Match[str]]] = {}
        for match in words:
            pieces = len(tokenizer.encode(match[0], add_special_tokens=False))
            if pieces in PIECES:
                by_pieces.setdefault(pieces, []).append(match)
                others[pieces].append(match[0])
        for pieces, matches in by_pieces.items():
            if len(hidden[pieces]) < count:
                match = rng.choice(matches)
                hidden[pieces].append((f"{sentence[: match.start()]}[MASK]{sentence[match.end() :]}", match[0]))
        if all(len(items) == count for items in hidden.values()):
            break
    return hidden, others


if __name__ == "__main__":
    main()
