"""What computes a model: torch on packed tokens, or ONNX Runtime on an exported graph; imported when it is used."""

from unmask.runtimes.runtime import SEQUENCE_HEADS, Runtime, RuntimeName
from unmask.runtimes.steps import Steps, run_steps

__all__ = ["SEQUENCE_HEADS", "Runtime", "RuntimeName", "Steps", "run_steps"]
