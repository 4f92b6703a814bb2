"""The curves of theory, lengths, health and time; see `sections`."""

from entropy_rl.observatory.page.charts import SHADES, Band, Chart, Section, bold, dashed, plain

THEORY_OFF = "the theory is measured every few steps (recording.theory_every_steps; 0 is never)"

THEORY = Section(
    key="theory",
    title="Theory",
    charts=(
        Chart(
            key="lemma1",
            title="Change of entropy in a step",
            unit="nats per token",
            lines=(
                bold("theory/entropy_change", "measured", "entropy"),
                plain("theory/lemma1", "-Cov(logp, change of logp)", "blue"),
            ),
            note="Lemma 1: the two sides agree to first order, whatever the step size.",
            absent=THEORY_OFF,
        ),
        Chart(
            key="theorems",
            title="The theorems' covariances",
            unit="per token",
            lines=(
                plain("theory/theorem1_covariance", "Cov(logp, p A): policy gradient", "purple"),
                plain("theory/theorem2_covariance", "Cov(logp, A): natural gradient", "teal"),
            ),
            scale="symlog",
            note="Positive: good responses are likely already, and the entropy falls.",
            absent=THEORY_OFF,
        ),
    ),
)

LENGTH = Section(
    key="length",
    title="Length",
    charts=(
        Chart(
            key="length",
            title="Response length",
            unit="tokens",
            lines=(bold("length/mean", "mean", "teal"),),
            bands=(
                Band(
                    low="length/min",
                    high="length/max",
                    label="shortest to longest",
                    colour="teal",
                    opacity=0.15,
                ),
            ),
            from_zero=True,
        ),
        Chart(
            key="truncated",
            title="Cut at the limit, stopped too early",
            unit="fraction",
            lines=(
                bold("length/truncated_fraction", "truncated", "teal"),
                plain(
                    "sampler/stop_suppressed_fraction",
                    "draws where a stop token led but was forbidden",
                    "entropy",
                ),
                plain("sampler/stop_suppressed_mass", "its probability there", "purple"),
            ),
            from_zero=True,
        ),
    ),
)

HEALTH = Section(
    key="health",
    title="Health of the policy and of the update",
    charts=(
        Chart(
            key="logits",
            title="The sampler's likeliest tokens",
            unit="probability",
            lines=(
                bold("logits/max_probability", "likeliest", "entropy"),
                *(
                    plain(f"logits/top_{n}", f"rank {n}", colour)
                    for n, colour in zip(range(2, 6), reversed(SHADES[:4]), strict=True)
                ),
            ),
            from_zero=True,
        ),
        Chart(
            key="gap",
            title="Gap of the two largest logits",
            unit="nats, over the temperature",
            lines=(bold("logits/gap", "gap", "entropy"),),
            from_zero=True,
        ),
        Chart(
            key="guard",
            title="What the guard did",
            unit="coefficient of the entropy bonus",
            lines=(bold("guard/entropy_coef", "coefficient", "entropy"),),
            absent="the configuration has no guard and no entropy bonus",
        ),
        Chart(
            key="collapsed",
            title="Steps in a row below the guard's threshold",
            unit="steps",
            lines=(plain("guard/collapsed_steps", "steps", "entropy"),),
            from_zero=True,
            absent="the configuration has no guard that watches for collapse",
        ),
        Chart(
            key="kl",
            title="How far a step moves the policy",
            unit="nats, log",
            lines=(
                bold("policy/approx_kl_k3", "KL (k3)", "blue"),
                plain("policy/absolute_log_ratio", "|log ratio|", "quiet"),
                plain("policy/reference_kl", "KL to the reference", "teal"),
            ),
            scale="log",
        ),
        Chart(
            key="gradient",
            title="Gradient norm",
            unit="before clipping",
            lines=(
                bold("optimizer/grad_norm", "norm", "blue"),
                plain("optimizer/skipped_updates", "skipped updates", "entropy"),
            ),
            from_zero=True,
        ),
        Chart(
            key="mismatch",
            title="Sampler against learner",
            unit="nats, log",
            lines=(
                plain("mismatch/logp_gap_max", "largest difference of logp", "entropy"),
                bold("mismatch/logp_gap_mean", "mean difference", "blue"),
                plain("staleness/logp_gap_mean", "in stale groups", "teal"),
            ),
            scale="log",
        ),
        Chart(
            key="staleness",
            title="Age of what was learned from",
            unit="steps",
            lines=(
                bold("staleness/mean", "mean", "blue"),
                dashed("staleness/max", "oldest", "quiet"),
            ),
            from_zero=True,
            absent="there is no dynamic sampling: every group is learned from in the step that sampled it",
        ),
    ),
)

TIME = Section(
    key="time",
    title="Time",
    charts=(
        Chart(
            key="seconds",
            title="Time of a step",
            unit="seconds, log",
            lines=(
                bold("seconds/step", "step", "ink"),
                plain("seconds/rollout", "rollout", "blue"),
                plain("seconds/update", "update", "entropy"),
                plain("seconds/reward", "judging", "teal"),
                plain("seconds/observatory", "observatory", "purple"),
            ),
            scale="log",
        ),
    ),
)
