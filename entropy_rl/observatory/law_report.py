"""A fit of the law as text and as JSON."""

import math
from collections.abc import Iterator

from entropy_rl.observatory.law import Interval, Law, Prediction


def law_summary(law: Law) -> dict:
    """The numbers of a fit; intervals are of 95 %."""
    return {
        "measure": law.course.measure,
        "num_points": len(law.course),
        "first_step": int(law.course.steps[0]),
        "last_step": int(law.course.steps[-1]),
        "a": _numbers(law.a),
        "b": _numbers(law.b),
        "ceiling": _numbers(law.ceiling),
        "explained": law.explained,
        "persistence": law.persistence,
        "doubts": list(law.doubts()),
    }


def prediction_summary(prediction: Prediction) -> dict:
    """The numbers of a prediction, its law and every later point; errors are predicted minus measured."""
    later = prediction.later
    return {
        "law": law_summary(prediction.law),
        "num_later_points": len(later),
        "rmse": prediction.rmse,
        "constant_rmse": prediction.constant_rmse,
        "last_step": int(later.steps[-1]),
        "last_error": prediction.last_error,
        "steps": later.steps.tolist(),
        "measured": later.success.tolist(),
        "predicted": prediction.predicted.tolist(),
    }


def _numbers(interval: Interval) -> dict[str, float]:
    return {"value": interval.value, "low": interval.low, "high": interval.high}


def law_lines(law: Law) -> Iterator[str]:
    """What a fit says, a line each, doubts last."""
    course = law.course
    best = int(course.success.argmax())
    yield (
        f"R = -a exp(H) + b, R is {course.measure}: {len(course)} points, steps {course.steps[0]} to "
        f"{course.steps[-1]}, entropy {course.entropy[0]:.3g} -> {course.entropy[-1]:.3g} nats"
    )
    yield "                 value   95 % interval"
    for name, interval in (("a", law.a), ("b", law.b), ("ceiling b - a", law.ceiling)):
        yield f"  {name:13s} {interval.value:7.4f}   {interval.low:.4f} to {interval.high:.4f}"
    yield (
        f"  R was {course.success[best]:.4f} at its best (step {course.steps[best]}), "
        f"{course.success[-1]:.4f} at the end"
    )
    is_constant = math.isnan(law.explained)
    explained = "it never differs" if is_constant else f"explained {law.explained:.1%} of its variance"
    yield f"  {explained}; residuals have persistence {law.persistence:.2f}"
    for doubt in law.doubts():
        yield f"  warning: {doubt}"


def prediction_lines(prediction: Prediction) -> Iterator[str]:
    """What a prediction says, a line each, its law first."""
    later = prediction.later
    yield from law_lines(prediction.law)
    yield (
        f"  predicts steps {later.steps[0]} to {later.steps[-1]} from their entropies, {len(later)} points: "
        f"RMSE {prediction.rmse:.4f}"
    )
    yield f"  at the last step R is {later.success[-1]:.4f}, predicted {prediction.last_error:+.4f} off"
    yield f"  that R stays as in its last five fitted points has RMSE {prediction.constant_rmse:.4f}"
