"""Hostile text costs at most its limit, and the pool judges on."""

import time

import pytest

from entropy_rl.rewards.pool import JudgeItem, JudgeLimits, JudgePool

LIMIT_SECONDS = 1.0
OVERHEAD_SECONDS = 1.0  # a busy machine's

NESTED = {
    "fractions": lambda n: r"\frac{1}{" * n + "1" + "}" * n,
    "fractions above": lambda n: r"\frac{" * n + "1" + "}{2}" * n,
    "roots": lambda n: r"\sqrt{" * n + "2" + "}" * n,
    "parentheses": lambda n: "(" * n + "1" + ")" * n,
    "sets": lambda n: r"\{" * n + "1" + r"\}" * n,
    "brackets": lambda n: "[" * n + "1,2" + "]" * n,
    "braces": lambda n: "{" * n + "1" + "}" * n,
    "powers": lambda n: "9^{" * n + "9" + "}" * n,
    "bare powers": lambda n: "9^" * n + "9",
    "factorials": lambda n: "(" * n + "99" + ")!" * n,
    "exclamations": lambda n: "9" + "!" * n,
    "sines": lambda n: r"\sin(" * n + "x" + ")" * n,
    "boxes": lambda n: r"\boxed{" * n + "1" + "}" * n,
    "texts": lambda n: r"\text{" * n + "a" + "}" * n,
    "binomials": lambda n: r"\binom{" * n + "9" + "}{3}" * n,
    "absolutes": lambda n: "|" * n + "x" + "|" * n,
    "matrices": lambda n: r"\begin{pmatrix}" * n + "1" + r"\end{pmatrix}" * n,
    "tuples": lambda n: "(1," * n + "1" + ")" * n,
    "indices": lambda n: "x_{" * n + "1" + "}" * n,
}
REPEATED = {
    "digits": "9", "zeros": "0", "letters": "x", "signs": "-", "plus-minus": r"\pm ", "sums": "1+",
    "commas": ",",
    "items": "1,", "thousands": ",999", "equations": "x=", "inequalities": "x<", "unions": r"(0,1)\cup ",
    "cells": "1&", "rows": r"1\\", "backslashes": "\\", "open braces": "{", "closed braces": "}", "NUL": "\0",
    "spaces": " ", "line ends": "\n", "dollars": "$", "units": r"\text{cm}", "commands": r"\frac",
    "roots": r"\sqrt",
    "definitions": r"\def\a{\a\a}\a", "snowmen": "\u2603", "combining": "e\u0301", "surrogates": "\ud800",
    "products": "(x+1)", "powers": "x^2", "words": "word ", "hats": "^", "colons": "1:", "percents": "%",
    "primes": "x'", "open boxes": r"\boxed{",
}  # fmt: skip
SPECIAL = [
    "9^{9^{9^{9}}}", "9^9^9^9", "9**9**9**9", "10^{10^{10}}", "2^{99999}", "2^{2^{99}}", "(2^{9999})^{9999}",
    "((9!)!)!", "1000000!", "(1000000!)!", "9999!^{9999}", r"\binom{99999}{50000}", "1e999999", "1e-999999",
    "1e999999999999", r"1\cdot10^{99999999}", r"\frac{1}{0}",
    "0^{-1}", r"\log 0", r"\tan\frac{\pi}{2}", "0/0",
    r"\sum_{k=1}^{10^{9}} k", r"\prod_{k=1}^{99999} k", r"\int_0^{\infty} e^{-x^2} dx", r"\lim_{x\to0} x",
    r"(x+y+z+w)^{200}", r"(x+y)^{9999}", r"\frac{d}{dx} x^{x^{x}}", "x^{x^{x^{x}}}", r"\sqrt[99999]{2}",
    r"\lfloor 9^{9^9} \rfloor", r"\sin 9^{9^9}", "0x" + "f" * 900, r"1_{99999999}", r"zz_{10}", r"9_{0}",
    "__import__('os').system('true')", "exec('1')", "\\write18{true}", "\\input{/etc/passwd}", "{'a': 1}",
    "\u0663\u0664", "\uff11", "\u00b2\u00b3", "\u202e12", "nan", "inf", "oo", "zoo", "-0", "I", "E",
    "S.x", "lambda",
]  # fmt: skip


def hostile_items() -> list[JudgeItem]:
    """Two hundred and more: in a box, with no box around, never closed, and as the known answer."""
    contents = [make(n) for make in NESTED.values() for n in (5, 60)]
    contents += [unit * (900 // len(unit)) for unit in REPEATED.values()] + SPECIAL
    items = [JudgeItem(response=rf"\boxed{{{content}}}", answer="7") for content in contents]
    items += [
        JudgeItem(response=rf"\boxed{{{unit * 10**6}"[: 10**6], answer="7") for unit in REPEATED.values()
    ]
    items += [JudgeItem(response=rf"\boxed{{{make(10**4)}}}", answer="7") for make in NESTED.values()]
    items += [JudgeItem(response=r"\boxed{x+1}", answer=content) for content in SPECIAL]
    return [*items, JudgeItem(response=r"\boxed " * 10**5, answer="7")]


def judge_all(items: list[JudgeItem]) -> float:
    """Judges them, asserts what must hold, and returns the share that was killed."""
    limits = JudgeLimits(time_limit_seconds=LIMIT_SECONDS, memory_limit_mib=1024)
    with JudgePool(num_workers=2, limits=limits) as pool:
        judgements = pool.judge_all(items)
        costly = [
            (item.response[:50], item.answer[:50], judgement.seconds)
            for item, judgement in zip(items, judgements, strict=True)
            if judgement.score != 0 or judgement.seconds > LIMIT_SECONDS + OVERHEAD_SECONDS
        ]
        assert costly == []
        after = pool.judge_all([JudgeItem(response=r"\boxed{7}", answer="7")] * 4)
        assert [judgement.score for judgement in after] == [1.0] * 4
    return sum(judgement.timed_out for judgement in judgements) / len(items)


@pytest.mark.slow
def test_two_hundred_hostile_texts_cost_at_most_their_limit_and_few_are_killed():
    items = hostile_items()
    assert len(items) >= 200
    start_seconds = time.perf_counter()
    killed_fraction = judge_all(items)
    seconds = time.perf_counter() - start_seconds
    print(f"{len(items)} hostile texts, {killed_fraction:.1%} killed, {seconds:.1f} s")
    assert killed_fraction <= 0.05


def test_the_worst_of_them_cost_at_most_their_limit():
    contents = SPECIAL[:8] + [NESTED["parentheses"](60), NESTED["fractions"](300), "9" * 10**6, "\0" * 999]
    judge_all([JudgeItem(response=rf"\boxed{{{content}}}", answer="7") for content in contents])
