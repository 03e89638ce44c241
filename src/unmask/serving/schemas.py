"""What requests and answers look like: the names of text-embeddings-inference, and its style where it has none.

Types are strict ("5" is no number) and there are no other keys, so that a misspelt option is not taken for granted.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "Answer",
    "AnswerRequest",
    "DecodeRequest",
    "EmbedRequest",
    "Entity",
    "ErrorBody",
    "FillMaskRequest",
    "GenerateRequest",
    "Generated",
    "Guess",
    "Health",
    "Info",
    "Label",
    "NextSentenceRequest",
    "PredictRequest",
    "ReplacedTokensRequest",
    "SimilarityRequest",
    "TagRequest",
    "Token",
    "TokenizeRequest",
    "Verdict",
]  # fmt: skip

# Lists fail at their first mistake: a body may have room for half a million.
Strings = Annotated[list[str], Field(fail_fast=True)]
Pair = Annotated[Strings, Field(min_length=2, max_length=2)]
TextOrPair = Annotated[Strings, Field(min_length=1, max_length=2)]
Texts = Annotated[str | Strings, Field(description="a text, or a list of texts")]
TopK = Annotated[int, Field(ge=1, le=100)]
TokenIds = Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], Field(fail_fast=True)]
Direction = Annotated[Literal["Right", "right"], Field(description='where a text is cut: at its end, which is "Right"')]
Truncate = Annotated[bool, Field(description="whether a text that is too long is cut, in place of being refused")]


def _example(**example: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [example]})


class _Request(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

    model: str | None = Field(
        default=None, description="name of the model; without it the first that serves this route"
    )


class PredictRequest(_Request):
    """A text, a pair of texts, or a batch of either: [["a text"], ["a text", "its second"]]."""

    model_config = _example(inputs="a gorgeous, witty, seductive movie", raw_scores=False, truncate=False)

    inputs: str | TextOrPair | Annotated[list[TextOrPair], Field(fail_fast=True)] = Field(
        description='a text, a pair ["a", "b"], or a batch [["a text"], ["a", "pair"]]'
    )
    raw_scores: bool = Field(default=False, description="give logits in place of probabilities")
    truncate: Truncate = False
    truncation_direction: Direction = "Right"


class EmbedRequest(_Request):
    """Texts that become a vector each."""

    model_config = _example(inputs=["The dog slept in the garden.", "개가 마당에서 잤다."], normalize=True)

    inputs: Texts
    normalize: bool = Field(default=True, description="bring vectors to length 1")
    truncate: Truncate = False
    truncation_direction: Direction = "Right"
    pooling: Literal["cls", "mean", "max"] | None = Field(
        default=None,
        description="what makes one vector of a text; without it what the model's folder says, or else the mean",
    )


class SimilarityInputs(BaseModel):
    """A sentence, and those it is compared with."""

    model_config = ConfigDict(strict=True, extra="forbid")

    source_sentence: str
    sentences: Strings


class SimilarityParameters(BaseModel):
    """How they are read."""

    model_config = ConfigDict(strict=True, extra="forbid")

    truncate: Truncate = False
    truncation_direction: Direction = "Right"
    pooling: Literal["cls", "mean", "max"] | None = None


class SimilarityRequest(_Request):
    """A sentence, and those it is compared with."""

    model_config = _example(
        inputs={"source_sentence": "The dog slept.", "sentences": ["A dog is asleep.", "Shares fell."]}
    )

    inputs: SimilarityInputs = Field(description="an object with source_sentence and sentences")
    parameters: SimilarityParameters = Field(default=SimilarityParameters(), description="an object")


class TokenizeRequest(_Request):
    """Texts that become tokens."""

    model_config = _example(inputs="The dog slept.", add_special_tokens=True)

    inputs: Texts
    add_special_tokens: bool = True


class DecodeRequest(_Request):
    """Tokens that become text."""

    model_config = _example(ids=[101, 1996, 3899, 7771, 1012, 102], skip_special_tokens=True)

    ids: TokenIds | Annotated[list[TokenIds], Field(fail_fast=True)] = Field(
        description="a list of token ids, or a list of such lists"
    )
    skip_special_tokens: bool = True


class FillMaskRequest(_Request):
    """Texts with masks."""

    model_config = _example(inputs="The [MASK] slept in the garden.", top_k=3)

    inputs: Texts
    top_k: TopK = Field(default=5, description="guesses a mask")
    targets: Strings | None = Field(default=None, max_length=1000, description="a list of words to choose among")


class TagRequest(_Request):
    """Texts whose entities are looked for."""

    model_config = _example(inputs="Angela Merkel visited Samsung in Seoul yesterday.")

    inputs: Texts
    aggregation_strategy: Literal["words", "none", "simple", "first", "average", "max"] | None = None
    ignore_labels: Strings = Field(default=["O"], max_length=1000)


class Question(BaseModel):
    """A question, and the text it is asked of."""

    model_config = ConfigDict(strict=True, extra="forbid")

    question: str
    context: str


class AnswerRequest(_Request):
    """Questions, and the texts they are asked of."""

    model_config = _example(inputs={"question": "Who slept?", "context": "They drank the pub, and Mary slept."})

    inputs: Question | Annotated[list[Question], Field(fail_fast=True)] = Field(
        description="an object with question and context, or a list of these"
    )
    top_k: TopK = 1
    doc_stride: int | None = Field(default=None, ge=0, le=100_000)
    max_answer_len: int | None = Field(default=None, ge=1, le=1000)
    max_seq_len: int | None = Field(default=None, ge=5, le=100_000)
    max_question_len: int | None = Field(default=None, ge=1, le=100_000)
    handle_impossible_answer: bool | None = None
    align_to_words: bool = True


class GenerateParameters(BaseModel):
    """How much is written, and how its tokens are chosen."""

    model_config = ConfigDict(strict=True, extra="forbid")

    max_new_tokens: int = Field(default=40, ge=1, le=100_000)
    return_full_text: bool = True
    do_sample: bool | None = None
    temperature: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    top_k: int | None = Field(default=None, ge=1, lt=2**31)
    top_p: float | None = Field(default=None, gt=0, le=1, allow_inf_nan=False)
    seed: int = Field(default=0, ge=0, lt=2**63)
    num_return_sequences: int = Field(default=1, ge=1, le=16)


class GenerateRequest(_Request):
    """Texts to go on from."""

    model_config = _example(inputs="The old man walked", parameters={"max_new_tokens": 20, "temperature": 0.8})

    inputs: Texts
    parameters: GenerateParameters = Field(default=GenerateParameters(), description="an object")


class NextSentenceRequest(_Request):
    """Pairs of texts."""

    model_config = _example(inputs=["The dog slept.", "It dreamt of a cat."])

    inputs: Pair | Annotated[list[Pair], Field(fail_fast=True)] = Field(
        description='a pair ["a", "b"], or a list of pairs'
    )
    truncate: Truncate = False


class ReplacedTokensRequest(_Request):
    """Texts whose words may not be the writer's."""

    model_config = _example(inputs="The chef ate the meal.", threshold=0.5)

    inputs: Texts
    threshold: float = Field(default=0.5, ge=0, le=1)
    only_replaced: bool = False
    truncate: Truncate = False


class Label(BaseModel):
    """A label and its probability, or logit."""

    label: str
    score: float


class Guess(BaseModel):
    """A word behind a mask."""

    score: float
    token: int
    token_str: str
    sequence: str


class Entity(BaseModel):
    """An entity, or with the strategy "none" a token: then `entity` and `index` stand for `entity_group`."""

    entity_group: str | None = None
    entity: str | None = None
    score: float
    index: int | None = None
    word: str
    start: int
    end: int


class Answer(BaseModel):
    """A span of the context; an empty one says that there is no answer."""

    answer: str
    score: float
    start: int
    end: int


class Generated(BaseModel):
    """What was written."""

    generated_text: str


class Verdict(BaseModel):
    """Whether a token was replaced."""

    word: str
    score: float
    is_replaced: bool
    index: int
    start: int
    end: int


class Token(BaseModel):
    """A token, and where it stands, in characters; special ones stand nowhere."""

    id: int
    text: str
    special: bool
    start: int | None
    stop: int | None


class ErrorBody(BaseModel):
    """Why there is no answer."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"error": "inputs must be a text, or a list of texts",
                                         "error_type": "Validation"}]}
    )  # fmt: skip

    error: str
    error_type: str


class Health(BaseModel):
    """Whether the server takes requests."""

    status: Literal["ok"]


class ModelInfo(BaseModel):
    """A model. `model_type` has one key: classifier, embedding, or the task."""

    model_config = ConfigDict(protected_namespaces=())

    model_id: str
    model_sha: str | None
    model_dtype: str
    model_type: dict[str, Any]
    max_input_length: int
    tasks: list[str]


class Info(ModelInfo):
    """The first model, the limits, and all models by their names."""

    max_concurrent_requests: int
    max_batch_tokens: int
    max_client_batch_size: int
    auto_truncate: bool
    version: str
    models: dict[str, ModelInfo]
