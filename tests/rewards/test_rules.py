"""Rules: which reward a data source has, and that judging follows them."""

from pathlib import Path

import pytest

from entropy_rl.rewards.judging import Answered, Judges
from entropy_rl.rewards.rules import (
    STANDARD_ROUTES,
    CodeReward,
    CustomReward,
    FormatReward,
    GSM8KReward,
    MathReward,
    MultipleChoiceReward,
    RewardRules,
    Route,
    Weighted,
)
from tests.rewards.sandboxes import skip_or_fail

PROBE = CustomReward(function="probe_judges:with_parts", arguments=(("bonus", 0.5),))
RULES = RewardRules(
    routes=(
        Route(data_source="aime2?", reward=GSM8KReward()),
        Route(data_source="aime*", reward=PROBE),
        Route(data_source="code", reward=CustomReward(function="probe_judges:obey")),
    )
)


@pytest.fixture(autouse=True)
def probes_can_be_imported(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


def item(response, data_source="", answer="7"):
    return Answered(response=response, answer=answer, data_source=data_source)


def test_the_first_route_that_fits_a_source_is_taken_and_others_have_the_default():
    assert RULES.of("aime24") == GSM8KReward()
    assert RULES.of("aime2024") == PROBE
    assert RULES.of("AIME24") == GSM8KReward()
    assert RULES.of("") == RULES.of("an aime24") == MathReward()


def test_what_is_not_mathematics_is_known_by_the_names_of_data_sets():
    rewards = {
        GSM8KReward(): ("gsm8k", "openai/gsm8k", "GSM8K_main"),
        MultipleChoiceReward(): ("bbq_age", "cais/mmlu", "Idavidrein/gpqa"),
        CodeReward(): ("code", "deepmind/code_contests", "codeparrot/apps", "openai_humaneval", "mbpp"),
        MathReward(): ("math_dapo", "aime24", "decoded", "appsolute"),
    }
    for reward, names in rewards.items():
        assert [RewardRules().of(name) for name in names] == [reward] * len(names)


def test_the_rewards_that_rules_name_are_certain_each_once_and_standard_ones_are_not():
    rules = RewardRules(
        routes=(
            Route(data_source="a", reward=MathReward()),
            Route(data_source="b", reward=PROBE),
            *STANDARD_ROUTES,
        ),
        added=(Weighted(reward=PROBE, weight=1.0), Weighted(reward=FormatReward(), weight=1.0)),
    )
    assert rules.certain == (MathReward(), PROBE, FormatReward())


@pytest.mark.parametrize("weight", [float("nan"), float("inf")])
def test_a_weight_that_is_no_number_is_refused(weight):
    with pytest.raises(ValueError, match="must be finite"):
        RewardRules(weight=weight)
    with pytest.raises(ValueError, match="must be finite"):
        RewardRules(added=(Weighted(reward=PROBE, weight=weight),))


def test_responses_are_judged_by_the_reward_of_their_source_in_their_order():
    asked = [("x", "aime2024"), (r"\boxed{7}", ""), ("fine", "code"), (r"\boxed{8}", ""), ("raise", "code")]
    items = [item(*pair) for pair in asked]
    with Judges(RewardRules(routes=RULES.routes[1:]), num_workers=2) as judges:
        judged = list(judges.judge(items))
    assert [one.judgement.score for one in judged] == [0.75, 1.0, 0.5, 0.0, 0.0]
    assert [one.num_errors for one in judged] == [0, 0, 0, 0, 1]
    assert judged[0].judgement.method == "by hand" and judged[1].judgement.extracted == "7"


def test_rules_with_a_judge_that_cannot_work_are_refused_on_entering():
    broken = RewardRules(routes=(Route(data_source="x", reward=CustomReward(function="absent:judge")),))
    with pytest.raises(ValueError, match="able to run 'absent:judge'"):
        Judges(broken, num_workers=1).__enter__()


def test_judges_of_standard_routes_start_when_a_response_needs_them(monkeypatch):
    broken = (Route(data_source="x", reward=CustomReward(function="absent:judge")),)
    monkeypatch.setattr("entropy_rl.rewards.rules.STANDARD_ROUTES", broken)
    with Judges(RewardRules(routes=broken), num_workers=1) as judges:
        assert next(judges.judge([item(r"\boxed{7}")])).reward == 1.0
        with pytest.raises(ValueError, match="able to run 'absent:judge'"):
            next(judges.judge([item("anything", "x")]))


def test_all_judges_work_at_the_same_time(tmp_path):
    def waiting(me, other):
        return CustomReward(function="probe_judges:meet", arguments=(("me", me), ("other", other)))

    route = Route(data_source="x", reward=waiting("one", "two"))
    items = [item("", "x", answer=str(tmp_path)), item("", answer=str(tmp_path))]
    with Judges(RewardRules(routes=(route,), default=waiting("two", "one")), num_workers=1) as judges:
        assert [judged.reward for judged in judges.judge(items)] == [1.0, 1.0]


@pytest.mark.parametrize("function", ["brevity", ":brevity", "my_rewards:"])
def test_a_function_that_is_not_named_with_its_module_is_refused(function):
    with pytest.raises(ValueError, match='named "module:function"'):
        CustomReward(function=function)


def test_a_pattern_that_is_no_regular_expression_is_refused():
    with pytest.raises(ValueError, match="must be a regular expression"):
        FormatReward(pattern="(")


def test_tests_that_could_outlast_their_judge_are_refused():
    with pytest.raises(ValueError, match="below limits.time_limit_seconds"):
        CodeReward(time_limit_seconds=40.0)
    with pytest.raises(ValueError, match="num_tests must be at least 1"):
        CodeReward(num_tests=0)


def test_programs_are_judged_by_the_tests_of_their_answer():
    rules = RewardRules(default=CodeReward(share=True, num_tests=2))
    tests = '{"fn_name": "add", "inputs": [[2, 3], [1, 1], [0, 0]], "outputs": [5, 3, 7]}'
    program = "```python\ndef add(a, b):\n    return a + b\n```"
    try:
        judges = Judges(rules, num_workers=1).__enter__()
    except ValueError as refusal:
        skip_or_fail(str(refusal))
    with judges:
        judged = next(judges.judge([item(program, answer=tests)]))
    # The first two of three tests are run, and one of them is passed.
    assert judged.judgement.score == 0.5 and judged.judgement.method == "passed 1/2"
