"""Measuring a policy: accuracy, pass@k and average@k on held-out prompts, and scores of given texts."""

from entropy_rl.evaluation.evaluate import EvaluationReport, evaluate
from entropy_rl.evaluation.grades import RolloutGrades, grade_rollout, response_texts
from entropy_rl.evaluation.pass_at_k import pass_at_k
from entropy_rl.evaluation.score import score_rows

__all__ = [
    "EvaluationReport",
    "RolloutGrades",
    "evaluate",
    "grade_rollout",
    "pass_at_k",
    "response_texts",
    "score_rows",
]
