r"""One spelling for what LaTeX and people write in many ways; nothing here knows what an answer means.

`tidy` keeps what reading needs: \text{} marks words, and spaces part words and digits. `key`, for comparing,
has neither.
"""

import re
import sys

_CHARACTERS = str.maketrans(
    {
        "\u2212": "-", "\u2013": "-", "\u00d7": r"\cdot ", "\u00b7": r"\cdot ", "\u22c5": r"\cdot ",
        "\u00f7": "/", "\u2044": "/", "\u03c0": r"\pi ", "\u03b8": r"\theta ", "\u03b1": r"\alpha ",
        "\u03b2": r"\beta ", "\u221e": r"\infty ", "\u2264": r"\leq ", "\u2265": r"\geq ", "\u2260": r"\neq ",
        "\u00b0": r"^\circ ", "\u222a": r"\cup ", "\u2229": r"\cap ", "\u2208": r"\in ", "\u00b1": r"\pm ",
        "\u221a": r"\sqrt ", "\u00b2": "^2", "\u00b3": "^3", "\u00bd": r"\frac{1}{2}",
        "\u00bc": r"\frac{1}{4}", "\u00be": r"\frac{3}{4}", "\u2248": r"\approx ", "\u2205": r"\emptyset ",
        "\u00b5": r"\mu ", "\u03bc": r"\mu ", "\u03a9": r"\Omega ", "\u2126": r"\Omega ",
        "\u20ac": r"\text{euros}", "\u00a3": r"\text{pounds sterling}", "\u2032": "'",
        "\u00a0": " ", "\u202f": " ", "\u2009": " ", "\uff0c": ",", "\uff08": "(", "\uff09": ")",
    }
)  # fmt: skip
_PUNCTUATION = " .,;:"
_END = r"(?![a-zA-Z])"  # of a command's name

WRAPPER = re.compile(
    r"\\(text(?:bf|it|rm|sf|tt|normal)?|math(?:rm|bf|it|sf|tt)|[mh]box|operatorname\*?|boldsymbol)"
    r"\s*\{([^{}]*)\}"
)
_FUNCTIONS = "arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|log|ln|exp"
_ANSWERS_IN_WORDS = re.compile(r"([-\d.]+(?:, ?[-\d.]+)*),? (?:and|or) ([-\d.]+)")
_BETWEEN_ANSWERS = re.compile(r"(?:,\s*)?(?:and|or)", re.IGNORECASE)

# A row's end, \\, must not be taken for the backslash of what follows: it is matched first, and kept.
_LAYOUT = re.compile(
    r"(\\\\)|\\(?:left|right|[bB]igg?[lrm]?|displaystyle|textstyle|limits|nolimits)" + _END + r"\.?"
    r"|\\!\s*|\\[()\[\]]|(?<!\\)\$"
)
_SPACE = re.compile(r"(\\\\)|(?:\\[,;:> ]|~|\\q?quad" + _END + r"|\s)+")
_REPLACEMENTS = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\{,\}", ","),
        (r"\\[dtc]frac" + _END, r"\\frac"),
        (r"\\(frac|sqrt)\s+(?=[{\[])", r"\\\1"),
        (r"\\(?:times|ast|cdot)" + _END + r"|\*(?!\*)", r"\\cdot "),
        (r"\*\\cdot ", "^"),  # two asterisks
        (r"\\div" + _END, "/"),
        (r"\\leq?(?:slant)?" + _END + "|<=", r"\\leq "),
        (r"\\geq?(?:slant)?" + _END + "|>=", r"\\geq "),
        (r"\\neq?" + _END + "|!=", r"\\neq "),
        (r"\\lt" + _END, "<"),
        (r"\\gt" + _END, ">"),
        (r"\\lbrace" + _END, r"\\{"),
        (r"\\rbrace" + _END, r"\\}"),
        (r"\\(?:[lr]?vert|mid)" + _END, "|"),
        (r"\\mathbb ?\{?R\}?(?![a-zA-Z^_])", r"(-\\infty,\\infty)"),
        (r"(?i)^(?:\\text\{)?(?:all )?(?:real numbers|reals)\}?\.?$", r"(-\\infty,\\infty)"),
        (r"(?i)^(?:\\text\{)?no (?:real )?solutions?\}?\.?$", r"\\emptyset "),
        (r"\\var(phi|epsilon|theta|rho|sigma|kappa)" + _END, r"\\\1"),
        (r"\\langle" + _END, "("),
        (r"\\rangle" + _END, ")"),
        (r"\\varnothing" + _END + r"|\\\{\s*\\\}", r"\\emptyset "),
        (r"\s*\^\s*(?:\{\s*\\circ\s*\}|\\circ" + _END + r")|\\degree" + _END, r"^\\circ "),
        (r"\\%|\s*(?:\\text\{percent\}|\bpercent\b)", "%"),
        (r"(?<![\\a-zA-Z])infinity" + _END, r"\\infty "),
        (r"(?<![\\a-zA-Z])pi" + _END, r"\\pi "),
        (rf"(?<![\\a-zA-Z])({_FUNCTIONS})(?=\s*[(\\])", r"\\\1"),
        (r"(?<![\\a-zA-Z])sqrt\s*\(([^()]*)\)", r"\\sqrt{\1}"),
        (r"\^\s*\(([^()]*)\)", r"^{\1}"),
        (r"\^\s*(\d{2,})", r"^{\1}"),
        (r"(?<=[,\s])\{\}", ""),
        (r",(?:\s*,)+", ","),
    )
)
_NUMBERS = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"(?<=\d)\{([a-zA-Z]{2,})\}", r"\\text{\1}"),  # \text was lost, in MATH's answer column
        (r"(?<![\d.,])(\d{1,3}) (?=\d{3}(?: \d{3})*(?![\d/]))|(?<=\d) (?=\d{3}(?: \d{3})*(?![\d/]))", r"\1"),
        (r"(?<![\d/.])(\d+) (\d+)/(\d+)(?![\d/.])", r"\1\\frac{\2}{\3}"),
        (r"(?<![\w.}\])^/])(\d+)/(\d+)(?![\d.!^(/,])", r"\\frac{\1}{\2}"),
        (r"\\cdot 10\^", r"\\cdot10^"),
    )
)
_NEEDLESS_SPACE = re.compile(r"(?<![\w,]) +| +(?!\w)|(?<=,) +(?!\d)")
_NEEDLESS_SPACE_IN_KEY = re.compile(r"(?<!\d) +| +(?!\d)")
_TEXT = re.compile(r"\\text\{([^{}]*)\}")
_ROOT_OF_NUMBER = re.compile("\u221a *(\\d+)")
_BARE_ARGUMENT = re.compile(r"\\(frac|sqrt(?:\[[^\[\]]*\])?) *(\w|\\[a-zA-Z]+)")
_BRACE_OR_ESCAPED = re.compile(r"\\.|[{}]", re.DOTALL)
_TOKEN = re.compile(r" *(\w|\\[a-zA-Z]+)")
_LOST_ROW_BREAK = re.compile(r"(?<!\\)\\(?=[-\d])")
_DOUBLED_BACKSLASH = re.compile(r"\\\\(?=[a-zA-Z{}%$])")


def tidy(text: str) -> str:
    """The text with one spelling for each thing."""
    text = _ROOT_OF_NUMBER.sub(r"\\sqrt{\1}", text).translate(_CHARACTERS)
    matrix = r"\begin" in text
    text = _LOST_ROW_BREAK.sub(r"\\\\", text) if matrix else _DOUBLED_BACKSLASH.sub(r"\\", text)
    text = _LAYOUT.sub(r"\1", text)
    text = _SPACE.sub(lambda match: match[1] or " ", text)
    text = WRAPPER.sub(_words, text)
    for pattern, replacement in _REPLACEMENTS:
        text = pattern.sub(replacement, text)
    if r"\pm" not in text:
        text = text.replace(r"\mp", r"\pm")
    text = re.sub(" +", " ", text)
    text = _braced_denominators(_BARE_ARGUMENT.sub(r"\\\1{\2}", text))
    for pattern, replacement in _NUMBERS:
        text = pattern.sub(replacement, text)
    text = _NEEDLESS_SPACE.sub("", text).strip().rstrip(_PUNCTUATION)
    return _without_outer_braces(text)


def _words(match: re.Match) -> str:
    macro, content = match[1], match[2].replace("~", " ").strip()
    if not content:
        return " "
    if answers := _ANSWERS_IN_WORDS.fullmatch(content):
        return f"{answers[1]},{answers[2]}"
    if re.fullmatch(_FUNCTIONS, content):
        return rf"\{content} "
    if _BETWEEN_ANSWERS.fullmatch(content):
        return ","
    if re.fullmatch(r"[\d.,%]+", content) or (len(content) == 1 and ("bf" in macro or "bold" in macro)):
        return content
    return rf"\text{{{content}}}"


def _braced_denominators(text: str) -> str:
    r"""Writes \frac{1}2 as \frac{1}{2}."""
    start = text.rfind(r"\frac{")
    while start >= 0:
        end = closing_brace(text, start + len(r"\frac"))
        bare = _TOKEN.match(text, end + 1) if end is not None else None
        if bare:
            text = f"{text[: end + 1]}{{{bare[1]}}}{text[bare.end() :]}"
        start = text.rfind(r"\frac{", 0, start)
    return text


def closing_brace(text: str, start: int, *, end: int = sys.maxsize) -> int | None:
    r"""Where the brace that opens at `start` closes, \{ and \} apart; None when not before `end`."""
    depth = 0
    for brace in _BRACE_OR_ESCAPED.finditer(text, start, end):
        depth += {"{": 1, "}": -1}.get(brace.group(), 0)
        if depth == 0:
            return brace.start()
    return None


def _without_outer_braces(text: str) -> str:
    while text.startswith("{") and closing_brace(text, 0) == len(text) - 1:
        text = text[1:-1].strip().rstrip(_PUNCTUATION)
    return text


def key(tidy_text: str) -> str:
    r"""The text without spaces (but between digits), \text and needless braces; row breaks are one \."""
    text = _TEXT.sub(r"\1", tidy_text)
    text = _NEEDLESS_SPACE_IN_KEY.sub("", text)
    text = re.sub(r"\\+", lambda _: "\\", text)
    return _without_outer_braces(re.sub(r"([_^])\{(\w)\}", r"\1\2", text.replace("{}", "")))


def words(tidy_text: str) -> str:
    """A text as its words read aloud: no markup, no case, no punctuation that could be left out."""
    return re.sub(r"[\s{}.,;:'\"!()]+", " ", _TEXT.sub(r" \1 ", tidy_text)).strip().casefold()
