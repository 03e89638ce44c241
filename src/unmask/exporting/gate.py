"""The gate: what an exported model says must be what the original says, or nothing is written.

Both are asked the same. What is compared, of every number they give, is how far it is off; of what people read in these
numbers (labels, tags, answers, words), how often it is the same; and, where the right answers are known, the score.
A float graph is held to all three, as its numbers should be equal but for the last bits; one in 8 bits, whose numbers
cannot be, to the others.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from unmask.errors import SettingsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from unmask.exporting.probes import Probe
    from unmask.ragged import Ragged
    from unmask.runtimes import Runtime

__all__ = ["Agreement", "Limits", "compare", "compute"]

_TOKENS_AT_ONCE, _WORDS_AT_ONCE = 4096, 512  # of a pass; fewer where each token has a number for every word


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is let through.

    Args:
        max_difference: of a float graph, the largest difference of any number from the original's.
        min_agreement: the share of labels, tags, answers or words that are the original's; for models that give numbers
            or vectors, the correlation or the mean cosine with the original's.
        max_metric_drop: how much lower the score may be.

    Raises:
        SettingsError: a limit outside its range.
    """

    max_difference: float = 1e-3
    min_agreement: float = 0.99
    max_metric_drop: float = 0.01

    def __post_init__(self) -> None:
        rules = {
            "max_difference": ("0 or more", self.max_difference >= 0),
            "min_agreement": ("in [0, 1]", 0 <= self.min_agreement <= 1),
            "max_metric_drop": ("a number", not math.isnan(self.max_metric_drop)),
        }
        for name, (rule, is_met) in rules.items():
            if not is_met:
                raise SettingsError(f"{name} is {getattr(self, name)!r}: it must be {rule}")


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far an exported model is from the original.

    Args:
        max_difference: the largest difference between two numbers.
        mean_difference: the mean one.
        agreement: how much of what they say is the same, in [0, 1]; see `counted`.
        counted: what that counts, such as "labels", or what it is.
        num_counted: how many there are; None where nothing is counted.
        metric: the score that was compared; None where the right answers are not known.
        original_score: the original's; None likewise.
        exported_score: the exported model's.
    """

    max_difference: float
    mean_difference: float
    agreement: float
    counted: str
    num_counted: int | None
    metric: str | None
    original_score: float | None
    exported_score: float | None

    @property
    def metric_drop(self) -> float | None:
        """How much lower the score is; negative if it is higher."""
        if self.original_score is None or self.exported_score is None:
            return None
        return self.original_score - self.exported_score

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"metric_drop": self.metric_drop}

    def problems(self, limits: Limits, *, is_int8: bool) -> list[str]:
        """Say which limits are not kept, and by how much; an empty list lets the model through."""
        found = []
        if not is_int8 and not self.max_difference <= limits.max_difference:  # so that a NaN is not let through
            found.append(
                f"the largest difference is {self.max_difference:.3g}, above --max-difference {limits.max_difference:g}"
            )
        if not self.agreement >= limits.min_agreement:
            found.append(
                f"{self.counted} agree to {self.agreement:.4f}, below --min-agreement {limits.min_agreement:g}"
            )
        if self.metric_drop is not None and not self.metric_drop <= limits.max_metric_drop:
            found.append(
                f"{self.metric} falls from {self.original_score:.4f} to {self.exported_score:.4f}, by more than "
                f"--max-metric-drop {limits.max_metric_drop:g}"
            )
        return found


def compute(runtime: Runtime, probe: Probe) -> Ragged:
    """Ask a model all that a probe asks."""
    samples = probe.samples
    at_once = _WORDS_AT_ONCE if runtime.head in ("masked-lm", "causal-lm") else _TOKENS_AT_ONCE
    return runtime.run_all(samples.input_ids, samples.token_type_ids, samples.rows, tokens_at_once=at_once)


def compare(probe: Probe, original: Ragged, exported: Ragged) -> Agreement:
    """Hold what an exported model gave against what the original did; where that is not finite, nothing agrees."""
    if not np.isfinite(exported.values).all():
        return Agreement(
            max_difference=math.inf,
            mean_difference=math.inf,
            agreement=0.0,
            counted=probe.counted,
            num_counted=None,
            metric=None,
            original_score=None,
            exported_score=None,
        )
    differences: NDArray[np.float64] = np.abs(original.values.astype(np.float64) - exported.values)
    agreement, num_counted = probe.agreement(original, exported)
    return Agreement(
        max_difference=float(differences.max(initial=0)),
        mean_difference=float(differences.mean()),
        agreement=agreement,
        counted=probe.counted,
        num_counted=num_counted,
        metric=probe.metric,
        original_score=probe.score(original),
        exported_score=probe.score(exported),
    )
