"""What a model is taught by raw text: one file an objective, one line here."""

from unmask.pretraining.objectives.clm import CausalLanguageModelling
from unmask.pretraining.objectives.mlm import MaskedLanguageModelling
from unmask.pretraining.objectives.objective import Guesses, PairObjective, TokenObjective
from unmask.pretraining.objectives.pairs import NextSentencePrediction, SentenceOrderPrediction
from unmask.pretraining.objectives.rtd import GeneratorAndDiscriminator, ReplacedTokenDetection

__all__ = [
    "PAIR_OBJECTIVES",
    "TOKEN_OBJECTIVES",
    "CausalLanguageModelling",
    "GeneratorAndDiscriminator",
    "Guesses",
    "MaskedLanguageModelling",
    "NextSentencePrediction",
    "PairObjective",
    "ReplacedTokenDetection",
    "SentenceOrderPrediction",
    "TokenObjective",
]

TOKEN_OBJECTIVES: dict[str, type[TokenObjective]] = {
    objective.name: objective
    for objective in (MaskedLanguageModelling, ReplacedTokenDetection, CausalLanguageModelling)
}
PAIR_OBJECTIVES: dict[str, type[PairObjective]] = {
    objective.name: objective for objective in (NextSentencePrediction, SentenceOrderPrediction)
}
