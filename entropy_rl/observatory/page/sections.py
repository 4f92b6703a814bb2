"""The curves of the report, as data: what each section shows, and why a run may lack it."""

from entropy_rl.observatory.page.charts import SHADES, Band, Chart, Section, bold, dashed, plain
from entropy_rl.observatory.page.health_sections import HEALTH, LENGTH, THEORY, TIME

ENTROPY = Section(
    key="entropy",
    title="Entropy",
    charts=(
        Chart(
            key="entropy",
            title="Policy entropy",
            unit="nats per token",
            lines=(
                bold("policy/entropy", "mean over tokens", "entropy"),
                plain("policy/entropy_sequence_mean", "mean over responses", "blue"),
                dashed("entropy/q50", "median token", "quiet"),
            ),
            bands=(
                Band(low="entropy/q10", high="entropy/q90", label="10-90 %", colour="entropy", opacity=0.14),
                Band(low="entropy/q25", high="entropy/q75", label="25-75 %", colour="entropy", opacity=0.2),
            ),
            from_zero=True,
            note="Full-vocabulary entropy at the sampling temperature, before the step's updates.",
        ),
        Chart(
            key="entropy-tail",
            title="The most uncertain tokens",
            unit="nats per token",
            lines=(
                bold("entropy/top_20_percent", "mean of top 20 %", "entropy"),
                plain("entropy/q99", "99 %", "blue"),
                dashed("entropy/max", "largest", "quiet"),
            ),
            from_zero=True,
            note="The forks of a response: where these fall too, the policy no longer branches at all.",
        ),
        Chart(
            key="entropy-position",
            title="Entropy along the response",
            unit="tenth of the response",
            rows=tuple(f"entropy/decile_{n}" for n in range(1, 11)),
            note="Mean entropy of the tokens in each tenth of their response; bottom: its beginning.",
        ),
        Chart(
            key="surprisal",
            title="Surprisal against entropy",
            unit="nats per token",
            lines=(
                bold("policy/surprisal", "surprisal of the drawn tokens", "entropy"),
                dashed("policy/entropy", "entropy", "blue"),
                plain("generation/surprisal", "the sampler's, all groups", "teal"),
            ),
            from_zero=True,
            note="Equal but for chance, when tokens are drawn from the policy that is measured.",
        ),
    ),
)

REWARD = Section(
    key="reward",
    title="Reward and accuracy",
    charts=(
        Chart(
            key="reward",
            title="Training reward",
            unit="mean over responses",
            lines=(
                bold("reward/mean", "reward", "blue"),
                dashed("reward/pass_rate", "pass rate", "entropy"),
                dashed("reward/valid_fraction", "well-formed", "quiet"),
            ),
        ),
        Chart(
            key="heldout",
            title="Held-out accuracy",
            unit="fraction",
            lines=(
                bold("heldout/accuracy", "accuracy", "blue"),
                plain("heldout/pass@k", "pass@{}", "purple"),
                dashed("heldout/greedy_accuracy", "greedy", "quiet"),
                bold("validation/mean", "mean of the suite", "blue"),
                plain("validation/NAME/mean@k", "{}", "purple"),
            ),
            note="pass@k counts a prompt when any of k samples is right: it is what lost diversity costs.",
            absent="the configuration has neither an evaluation nor a validation suite, or none was due yet",
        ),
        Chart(
            key="groups",
            title="Groups that teach nothing",
            unit="fraction of groups",
            lines=(
                bold("reward/groups_zero_variance", "equal rewards", "blue"),
                dashed("reward/groups_zero_variance_expected", "expected by chance", "quiet"),
                plain("reward/groups_all_right", "all right", "teal"),
                plain("reward/groups_all_wrong", "all wrong", "entropy"),
            ),
            from_zero=True,
            note="Chance: p^G + (1 - p)^G at the pass rate p.",
        ),
        Chart(
            key="duplicates",
            title="Repetition within groups",
            unit="fraction of responses",
            lines=(
                bold("group/duplicate_fraction", "equal", "entropy"),
                plain("group/near_duplicate_fraction", "nearly equal", "blue"),
            ),
            from_zero=True,
        ),
        Chart(
            key="advantage",
            title="Advantages",
            unit="standard deviation, fraction",
            lines=(
                bold("advantage/std", "standard deviation", "blue"),
                plain("advantage/nonzero_fraction", "share that is not 0", "teal"),
                dashed("advantage/max_abs", "largest", "quiet"),
            ),
            from_zero=True,
        ),
    ),
)

COVARIANCE = Section(
    key="covariance",
    title="Covariance",
    charts=(
        Chart(
            key="covariance",
            title="Token covariance",
            unit="nats, linear near 0, then log",
            lines=(
                bold("covariance/mean", "mean", "ink"),
                plain("covariance/max", "largest", "cov-4"),
                plain("covariance/q999", "99.9 %", "cov-3"),
                plain("covariance/q99", "99 %", "cov-2"),
                plain("covariance/q90", "90 %", "cov-1"),
                dashed("covariance/q50", "median", "quiet"),
            ),
            scale="symlog",
            note="(logp - mean) (advantage - mean) of each token; what is positive lowers the entropy.",
        ),
        Chart(
            key="covariance-top",
            title="How few tokens carry it",
            unit="nats, log",
            lines=tuple(
                plain(f"covariance/top_{percent}_percent", f"top {percent} %", colour)
                for percent, colour in zip(("50", "20", "2", "0.2", "0.02"), SHADES, strict=True)
            )
            + (dashed("covariance/mean", "all", "quiet"),),
            scale="symlog",
            note="Mean covariance of the tokens that have the most of it (the paper's Table 1).",
        ),
        Chart(
            key="selected",
            title="Selected tokens",
            unit="tokens",
            lines=(
                bold("selection/selected", "selected", "purple"),
                dashed("selection/quota", "quota", "quiet"),
                plain("selection/selected_positive_advantage", "of advantage > 0", "blue"),
                plain("selection/selected_negative_advantage", "of advantage < 0", "entropy"),
            ),
            from_zero=True,
            zero_is_absent=True,
            absent="the objective selects no tokens by covariance",
        ),
        Chart(
            key="clip",
            title="Clipping",
            unit="fraction of tokens",
            lines=(
                plain("policy/clip_fraction_clip_high", "from above", "blue"),
                plain("policy/clip_fraction_clip_low", "from below", "entropy"),
                plain("policy/clip_fraction_dual", "dual clip", "teal"),
                plain("policy/clip_fraction_cov", "Clip-Cov", "purple"),
                plain("policy/clip_fraction_kl_penalty", "KL-Cov's penalty", "purple"),
            ),
            from_zero=True,
            absent="the objective neither clips nor selects",
        ),
    ),
)

SECTIONS = (ENTROPY, REWARD, COVARIANCE, THEORY, LENGTH, HEALTH, TIME)
