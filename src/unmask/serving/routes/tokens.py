"""Routes that ask a tokenizer alone. They queue with all others: a long text takes its time here too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response

from unmask.pipelines.inputs import check_text
from unmask.serving.errors import Refusal, json_response
from unmask.serving.reading import JsonRoute
from unmask.serving.routes.asking import listed, wait_for
from unmask.serving.schemas import DecodeRequest, Token, TokenizeRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unmask.runtimes import Steps
    from unmask.tokenization import Tokenizer

__all__ = ["router"]

router = APIRouter(route_class=JsonRoute, tags=["tokens"])


@dataclass(frozen=True)
class _Told:
    """A tokenizer, and whether it adds special tokens, or skips them."""

    tokenizer: Tokenizer
    special: bool


@router.post("/tokenize", response_model=list[list[Token]])
async def tokenize(request: Request, body: TokenizeRequest) -> Response:
    """Show the tokens of each text, and where they stand in it."""
    served = request.app.state.models.find(body.model)
    texts = listed(body.inputs)
    for number, text in enumerate(texts):
        check_text(text, "the text", source=f"inputs[{number}]", line=1, may_be_empty=True)
    told = _Told(served.model.tokenizer, body.add_special_tokens)
    return json_response(await wait_for(request, served, _tokenize, texts, told))


@router.post("/decode", response_model=list[str])
async def decode(request: Request, body: DecodeRequest) -> Response:
    """Join tokens to texts again."""
    served = request.app.state.models.find(body.model)
    sequences = body.ids if body.ids and isinstance(body.ids[0], list) else [body.ids]
    vocab_size = served.model.tokenizer.vocab_size
    if any(token_id >= vocab_size for sequence in sequences for token_id in sequence):
        raise Refusal(422, "Tokenizer", f"ids holds a number beyond the {vocab_size:,} tokens of the vocabulary")
    told = _Told(served.model.tokenizer, body.skip_special_tokens)
    return json_response(await wait_for(request, served, _decode, sequences if body.ids else [], told))


def _tokenize(texts: Sequence[str], told: _Told) -> Steps[list[Any]]:
    yield from ()
    encodings = told.tokenizer.encode_batch(texts, add_special_tokens=told.special).encodings
    results = []
    for text, encoding in zip(texts, encodings, strict=True):
        columns = zip(encoding.input_ids, encoding.tokens, encoding.offsets, encoding.special_tokens_mask, strict=True)
        results.append(
            [
                {"id": token_id, "text": token, "special": True, "start": None, "stop": None}
                if is_special
                else {"id": token_id, "text": text[start:stop], "special": False, "start": start, "stop": stop}
                for token_id, token, (start, stop), is_special in columns
            ]
        )
    return results


def _decode(sequences: Sequence[Sequence[int]], told: _Told) -> Steps[list[Any]]:
    yield from ()
    return [told.tokenizer.decode(ids, skip_special_tokens=told.special) for ids in sequences]
