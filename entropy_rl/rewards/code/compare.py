"""Whether a program gave what was expected, decided outside of its sandbox."""

import math


def same_output(expected: str, given: str, tolerance: float) -> bool:
    """Compares two texts line by line.

    White space at the ends of lines and empty lines at the end do not count, and neither do the number and
    kind of spaces between words. Words must be equal; where the expected one is written with a decimal point
    or an exponent, a number within `tolerance`, absolute or relative, will do. Whole numbers are exact.
    """
    expected_lines, given_lines = _lines(expected), _lines(given)
    return len(expected_lines) == len(given_lines) and all(
        len(wanted) == len(got) and all(_same_word(w, g, tolerance) for w, g in zip(wanted, got, strict=True))
        for wanted, got in zip(expected_lines, given_lines, strict=True)
    )


def _lines(text: str) -> list[list[str]]:
    lines = [line.split() for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _same_word(expected: str, given: str, tolerance: float) -> bool:
    if expected == given:
        return True
    wanted, got = _as_real(expected), _as_real(given)
    is_decimal = any(character in expected for character in ".eE")
    return is_decimal and wanted is not None and got is not None and _close(wanted, got, tolerance)


def _as_real(word: str) -> float | None:
    try:
        number = float(word)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _close(expected: float, given: float | int, tolerance: float) -> bool:
    try:
        return math.isclose(expected, given, rel_tol=tolerance, abs_tol=tolerance)
    except OverflowError:
        return False  # a whole number beyond all reals


def same_value(expected: object, given: object, tolerance: float) -> bool:
    """Compares what a function returned with a value from JSON.

    Tuples are lists there, and keys of dictionaries are strings. Where the expected value is a
    real, a number within `tolerance`, absolute or relative, will do; 1.0 is 1, and True is not.
    """
    if isinstance(expected, list) and isinstance(given, list | tuple):
        return len(expected) == len(given) and all(
            same_value(wanted, got, tolerance) for wanted, got in zip(expected, given, strict=True)
        )
    if isinstance(expected, dict) and isinstance(given, dict):
        named = {str(key): value for key, value in given.items()}
        return expected.keys() == named.keys() and all(
            same_value(value, named[key], tolerance) for key, value in expected.items()
        )
    if isinstance(expected, bool) or isinstance(given, bool):
        return expected is given
    if isinstance(expected, int | float) and isinstance(given, int | float):
        return expected == given or (isinstance(expected, float) and _close(expected, given, tolerance))
    return type(expected) is type(given) and expected == given
