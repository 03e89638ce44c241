"""What the data doctor looks for: one small function a check, listed here.

A check takes the files of a run (`Subject`) and gives findings. What is wrong with a file before it can be read is told
by `raw`, and what its reader refuses by `readers`.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from unmask.checks import labels, questions, sentences, texts, tokens
from unmask.checks.labels import apply_labels
from unmask.checks.readers import READERS, read_set
from unmask.checks.subject import DataSet, Item, Role, Subject
from unmask.checks.tokens import TokenCounts, count_tokens
from unmask.data import Finding

__all__ = [
    "CHECKS",
    "READERS",
    "Check",
    "DataSet",
    "Item",
    "Role",
    "Subject",
    "TokenCounts",
    "apply_labels",
    "count_tokens",
    "read_set",
]


class Check(NamedTuple):
    """One thing to look for.

    Args:
        find: gives the findings.
        tasks: those it is for.
    """

    find: Callable[[Subject], Iterable[Finding]]
    tasks: tuple[str, ...]


_ALL = tuple(READERS)
_TEXTS = ("classification", "multi-label", "regression")
_CLASSES = ("classification", "multi-label", "tagging")

CHECKS: tuple[Check, ...] = (
    Check(texts.find_empty_texts, _TEXTS),
    Check(texts.find_damaged_text, _ALL),
    Check(texts.find_tokenised, _TEXTS),
    Check(texts.find_duplicates, _ALL),
    Check(texts.find_conflicts, (*_TEXTS, "tagging")),
    Check(texts.find_leaks, _ALL),
    Check(texts.find_near_leaks, _TEXTS),
    Check(texts.find_shared_contexts, ("question-answering",)),
    Check(labels.find_few_examples, _ALL),
    Check(labels.find_one_class, ("classification", "tagging")),
    Check(labels.find_no_labels, ("multi-label",)),
    Check(labels.find_similar_labels, _CLASSES),
    Check(labels.find_unseen_labels, ("classification", "multi-label")),
    Check(sentences.find_unseen_types, ("tagging",)),
    Check(labels.find_rare_labels, _CLASSES),
    Check(labels.find_missing_labels, ("classification", "multi-label")),
    Check(sentences.find_missing_types, ("tagging",)),
    Check(sentences.find_near_schemes, ("tagging",)),
    Check(labels.find_majority, ("classification", "multi-label")),
    Check(labels.find_constant_scores, ("regression",)),
    Check(labels.find_scores_beyond, ("regression",)),
    Check(sentences.find_malformed_spans, ("tagging",)),
    Check(sentences.find_schemes, ("tagging",)),
    Check(sentences.find_long_sentences, ("tagging",)),
    Check(sentences.find_misaligned_spans, ("tagging",)),
    Check(sentences.find_wordless, ("tagging",)),
    Check(questions.find_answers, ("question-answering",)),
    Check(questions.find_long_questions, ("question-answering",)),
    Check(questions.find_ids, ("question-answering",)),
    Check(questions.find_unanswerable, ("question-answering",)),
    Check(questions.find_misaligned_answers, ("question-answering",)),
    Check(tokens.find_unknown_tokens, _ALL),
    Check(tokens.find_cut_texts, _ALL),
    Check(tokens.find_nothing_left, _TEXTS),
    Check(tokens.find_decomposed_text, _ALL),
)
