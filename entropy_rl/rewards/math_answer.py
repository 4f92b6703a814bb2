r"""Judging an answer in mathematics: the last \boxed{} of a response against the known answer.

Equality is decided by math-verify, without its own alarms: they work in a main thread only and cannot stop
code that holds the interpreter. Responses are hostile input, so judge them in a `JudgePool`, whose processes
are killed at a time limit.
"""

from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

from entropy_rl.rewards.scores import Score

MAX_ANSWER_CHARACTERS = 1000
"""Longer boxed answers score 0 unread: no known answer comes near, and parsing is slower than linear."""

_BOX = r"\boxed{"
_EXTRACTION = (LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig())


def judge(response: str, answer: str) -> Score:
    r"""1 when the last \boxed{} of the response equals the answer (LaTeX or plain), else 0.

    It may take unbounded time and memory on hostile text.
    """
    boxed = last_boxed(response)
    if boxed is None:
        return Score(score=0.0, method="no box")
    if len(boxed) > MAX_ANSWER_CHARACTERS:
        return Score(score=0.0, method="too long", extracted=boxed)
    if boxed.strip() == answer.strip():
        return Score(score=1.0, method="exact", extracted=boxed)
    gold, given = _parse_boxed(answer), _parse_boxed(boxed)
    equal = bool(gold) and bool(given) and verify(gold, given, timeout_seconds=None)
    return Score(score=float(equal), method="math-verify", extracted=boxed)


def _parse_boxed(text: str) -> list:
    return parse(f"{_BOX}{text}}}", extraction_config=_EXTRACTION, parsing_timeout=None)


def last_boxed(text: str) -> str | None:
    r"""The content of the last \boxed{}, braces matched; None when there is none or it is never closed."""
    start = text.rfind(_BOX)
    if start < 0:
        return None
    start += len(_BOX)
    depth, escaped = 1, False
    for position in range(start, len(text)):
        character = text[position]
        if escaped or character == "\\":
            escaped = not escaped
        elif character in "{}":
            depth += 1 if character == "{" else -1
            if depth == 0:
                return text[start:position]
    return None


def gsm8k_answer(solution: str) -> str | None:
    """The number after the last #### of a GSM8K solution, without thousands separators; None without one."""
    _, mark, answer = solution.rpartition("####")
    return answer.strip().replace(",", "") or None if mark else None
