"""The command `unmask`: it finds the command that was named, and turns errors into one line and an exit code."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

from unmask.errors import UnmaskError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["main"]

# Name, the module of unmask.cli whose `run` does it, and what it does. Kept as text so that help answers at once.
_COMMANDS = {
    "pretrain": ("pretrain", "pretrain a model on raw text, a new one or further, write a report"),
    "check": ("check", "look at labelled files before a model learns from them: what is wrong, where, what to do"),
    "finetune": ("finetune", "fine-tune a pretrained model on labelled texts, evaluate it, write a report"),
    "search": ("search", "try many settings of a fine-tuning run, keep the best by dev"),
    "evaluate": ("evaluate", "score a fine-tuned model on a labelled file"),
    "compare": ("compare", "tell whether two fine-tuning runs differ, by their answers on the same dev set"),
    "predict": ("predict", "label texts with a fine-tuned model"),
    "fill": ("fill", "guess the words behind [MASK]"),
    "score": ("score", "tell which sentences a masked language model finds likely; judge minimal pairs"),
    "embed": ("embed", "turn each text of a file into a vector"),
    "mask": ("mask", "show how a text is masked for pretraining, token by token"),
    "generate": ("generate", "go on from a text with a GPT"),
    "export": ("export", "write a folder that runs without torch, once it agrees with the original"),
    "serve": ("serve", "answer requests over HTTP, for several models at once"),
    "inspect": ("inspect", "look into a model: attention, embeddings, layers, what moves a prediction"),
    "tokenize": ("tokenize", "show how a text becomes tokens, step by step"),
    "corpus": ("corpus", "tokenize text for pretraining, once, into a store; look into one"),
    "tokenizer": ("tokenizer", "train a tokenizer on files of text, or report how one does"),
    "params": ("params", "count models' parameters by part, memory and arithmetic, from their configs"),
    "report": ("report", "write the report of a run again"),
    "demo": ("demo", "fine-tune the pretrained MiniLM on the embedded data set, and try it"),
}

_HELP = """\
usage: unmask COMMAND [OPTIONS]      unmask COMMAND --help tells all of a command

unmask takes a BERT-family language model through its whole life, and never computes on padding.

commands:
{commands}

start here:
  unmask demo
  unmask tokenize "During the hackathon we slept" --model minilm
  unmask finetune classification --train train.tsv --output-dir runs/mine
  unmask predict runs/mine "They drank the pub."

exit codes: 0 done, 2 usage, 3 bad data or checkpoint, 4 a gate failed, 130 interrupted (with a saved checkpoint)
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_HELP.format(commands="\n".join(f"  {name:<10}{what}" for name, (_, what) in _COMMANDS.items())))
        return 0
    if arguments[0] == "--version":
        from importlib.metadata import version

        print(f"unmask {version('unmask')}")
        return 0
    name, *rest = arguments
    if name not in _COMMANDS:
        print(f"unmask: there is no command {name!r}; unmask --help lists them", file=sys.stderr)
        return 2
    try:
        with _terminated_like_interrupted():
            importlib.import_module(f"unmask.cli.{_COMMANDS[name][0]}").run(rest)
    except UnmaskError as error:
        print(f"unmask {name}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"unmask {name}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        print(f"unmask {name}: {error}", file=sys.stderr)
        return 3
    return 0


@contextlib.contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Have SIGTERM undo what is half-written, as ctrl-C does, where a command has no better way of its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
