"""Measuring a policy: held-out prompts, suites of benchmarks, and scores of given texts."""

from entropy_rl.evaluation.evaluate import EvaluationReport, evaluate
from entropy_rl.evaluation.grades import RolloutGrades, grade_rollout, joined_grades, response_texts
from entropy_rl.evaluation.paper import PAPER
from entropy_rl.evaluation.pass_at_k import pass_at_k
from entropy_rl.evaluation.score import score_rows
from entropy_rl.evaluation.suite import Benchmark, Suite

__all__ = [
    "PAPER",
    "Benchmark",
    "EvaluationReport",
    "RolloutGrades",
    "Suite",
    "evaluate",
    "grade_rollout",
    "joined_grades",
    "pass_at_k",
    "response_texts",
    "score_rows",
]
