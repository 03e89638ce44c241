"""Routes that ask a model."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from unmask.pipelines.vectors import choose_vectors
from unmask.serving.errors import Refusal
from unmask.serving.reading import JsonRoute
from unmask.serving.routes.asking import ask, listed
from unmask.serving.schemas import (
    Answer,
    AnswerRequest,
    EmbedRequest,
    Entity,
    FillMaskRequest,
    Generated,
    GenerateRequest,
    Guess,
    Label,
    NextSentenceRequest,
    PredictRequest,
    ReplacedTokensRequest,
    SimilarityRequest,
    TagRequest,
    Verdict,
)

__all__ = ["router"]

router = APIRouter(route_class=JsonRoute, tags=["answers"])

_MAX_GUESSES = 2000  # of all masks of a text together, each with its whole sentence


@router.post("/predict", response_model=list[Label] | list[list[Label]])
async def predict(request: Request, body: PredictRequest) -> Response:
    """Label a text or a pair: all labels, the highest score first; of a batch a list of such lists."""
    is_batch = isinstance(body.inputs, list) and not any(isinstance(one, str) for one in body.inputs)
    batch: Any = body.inputs if is_batch else [body.inputs]
    inputs = [one[0] if isinstance(one, list) and len(one) == 1 else one for one in batch]
    return await ask(
        request,
        "text-classification",
        body.model,
        inputs if is_batch else inputs[0],
        is_batch=is_batch,
        top_k=None,
        function_to_apply="none" if body.raw_scores else None,
        truncation=body.truncate,
    )


@router.post("/embed", response_model=list[list[float]])
async def embed(request: Request, body: EmbedRequest) -> Response:
    """Make one vector of each text."""
    task = "feature-extraction"
    model = request.app.state.models.find(body.model, task).model
    return await ask(
        request,
        task,
        body.model,
        listed(body.inputs),
        is_batch=True,
        pooling=choose_vectors(model, body.pooling, body.normalize)[0],
        normalize=body.normalize,
        truncation=body.truncate,
    )


@router.post("/similarity", response_model=list[float])
async def similarity(request: Request, body: SimilarityRequest) -> Response:
    """Compare sentences with one: the cosine of each."""
    return await ask(
        request,
        "sentence-similarity",
        body.model,
        body.inputs.model_dump(),
        num_texts=len(body.inputs.sentences),
        pooling=body.parameters.pooling,
        truncation=body.parameters.truncate,
    )


@router.post("/fill-mask", response_model=list[Guess] | list[list[Guess]] | list[list[list[Guess]]])
async def fill_mask(request: Request, body: FillMaskRequest) -> Response:
    """Guess the words behind the masks of a text, each by itself; of several masks, and of a batch, lists of lists."""
    mask = request.app.state.models.find(body.model, "fill-mask").model.tokenizer.mask_token
    for text in listed(body.inputs):
        if body.top_k * sum(map(text.count, {mask, "[MASK]", "<mask>"})) > _MAX_GUESSES:
            raise Refusal(413, "Validation", f"more than {_MAX_GUESSES:,} guesses of a text: take a smaller top_k")
    targets = None if body.targets is None else tuple(body.targets)
    return await ask(request, "fill-mask", body.model, body.inputs, top_k=body.top_k, targets=targets)


@router.post("/tag", response_model=list[Entity] | list[list[Entity]])
async def tag(request: Request, body: TagRequest) -> Response:
    """Find the entities of a text, of any length; of a batch a list for each."""
    return await ask(
        request,
        "token-classification",
        body.model,
        body.inputs,
        aggregation_strategy=body.aggregation_strategy,
        ignore_labels=tuple(body.ignore_labels),
    )


@router.post("/answer", response_model=Answer | list[Answer] | list[list[Answer]])
async def answer(request: Request, body: AnswerRequest) -> Response:
    """Find the answer to a question in its context, of any length; with top_k several, of a batch a list for each."""
    model = request.app.state.models.find(body.model, "question-answering").model
    half = (body.max_seq_len or model.max_trained_length) // 2
    if body.doc_stride is not None and body.doc_stride > half:  # the windows would be many times the text
        raise Refusal(422, "Validation", f"doc_stride, what windows share, is {half} at most: half of max_seq_len")
    options = body.model_dump()
    questions = options.pop("inputs")
    return await ask(request, "question-answering", options.pop("model"), questions, **options)


@router.post("/generate", response_model=list[Generated] | list[list[Generated]])
async def generate(request: Request, body: GenerateRequest) -> Response:
    """Go on from a text; of a batch a list for each."""
    told, limit = body.parameters, request.app.state.settings.max_new_tokens
    if (asked := told.max_new_tokens * told.num_return_sequences * len(listed(body.inputs))) > limit:
        raise Refusal(
            413, "Validation", f"{asked:,} new tokens are more than the {limit:,} of a request: ask for fewer"
        )
    return await ask(request, "text-generation", body.model, body.inputs, num_new_tokens=asked, **told.model_dump())


@router.post("/next-sentence", response_model=list[Label] | list[list[Label]])
async def next_sentence(request: Request, body: NextSentenceRequest) -> Response:
    """Tell whether the second text of a pair follows the first; of a batch of pairs a list for each."""
    is_batch = not any(isinstance(one, str) for one in body.inputs)
    return await ask(
        request,
        "next-sentence-prediction",
        body.model,
        body.inputs,
        is_batch=is_batch,
        top_k=None,
        truncation=body.truncate,
    )


@router.post("/replaced-tokens", response_model=list[Verdict] | list[list[Verdict]])
async def replaced_tokens(request: Request, body: ReplacedTokensRequest) -> Response:
    """Tell of each token of a text whether another stood there; of a batch a list for each."""
    return await ask(
        request,
        "replaced-token-detection",
        body.model,
        body.inputs,
        threshold=body.threshold,
        only_replaced=body.only_replaced,
        truncation=body.truncate,
    )
