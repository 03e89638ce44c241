"""Text to ids and back: see `Tokenizer`, and `explain` for what happens on the way."""

from unmask.tokenization.encoding import BatchEncoding, Encoding, Padding, Truncation
from unmask.tokenization.explain import ExplainedText, Explanation, Word, explain
from unmask.tokenization.tokenizer import Tokenizer

__all__ = [
    "BatchEncoding",
    "Encoding",
    "ExplainedText",
    "Explanation",
    "Padding",
    "Tokenizer",
    "Truncation",
    "Word",
    "explain",
]
