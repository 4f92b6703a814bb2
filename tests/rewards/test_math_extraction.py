"""Boxes, GSM8K answers, letters of choices, known answers; and the judges that use them."""

import pytest

from entropy_rl.rewards.mathematics.extraction import (
    announced_choice,
    choice_letters,
    gsm8k_answer,
    known_answers,
    last_boxed,
)
from entropy_rl.rewards.mathematics.judges import MAX_EXTRACTED_CHARACTERS, judge, judge_choice, judge_gsm8k


@pytest.mark.parametrize(
    "text, content",
    [
        (r"so \boxed{7}.", "7"),
        (r"\boxed{1} then \boxed{2}", "2"),
        (r"\boxed{1} then \fbox{2}", "2"),
        (r"\boxed {3}", "3"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\boxed{5}}", "5"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\left\{1\right.}", r"\left\{1\right."),
        (r"\boxed{}", ""),
        (r"so \boxed 7.", "7"),
        (r"so \boxed -3.5, then", "-3.5"),
        (r"so $\boxed x$", "x"),
        (r"\boxed{7}, as \boxed asks", "7"),
        (r"\boxed{7}, in a \boxedanswer{8}", "7"),
        ("no box", None),
        (r"put it in \boxed", None),
        (r"\boxed{1} then \boxed{\frac{1}{2}", None),
        ("", None),
    ],
)
def test_the_last_box_is_read_with_its_braces_matched(text, content):
    assert last_boxed(text) == content


@pytest.mark.parametrize(
    "solution, answer",
    [
        ("2+2=4\n#### 4", "4"),
        ("#### 1\n#### 1,234", "1234"),
        ("####  -3.5 ", "-3.5"),
        ("#### $18 a day\nor 19", "18"),
        ("#### 2 + 3 = 5", "5"),
        ("#### 4 or 5", None),
        ("4", None),
        ("####", None),
    ],
)
def test_a_gsm8k_answer_follows_the_last_mark(solution, answer):
    assert gsm8k_answer(solution) == answer


@pytest.mark.parametrize(
    "text, letters",
    [
        ("B", "B"),
        ("(B)", "B"),
        ("B.", "B"),
        ("B. It rains", "B"),
        ("(B) It rains", "B"),
        (r"\text{(B)}", "B"),
        (r"\textbf{B}", "B"),
        (r"$\mathrm{B}$", "B"),
        ("C, A", "AC"),
        ("(A) and (C)", "AC"),
        ("CA", "AC"),
        ("b", "B"),
        (r"\text{(b)}", "B"),
        ("ACID", None),
        ("A dog", None),
        ("AA", None),
        ("12", None),
        ("", None),
    ],
)
def test_the_letters_of_a_choice_are_read_in_their_usual_forms(text, letters):
    assert choice_letters(text) == letters


def test_the_announced_choice_is_the_last_one_and_no_article():
    assert announced_choice("The answer is (B). No: the answer is **C**.") == "C"
    assert announced_choice("Answer: D") == "D"
    assert announced_choice("The answer is I'm not sure") is None
    assert announced_choice("The answer is A or B") is None
    assert announced_choice("The answer is (A)/(B)") is None
    assert announced_choice("The answer is A, C and B.") == "ABC"
    assert announced_choice("The answer is Alps") is None


@pytest.mark.parametrize(
    "answer, answers",
    [
        ("1/2", ("1/2",)),
        (r"thus \boxed{1/2}.", ("1/2",)),
        ('["(1, 2)", "\\\\boxed{(2, 1)}"]', ("(1, 2)", "(2, 1)")),
        ("[1, 2]", ("[1, 2]",)),
        ('["1", 2]', ('["1", 2]',)),
        ('["1"', ('["1"',)),
        ('[ "2", "3" ]', ("2", "3")),
    ],
)
def test_a_known_answer_is_a_text_or_a_json_list_of_texts(answer, answers):
    assert known_answers(answer) == answers


@pytest.mark.parametrize(
    "response, answer, score, method",
    [
        (r"\boxed{72}", "72", 1, "exact"),
        (r"\boxed{ \dfrac12 }", r"\frac{1}{2}", 1, "normalised"),
        (r"\boxed{0.5}", r"\frac{1}{2}", 1, "numeric"),
        (r"\boxed{\sqrt{8}}", r"2\sqrt{2}", 1, "math-verify"),
        (r"\boxed{C}", r"\text{(C)}", 1, "choice"),
        (r"\boxed{2}", '["1", "2"]', 1, "exact"),
        (r"\boxed{3}", '["1", "2"]', 0, "different"),
        ("Answer: 72", "72", 0, "no box"),
        (r"\boxed{}", "0", 0, "different"),
        (r"\boxed{}", "", 0, "different"),
        (r"\boxed{" + "9" * (MAX_EXTRACTED_CHARACTERS + 1) + "}", "9", 0, "too long"),
    ],
)
def test_a_judgement_tells_what_decided(response, answer, score, method):
    judged = judge(response, answer)
    assert (judged.score, judged.method) == (score, method)


def test_a_judgement_tells_what_it_found():
    assert judge(r"so $x = \boxed{ 7 }$", "8").extracted == "7"
    assert judge("so 7", "8").extracted is None
    assert judge_choice(r"\boxed{(B) rain}", "C").extracted == "B"
    assert len(judge(r"\boxed{" + "9" * 10**4 + "}", "9").extracted) == MAX_EXTRACTED_CHARACTERS


@pytest.mark.parametrize(
    "response, answer, score",
    [
        ("so 4\n#### 1,234", "1234", 1),
        ("#### 5", "6", 0),
        (r"\boxed{\$1{,}234.00}", "1234", 1),
        (r"\boxed{18 \text{ dollars a day}}", "18", 1),
        (r"#### 5 \boxed{6}", "5", 0),
        (r"\boxed{3/4}", "0.75", 1),
        (r"\boxed{12}", "step\n#### 12", 1),
        (r"\boxed{4 or 5}", "4", 0),
        (r"\boxed{-\$5}", "5", 0),
        (r"\boxed{-\$5}", "-5", 1),
        (r"\boxed{\text{a loss: } - 5}", "-5", 1),
        (r"\boxed{- 5}", "5", 0),
        (r"\boxed{\sqrt{9}}", "9", 0),
        (r"\boxed{\sqrt{9}}", "3", 1),
        (r"\boxed{10^{10}}", "10", 0),
        (r"\boxed{\frac{5}{5}}", "5", 0),
        (r"\boxed{\frac{5}{5}}", "1", 1),
        (r"\boxed{7 - 7}", "7", 0),
        (r"\boxed{5!}", "5", 0),
        (r"\boxed{3\pi}", "3", 0),
        (r"\boxed{x_5}", "5", 0),
        (r"\boxed{5x}", "5", 0),
        (r"\boxed{twenty 5}", "5", 0),
        (r"\boxed{negative 5}", "5", 0),
        (r"\boxed{\log 5}", "5", 0),
        (r"\boxed{5\text{ hundredths}}", "5", 0),
        (r"\boxed{5\text{ dozen}}", "60", 1),
        (r"\boxed{18 \text{ miles per hour}}", "18", 1),
        (r"\boxed{1.5\text{ million}}", "1500000", 1),
        (r"\boxed{1.5\text{ million}}", "1.5", 0),
        (r"\boxed{5\text{ dozen eggs}}", "5", 0),
        (r"\boxed{50\%}", "0.5", 1),
        (r"\boxed{50\%}", "50", 1),
        (r"\boxed{0.05\%}", "0.05", 0),
        (r"\boxed{18 \text{ dollars for an 8-hour day}}", "18", 0),
        (r"\boxed{Tom's half-day pay, which is not \$18}", "18", 0),
        (r"\boxed{\text{Tom pays } \$18 \text{ in all.}}", "18", 1),
        ("the answer is 5", "5", 0),
    ],
)
def test_gsm8k_compares_the_number_in_the_box_or_behind_the_mark(response, answer, score):
    assert judge_gsm8k(response, answer).score == score


@pytest.mark.parametrize(
    "response, answer, score",
    [
        (r"\boxed{B}", "B", 1),
        (r"\boxed{\text{(B)}}", "B. It rains", 1),
        (r"\boxed{C, A}", "AC", 1),
        (r"\boxed{A}", "AC", 0),
        (r"\boxed{B}", "C", 0),
        ("The answer is (B).", "B", 1),
        ("The answer is A or B.", "A", 0),
        (r"\boxed{\text{The answer is B}}", "B", 1),
        (r"\boxed{b}", "B", 1),
        (r"\boxed{ACDI}", "ACID", 0),
        (r"\boxed{12}", "12", 1),
        ("I choose B", "B", 0),
    ],
)
def test_a_choice_is_right_when_all_its_letters_are(response, answer, score):
    assert judge_choice(response, answer).score == score
