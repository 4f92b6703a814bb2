"""Measuring a policy: accuracy, pass@k and average@k on held-out prompts, and scores of given texts."""

from entropy_rl.evaluation.evaluate import EvaluationReport, evaluate
from entropy_rl.evaluation.pass_at_k import pass_at_k
from entropy_rl.evaluation.score import score_rows

__all__ = ["EvaluationReport", "evaluate", "pass_at_k", "score_rows"]
