"""The legend of metrics.jsonl: what every number of a step means, its unit, and which way is better.

This is data. The README's table is `legend_markdown()`, the plots take their axis labels from it, and the
progress table takes from it which value of a metric was its best one. "Tokens" are response tokens,
"policy" is the policy as it was when the step began, unless said otherwise.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One name of metrics.jsonl."""

    meaning: str
    """One line, without a full stop."""
    unit: str
    """nats, fraction (0 to 1), tokens, seconds, count, ... or none."""
    better: Literal["higher", "lower", "neither"] = "neither"
    """Which way a healthy run goes, where one can say so; the final table shows the best value by it."""


def _metric(unit: str, meaning: str, better: Literal["higher", "lower", "neither"] = "neither") -> Metric:
    return Metric(meaning=meaning, unit=unit, better=better)


ENTROPY = "policy/entropy"

METRICS: dict[str, Metric] = {
    "step": _metric("count", "number of the training step: one rollout and all of its updates"),
    ENTROPY: _metric(
        "nats", "token mean of the full-vocabulary entropy at the sampling temperature, before the update"
    ),
    "policy/entropy_sequence_mean": _metric(
        "nats", "the same entropy averaged within each response first, then over responses"
    ),
    "policy/surprisal": _metric(
        "nats", "token mean of -logp of the tokens drawn, same policy; policy/entropy, but for chance"
    ),
    "policy/surprisal_error": _metric(
        "nats", "standard error of policy/surprisal - policy/entropy, responses taken as independent"
    ),
    "entropy/min": _metric("nats", "smallest entropy of a token"),
    "entropy/q10": _metric("nats", "0.1 quantile of the entropy over tokens"),
    "entropy/q25": _metric("nats", "its 0.25 quantile"),
    "entropy/q50": _metric("nats", "its 0.5 quantile, the median"),
    "entropy/q75": _metric("nats", "its 0.75 quantile"),
    "entropy/q90": _metric("nats", "its 0.9 quantile"),
    "entropy/q99": _metric("nats", "its 0.99 quantile"),
    "entropy/max": _metric("nats", "largest entropy of a token"),
    "entropy/top_20_percent": _metric("nats", "mean over the 20 % of tokens that have the most entropy"),
    **{
        f"entropy/decile_{n}": _metric(
            "nats", f"mean over tokens in tenth {n} of their response's length, shared at its ends"
        )
        for n in range(1, 11)
    },
    "policy/approx_kl": _metric(
        "nats", "mean over tokens of old_logp - logp (estimator k1) before each update, mean over the updates"
    ),
    "policy/approx_kl_k3": _metric(
        "nats", "the same divergence by the estimator k3, which is never negative"
    ),
    "policy/reference_kl": _metric(
        "nats", "token mean of the divergence from the reference, estimator k3, by the sampler's logp"
    ),
    "policy/absolute_log_ratio": _metric("nats", "mean over tokens of the absolute value of logp - old_logp"),
    "policy/ratio_max": _metric("none", "largest probability ratio of a token, current over old policy"),
    "policy/clip_fraction_clip_high": _metric("fraction", "tokens whose ratio was clipped from above"),
    "policy/clip_fraction_clip_low": _metric("fraction", "tokens whose ratio was clipped from below"),
    "policy/clip_fraction_dual": _metric("fraction", "negative-advantage tokens held by the dual clip"),
    "policy/clip_fraction_cov": _metric("fraction", "tokens whose gradient Clip-Cov removed"),
    "policy/clip_fraction_kl_penalty": _metric("fraction", "tokens that KL-Cov penalised"),
    "reward/mean": _metric("none", "mean reward over all responses of the step", "higher"),
    "reward/score": _metric(
        "none", "mean score by the judges, before weights, added rewards and the penalty of length", "higher"
    ),
    "reward/overlong_penalty": _metric(
        "none", "mean of what the penalty of overlong responses added: 0 or less", "higher"
    ),
    "reward/pass_rate": _metric(
        "fraction", "responses judged right, before any filtering of groups", "higher"
    ),
    "reward/valid_fraction": _metric(
        "fraction", "responses that are well-formed answers, right or wrong (countdown)", "higher"
    ),
    "reward/distinct_right_answers": _metric(
        "count", "different right answers a prompt, mean over prompts (countdown)", "higher"
    ),
    "reward/timeouts": _metric("count", "responses whose judging was cut off at its time limit", "lower"),
    "reward/judge_errors": _metric("count", "responses at which the judge itself failed", "lower"),
    "reward/groups_all_right": _metric(
        "fraction", "groups whose responses are all right: no gradient from them"
    ),
    "reward/groups_all_wrong": _metric(
        "fraction", "groups whose responses are all wrong: no gradient from them"
    ),
    "reward/std": _metric("none", "standard deviation of the reward over all responses of the step"),
    "reward/distinct_values": _metric("count", "different rewards among all responses of the step"),
    "reward/groups_zero_variance": _metric(
        "fraction", "groups of equal rewards: no gradient from them", "lower"
    ),
    "reward/groups_zero_variance_expected": _metric(
        "fraction", "p^G + (1 - p)^G, what chance alone would give at the step's pass rate p"
    ),
    "group/duplicate_fraction": _metric(
        "fraction", "responses equal, token by token, to an earlier one of their group", "lower"
    ),
    "group/near_duplicate_fraction": _metric(
        "fraction",
        "responses whose words overlap an earlier one of their group by over 0.65 (Jaccard)",
        "lower",
    ),
    "advantage/std": _metric("none", "standard deviation of the advantage over responses learned from"),
    "advantage/nonzero_fraction": _metric(
        "fraction", "responses whose advantage exceeds 0.01 in size", "higher"
    ),
    "advantage/max_abs": _metric("none", "largest absolute advantage"),
    "length/mean": _metric(
        "tokens", "mean length of all responses sampled in the step, before any filtering, stop token counted"
    ),
    "length/max": _metric("tokens", "longest of these"),
    "length/min": _metric("tokens", "shortest of these"),
    "length/truncated_fraction": _metric(
        "fraction", "responses cut at the limit before a stop token", "lower"
    ),
    "covariance/mean": _metric(
        "nats", "token mean of (logp - mean logp) * (advantage - mean advantage); positive lowers entropy"
    ),
    "covariance/q50": _metric("nats", "median of that product over tokens"),
    "covariance/q90": _metric("nats", "its 0.9 quantile"),
    "covariance/q99": _metric("nats", "its 0.99 quantile"),
    "covariance/q999": _metric("nats", "its 0.999 quantile"),
    "covariance/max": _metric("nats", "its largest value"),
    "covariance/min": _metric("nats", "its smallest value"),
    **{
        f"covariance/top_{percent}_percent": _metric(
            "nats", f"mean over the {percent} % of tokens that have the most of it (Table 1)"
        )
        for percent in ("0.02", "0.2", "2", "20", "50")
    },
    "selection/candidates": _metric("count", "tokens that qualified for the covariance treatment"),
    "selection/selected": _metric("count", "tokens that got it"),
    "selection/quota": _metric("count", "tokens that may get it: floor(fraction * tokens)"),
    "selection/selected_fraction": _metric("fraction", "tokens that got it, of all tokens"),
    "selection/selected_positive_advantage": _metric("count", "selected tokens of positive advantage"),
    "selection/selected_negative_advantage": _metric("count", "selected tokens of negative advantage"),
    "selection/nonfinite_tokens": _metric(
        "count", "tokens whose log-prob or advantage was not finite, left out of means and choice", "lower"
    ),
    "passes/old_logp": _metric("count", "forward passes of a mini-batch made for old log-probs"),
    "passes/selection": _metric(
        "count", "forward passes of a mini-batch made so as to choose tokens before its first micro-batch"
    ),
    "passes/saved": _metric(
        "count", "such passes left out because the first update of a rollout already has the result", "higher"
    ),
    "update/microbatches": _metric(
        "count", "micro-batches that went through the gradient, of all updates of the step together"
    ),
    "update/padding_fraction": _metric(
        "fraction", "slots of their rows that held no token, mean over the updates", "lower"
    ),
    "optimizer/updates": _metric("count", "updates of the step, those left out below among them"),
    "optimizer/loss": _metric("none", "loss that was minimised, mean over the updates of the step"),
    "optimizer/grad_norm": _metric(
        "none", "global norm of the gradient before clipping, mean over the updates"
    ),
    "optimizer/learning_rate": _metric("none", "learning rate of the last update"),
    "optimizer/skipped_updates": _metric(
        "count", "updates left out because of a non-finite loss or gradient", "lower"
    ),
    "optimizer/skipped_in_a_row": _metric(
        "count", "longest row of such updates that the step saw, earlier steps counted in", "lower"
    ),
    "theory/tokens": _metric("count", "tokens of the share of responses on which the theory was measured"),
    "theory/entropy_before": _metric("nats", "their mean entropy under the policy before the step's updates"),
    "theory/entropy_change": _metric("nats", "change of that mean by the step's updates, on the same tokens"),
    "theory/lemma1": _metric(
        "nats", "predicted change: mean of -Cov(logp, change of logp) over the vocabulary (Lemma 1)"
    ),
    "theory/theorem1_covariance": _metric(
        "none", "mean over groups of Cov(logp, p * advantage) of whole responses, per token (Theorem 1)"
    ),
    "theory/theorem2_covariance": _metric(
        "nats", "mean over groups of Cov(logp, advantage) of whole responses, per token (Theorem 2)"
    ),
    "logits/max_probability": _metric(
        "fraction", "mean probability of the likeliest token, by the sampler; first response to each prompt"
    ),
    "logits/gap": _metric(
        "nats", "mean gap of the two largest logits over the sampling temperature, same draws"
    ),
    **{
        f"logits/top_{n}": _metric("fraction", f"mean probability of the token of rank {n}, same draws")
        for n in range(1, 6)
    },
    "sampler/stop_suppressed_fraction": _metric(
        "fraction",
        "of these draws before min_new_tokens, those with a stop token the likeliest",
        "lower",
    ),
    "sampler/stop_suppressed_mass": _metric(
        "fraction", "mean probability of stop tokens at those draws, before they were forbidden", "lower"
    ),
    "guard/entropy_coef": _metric("none", "coefficient of the entropy bonus in the updates of the step"),
    "guard/collapsed_steps": _metric(
        "count", "steps in a row, up to this one, with less entropy than the guard's threshold", "lower"
    ),
    "mismatch/logp_gap_max": _metric(
        "nats", "largest absolute difference of sampler logp and learner logp, stale groups left out", "lower"
    ),
    "mismatch/logp_gap_mean": _metric(
        "nats", "mean absolute difference of sampler logp and learner logp, stale groups left out", "lower"
    ),
    "generation/batches": _metric("count", "batches of prompts that were sampled in the step"),
    "generation/tokens": _metric("tokens", "response tokens sampled in the step"),
    "generation/kept_fraction": _metric(
        "fraction", "groups that passed the filter of dynamic sampling, of all sampled in the step", "higher"
    ),
    "generation/wasted_tokens": _metric(
        "tokens", "tokens of groups sampled in the step that did not pass the filter", "lower"
    ),
    "generation/wasted_fraction": _metric("fraction", "these, of all tokens sampled in the step", "lower"),
    "generation/dropped_tokens": _metric(
        "tokens",
        "tokens of groups that passed, now or steps ago, and are dropped: too old, or sampled anew",
        "lower",
    ),
    "generation/surprisal": _metric(
        "nats", "token mean of the sampler's -logp over all groups: their entropy, but for chance"
    ),
    "generation/surprisal_kept": _metric(
        "nats", "the same over groups that passed, to which policy/entropy is confined"
    ),
    "batch/missing_groups": _metric("count", "groups short of batch.prompts_per_step", "lower"),
    "batch/pass_rate": _metric(
        "fraction", "responses judged right, of those learned from: the filter draws it to the middle"
    ),
    "surplus/groups": _metric("count", "groups that wait for the next step"),
    "staleness/mean": _metric("steps", "mean age of the groups learned from; 0: sampled in this step"),
    "staleness/max": _metric("steps", "age of the oldest of them"),
    "staleness/group_fraction": _metric("fraction", "groups learned from that an earlier step sampled"),
    "staleness/logp_gap_mean": _metric(
        "nats", "in these, mean absolute difference of their sampler's logp and the present learner's"
    ),
    "counter/rollout_steps": _metric(
        "count",
        "training steps since the run began, as `step`: those too whose surplus left nothing to sample",
    ),
    "counter/gradient_steps": _metric("count", "optimiser updates since the run began, without skipped ones"),
    "counter/generation_steps": _metric("count", "generation batches since the run began"),
    "seconds/reshard": _metric(
        "seconds", "time to make the parameters that sampling reads: cast, and gathered over fsdp", "lower"
    ),
    "seconds/rollout": _metric("seconds", "time to sample the responses", "lower"),
    "seconds/reward": _metric("seconds", "time to judge them", "lower"),
    "seconds/old_logp": _metric(
        "seconds", "time for the learner's log-probabilities before the updates", "lower"
    ),
    "seconds/ref_logp": _metric("seconds", "time for the frozen reference's log-probabilities", "lower"),
    "seconds/update": _metric("seconds", "time for all updates of the step", "lower"),
    "seconds/observatory": _metric(
        "seconds", "time for what only looks: the theory's two sides, recorded rollouts", "lower"
    ),
    "seconds/step": _metric("seconds", "time of the whole step", "lower"),
    "throughput/rollout_tokens_per_second": _metric(
        "tokens/second", "response tokens sampled a second", "higher"
    ),
    "throughput/update_tokens_per_second": _metric(
        "tokens/second", "response tokens learned from a second", "higher"
    ),
    "throughput/judged_responses_per_second": _metric(
        "responses/second", "responses judged a second", "higher"
    ),
    "heldout/num_prompts": _metric("count", "held-out prompts that were asked"),
    "heldout/num_samples": _metric("count", "responses sampled to each of them"),
    "heldout/accuracy": _metric("fraction", "held-out responses judged right", "higher"),
    "heldout/average@k": _metric(
        "fraction", "the same, under its name in papers; suites call it mean@k; k samples a prompt", "higher"
    ),
    "heldout/pass@k": _metric(
        "fraction",
        "held-out prompts of which at least one of k samples is right, unbiased estimate",
        "higher",
    ),
    "heldout/mean_length_tokens": _metric("tokens", "mean length of held-out responses"),
    "heldout/truncated_fraction": _metric("fraction", "held-out responses cut at the limit", "lower"),
    "heldout/greedy_accuracy": _metric(
        "fraction", "held-out prompts whose greedy response is judged right", "higher"
    ),
    "heldout/greedy_mean_length_tokens": _metric("tokens", "mean length of greedy held-out responses"),
    "heldout/greedy_truncated_fraction": _metric(
        "fraction", "greedy held-out responses cut at the limit", "lower"
    ),
    "validation/mean": _metric(
        "fraction", "unweighted mean of mean@n over the benchmarks of the suite that validates", "higher"
    ),
    "validation/NAME/num_problems": _metric("count", "problems of the benchmark NAME that were asked"),
    "validation/NAME/num_too_long": _metric("count", "its problems left out for their length", "lower"),
    "validation/NAME/num_duplicates": _metric("count", "rows of its file left out as seen before"),
    "validation/NAME/num_malformed": _metric("count", "rows of its file left out as malformed", "lower"),
    "validation/NAME/mean@k": _metric(
        "fraction", "responses to its problems judged right; k samples a problem", "higher"
    ),
    "validation/NAME/pass@k": _metric(
        "fraction", "its problems of which at least one of k samples is right, unbiased estimate", "higher"
    ),
    "validation/NAME/maj@k": _metric(
        "fraction", "its problems of which the answer most of k samples give is right", "higher"
    ),
    "validation/NAME/mean_length_tokens": _metric("tokens", "mean length of the responses"),
    "validation/NAME/truncated_fraction": _metric("fraction", "responses cut at the limit", "lower"),
    "validation/NAME/unanswered_fraction": _metric(
        "fraction", "responses without an answer, time-outs of judges left out", "lower"
    ),
    "validation/NAME/judge_timeouts": _metric(
        "count", "responses whose judging was cut off at its time limit", "lower"
    ),
}
"""By name; where a name ends in @k, k stands for any number, and NAME for any benchmark."""


def metric_of(name: str) -> Metric | None:
    """What the legend says of a name, such as "reward/mean" or "heldout/pass@8"; None when nothing."""
    name = re.sub(r"^validation/[^/]+/", "validation/NAME/", name)
    return METRICS.get(re.sub(r"@\d+$", "@k", name))


def unknown_names(names: Iterable[str]) -> tuple[str, ...]:
    """The names that the legend does not explain, in their order."""
    return tuple(name for name in names if metric_of(name) is None)


def legend_markdown() -> str:
    """The legend as a Markdown table."""
    rows = [f"| `{name}` | {metric.meaning} | {metric.unit} |" for name, metric in METRICS.items()]
    return "\n".join(["| name | meaning | unit |", "|---|---|---|", *rows, ""])
