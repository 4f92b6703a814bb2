"""Graders: countdown's is exact, that of rules routes, adds and punishes as they say."""

import numpy as np
import pytest

from entropy_rl.data.graders import Response, RuleGrader
from entropy_rl.data.prompts import Prompt
from entropy_rl.data.tasks import CountdownTask
from entropy_rl.rewards.judging import Judges
from entropy_rl.rewards.pool import JudgeLimits
from entropy_rl.rewards.rules import FormatReward, MathReward, RewardRules, Weighted
from entropy_rl.rewards.shaping import OverlongPenalty

ONE_SECOND = JudgeLimits(time_limit_seconds=1.0)


def prompt(answer, data_source="here"):
    return Prompt(
        prompt_id=0, content=answer + ":", answer=answer, data_source=data_source, origin="this test"
    )


def responses(*groups, num_tokens=3):
    return [[Response(text=text, num_tokens=num_tokens) for text in group] for group in groups]


def grade(rules: RewardRules, prompts, answered, max_tokens=11):
    with Judges(rules, num_workers=1) as judges:
        return RuleGrader(judges, rules.overlong, max_tokens=max_tokens).grade(prompts, answered)


def test_countdown_grades_are_exact_and_measure_diversity():
    prompts = [prompt("3,5,7=22"), prompt("1,2,3=6")]
    # First group: one solution twice, one valid expression, one invalid. Second: two solutions, one twice.
    answered = responses(["3*5+7", "7+5*3", "3+5+7", "22"], ["1+2+3", "1*2*3", "3+2+1", ""])
    with CountdownTask().open_grader() as grader:
        grades = grader.grade(prompts, answered)
    assert grades.correct_PG.tolist() == [[True, True, False, False], [True, True, True, False]]
    assert grades.reward_PG.dtype == np.float32 and (grades.reward_PG == grades.correct_PG).all()
    assert grades.num_timeouts == 0 and grades.responses_per_second > 0
    # 6 of 8 are valid; (1 + 2) different right answers over 2 prompts.
    assert grades.details == {"reward/valid_fraction": 0.75, "reward/distinct_right_answers": 1.5}
    assert grades.extracted_PG[0, 0] == grades.extracted_PG[0, 1] != grades.extracted_PG[0, 2]
    assert grades.extracted_PG[0, 3] is None
    assert list(grades.method_PG[0, :3]) == ["exact", "exact", "the value is 15, not 22"]


def test_boxed_answers_are_graded_and_a_hanging_one_costs_only_itself():
    prompts = [prompt(str(i)) for i in range(3)]
    answered = responses(*([rf"\boxed{{{i}}}", "hang" if i == 1 else r"\boxed{7}"] for i in range(3)))
    rules = RewardRules(
        default=MathReward(limits=ONE_SECOND),
        added=(Weighted(reward=FormatReward(pattern="^(h|hh)+$", limits=ONE_SECOND), weight=0.5),),
    )
    answered[1][1] = Response(text="h" * 60 + "!", num_tokens=61)  # whose form takes for ever to look for
    grades = grade(rules, prompts, answered)
    assert grades.correct_PG.tolist() == [[True, False]] * 3
    assert grades.reward_PG.tolist() == [[1.0, 0.0]] * 3
    assert grades.timed_out_PG.tolist() == [[False, False], [False, True], [False, False]]
    assert grades.details["reward/judge_errors"] == 0
    assert grades.extracted_PG[:, 0].tolist() == ["0", "1", "2"]


def test_the_reward_is_the_weighted_score_with_what_is_added_and_the_penalty_of_length():
    rules = RewardRules(
        weight=2.0,
        added=(Weighted(reward=FormatReward(), weight=0.25),),
        overlong=OverlongPenalty(buffer_tokens=4, factor=0.5),
    )
    answered = [
        [
            Response(text=r"\boxed{7}", num_tokens=7),
            Response(text=r"\boxed{5}", num_tokens=9),
            Response(text="7", num_tokens=11),
        ]
    ]
    grades = grade(rules, [prompt("7")], answered)
    # 2 + 0.25 - 0; 0 + 0.25 - 0.5 * (9 - 7) / 4; 0 + 0 - 0.5
    assert grades.reward_PG.tolist() == [[2.25, 0.0, -0.5]]
    assert grades.correct_PG.tolist() == [[True, False, False]]
    assert grades.details == pytest.approx(
        {"reward/score": 1 / 3, "reward/overlong_penalty": -0.25, "reward/judge_errors": 0}
    )
