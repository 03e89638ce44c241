"""The loop that trains any model on any objective, its settings, and what it leaves behind."""

from unmask.training.distributed import is_main_process, training_device
from unmask.training.loop import DivergedError, TrainingResult, train
from unmask.training.machine import matrix_product_rate
from unmask.training.objective import Batch, Objective
from unmask.training.optimizer import AfterUpdate, Optimizer, parameter_groups
from unmask.training.schedules import learning_rate_factor
from unmask.training.settings import Precision, Schedule, TrainingSettings
from unmask.training.state import FREE_TO_CHANGE
from unmask.training.tuning import TuneMode, Tuning, TuningReport, apply_tuning

__all__ = [
    "FREE_TO_CHANGE",
    "AfterUpdate",
    "Batch",
    "DivergedError",
    "Objective",
    "Optimizer",
    "Precision",
    "Schedule",
    "TrainingResult",
    "TrainingSettings",
    "TuneMode",
    "Tuning",
    "TuningReport",
    "apply_tuning",
    "is_main_process",
    "learning_rate_factor",
    "matrix_product_rate",
    "parameter_groups",
    "train",
    "training_device",
]
