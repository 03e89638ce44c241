"""What a masked language model says of words it does not see: one mask, several together, words of several pieces,
and whole sentences, a token at a time.

Everything here is plain numpy over steps (`unmask.runtimes.Steps`): generators that yield samples to be computed and
are sent what a runtime made of them. So one code serves torch, ONNX, and a server that batches what many ask.
"""

from unmask.filling.candidates import score_candidates
from unmask.filling.search import Comparison, FilledWord, Filling, search_fillings
from unmask.filling.sentences import SentenceScore, Variant, score_sentences
from unmask.filling.texts import TextWithMasks

__all__ = [
    "Comparison",
    "FilledWord",
    "Filling",
    "SentenceScore",
    "TextWithMasks",
    "Variant",
    "score_candidates",
    "score_sentences",
    "search_fillings",
]
