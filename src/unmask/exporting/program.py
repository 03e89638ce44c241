"""The run.py of an exported folder: a program of `programs/` and what they share, as one file that stands alone."""

from __future__ import annotations

import ast
from importlib import resources

__all__ = ["PROGRAMS", "write_program"]

PROGRAMS = {
    "sequence-classification": "classify",
    "token-classification": "tag",
    "question-answering": "find_answer",
    "masked-lm": "fill",
    "causal-lm": "generate",
    "replaced-token": "detect",
    "next-sentence": "judge_pair",
    "encoder": "embed",
}
"""Of each head, a key of `unmask.models.registry.HEADS`, the module that asks it."""

_SHARED = "unmask.exporting.programs.shared"
_FOR_TYPES = "if TYPE_CHECKING:\n    from collections.abc import Callable, Iterable, Iterator, Sequence\n"


def write_program(head: str) -> str:
    """Write the program for a head: its own docstring, the imports of both files, what they share, and what it does."""
    _, shared_imports, shared = _read("shared")
    title, own_imports, own = _read(PROGRAMS[head])
    lines = sorted({*shared_imports, *own_imports}, key=lambda line: (line.startswith("from"), line))
    groups = ["\n".join(line for line in lines if _group(line) == group) for group in range(3)]
    title = f'"""{title}\n\npython run.py --help tells more. It needs onnxruntime, tokenizers and numpy.\n"""'
    return "\n\n".join((title, *groups, f"{_FOR_TYPES}\n{shared}\n", own)) + "\n"


def _read(name: str) -> tuple[str, list[str], str]:
    """A file's docstring, its lines of imports that are not of unmask, and what follows these."""
    source = (resources.files("unmask.exporting.programs") / f"{name}.py").read_text(encoding="utf-8")
    tree = ast.parse(source)
    imports, last = [], 0
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            if not (isinstance(node, ast.ImportFrom) and node.module == _SHARED):
                imports.append(ast.unparse(node))
        elif last and not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            break
        last = node.end_lineno or 0
    return ast.get_docstring(tree) or "", imports, "\n".join(source.splitlines()[last:]).strip()


def _group(line: str) -> int:
    """Where an import stands: what Python is told of the future, its own library, others."""
    module = line.split()[1].partition(".")[0]
    return {"__future__": 0, "numpy": 2, "onnxruntime": 2, "tokenizers": 2}.get(module, 1)
