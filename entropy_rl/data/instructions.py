r"""Which instruction goes with a problem: answers are judged in \boxed{}, so every problem asks for a box.

Data sets come with instructions of their own, at odds with one another: a last line "Answer: ...", thoughts
between tags, leave to answer "Cannot Solve". Those that are known are taken out, so that one policy is asked
alike in training and in every evaluation, and the same problem of two data sets is seen to be the same.
"""

import re

BOXED_INSTRUCTION = r"Reason step by step, and put the final answer within \boxed{}."

_FOREIGN = (
    # DAPO-Math-17k, before and after the problem
    "Solve the following math problem step by step. The last line of your response should be of the form "
    "Answer: $Answer (without quotes) where $Answer is the answer to the problem.",
    'Remember to put your answer on its own line after "Answer:".',
    # DAPO-Math-17k, problems in Chinese
    "让我们一步一步地思考。请以“Answer: \\boxed{<final_answer>}”的格式输出最终答案。"
    "如果是选择题，请按顺序输出正确的选项，不带任何标点或空格。对于其他类型的问题，请只输出最终答案的数值。",
    # MATH as prepared for reinforcement learning
    r"Let's think step by step and output the final answer within \boxed{}.",
    # Omni-MATH as prepared for reinforcement learning
    "Please reason step by step and then provide the final answer. The reasoning process must be enclosed "
    r"within <think> </think> tags. The final answer MUST be put in \boxed{}."
    "\nAt any point during your reasoning, if you become highly unsure, or find the problem unsolvable or "
    "beyond your capability, stop attempting a solution.\nIn this case, instead of generating a possibly "
    r"incorrect solution or guessing an answer, just honestly output \boxed{Cannot Solve} with some brief "
    "explanation.",
)
_ASKS_FOR_BOX = re.compile(r"\\boxed\s*(\{\s*(<[^<>{}]*>|answer|\.\.\.|\\[lc]?dots)?\s*\}|[^\s{]|$)")
r"""A box that is empty or holds a place-holder, or the bare word; a problem's own box holds something."""


def ask_for_box(problem: str) -> str:
    r"""The problem, known instructions taken out, with one to answer in \boxed{} unless it has its own."""
    for instruction in _FOREIGN:
        problem = problem.replace(instruction, "")
    problem = problem.strip()
    return problem if _ASKS_FOR_BOX.search(problem) else f"{problem}\n\n{BOXED_INSTRUCTION}"
