"""From raw documents to training sequences, and what is learned from them.

Text goes `corpora` -> `filters` -> `sentences` -> `building` -> `store`. What needs torch is imported from its own
module, so that reading and tokenizing text does not wait for it.
"""

from unmask.pretraining.building import BuildProgress, build_store
from unmask.pretraining.corpora import Document, list_sources, read_documents
from unmask.pretraining.filters import FILTERS
from unmask.pretraining.sentences import Language, split_sentences
from unmask.pretraining.store import SourceInfo, StoreInfo, TokenStore

__all__ = [
    "FILTERS",
    "BuildProgress",
    "Document",
    "Language",
    "SourceInfo",
    "StoreInfo",
    "TokenStore",
    "build_store",
    "list_sources",
    "read_documents",
    "split_sentences",
]
