"""What each family's tokenizer has around its pieces: special tokens, their ids and the template of a sequence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tokenizers import AddedToken, processors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenizers import Tokenizer as Backend

__all__ = ["FAMILIES", "FamilyLayout", "FamilyName", "Kind", "add_special_tokens", "set_template"]

Kind = Literal["wordpiece", "bpe", "unigram"]
FamilyName = Literal["bert", "roberta", "albert", "electra", "gpt"]


@dataclass(frozen=True, kw_only=True)
class FamilyLayout:
    """How a family writes a sequence.

    Args:
        kind: the pieces its paper used.
        special_tokens: what the tokens are called and what they are; a new vocabulary numbers them in this order.
        single: the template of one text; after the colon stands the token type.
        pair: the template of a pair.
        mask_takes_space: whether [MASK] swallows the space before it, as where pieces carry their own space.
        has_token_types: whether the model tells the texts of a pair apart.
    """

    kind: Kind
    special_tokens: Mapping[str, str]
    single: str
    pair: str
    mask_takes_space: bool = False
    has_token_types: bool = True


# Devlin et al. 2019, section 3; ELECTRA has BERT's vocabulary.
_BERT = FamilyLayout(
    kind="wordpiece",
    special_tokens={
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    },
    single="[CLS]:0 $A:0 [SEP]:0",
    pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
)
FAMILIES: Mapping[str, FamilyLayout] = {
    "bert": _BERT,
    "electra": _BERT,
    "roberta": FamilyLayout(
        kind="bpe",
        special_tokens={
            "bos_token": "<s>",
            "cls_token": "<s>",
            "pad_token": "<pad>",
            "eos_token": "</s>",
            "sep_token": "</s>",
            "unk_token": "<unk>",
            "mask_token": "<mask>",
        },
        single="<s>:0 $A:0 </s>:0",
        pair="<s>:0 $A:0 </s>:0 </s>:0 $B:0 </s>:0",
        mask_takes_space=True,
        has_token_types=False,
    ),
    "albert": FamilyLayout(
        kind="unigram",
        special_tokens={
            "pad_token": "<pad>",
            "unk_token": "<unk>",
            "bos_token": "[CLS]",
            "cls_token": "[CLS]",
            "eos_token": "[SEP]",
            "sep_token": "[SEP]",
            "mask_token": "[MASK]",
        },
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        mask_takes_space=True,
    ),
    "gpt": FamilyLayout(
        kind="bpe",
        special_tokens={"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"},
        single="$A:0",
        pair="$A:0 $B:0",
        has_token_types=False,
    ),
}


def add_special_tokens(backend: Backend, special_tokens: Mapping[str, str], layout: FamilyLayout) -> None:
    """Tell a backend which pieces of its vocabulary are special, so that they are found in texts and never cut."""
    mask_token = special_tokens.get("mask_token")
    vocab = backend.get_vocab(with_added_tokens=True)
    backend.add_special_tokens(
        [
            AddedToken(token, lstrip=token == mask_token and layout.mask_takes_space, normalized=False, special=True)
            for token in sorted(set(special_tokens.values()), key=lambda token: vocab.get(token, len(vocab)))
        ]
    )


def set_template(backend: Backend, layout: FamilyLayout, *, is_byte_level: bool) -> None:
    """Set what stands around the texts of a sequence; on byte-level pieces offsets leave out the space they carry."""
    vocab = backend.get_vocab(with_added_tokens=True)
    cls_token, sep_token = layout.special_tokens.get("cls_token"), layout.special_tokens.get("sep_token")
    if is_byte_level and cls_token and sep_token and not layout.has_token_types:
        backend.post_processor = processors.RobertaProcessing(
            (sep_token, vocab[sep_token]),
            (cls_token, vocab[cls_token]),
            trim_offsets=True,
            add_prefix_space=False,
        )
        return
    template = processors.TemplateProcessing(
        single=layout.single,
        pair=layout.pair,
        special_tokens=[(token, vocab[token]) for token in (cls_token, sep_token) if token],
    )
    backend.post_processor = (
        processors.Sequence([processors.ByteLevel(trim_offsets=True), template]) if is_byte_level else template
    )
