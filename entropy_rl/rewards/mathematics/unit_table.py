"""The units that are known, each as a product of powers of base quantities and its size in them."""

from fractions import Fraction

Measure = tuple[tuple[tuple[str, int], ...], Fraction]
"""Base quantities with their powers; and how many base units one is."""


def _is(size: Fraction | int, **powers: int) -> Measure:
    return tuple(powers.items()), Fraction(size)


_PREFIXES = {
    "f": ("femto", -15), "p": ("pico", -12), "n": ("nano", -9), "u": ("micro", -6), "m": ("milli", -3),
    "c": ("centi", -2), "k": ("kilo", 3), "M": ("mega", 6), "G": ("giga", 9), "T": ("tera", 12),
}  # fmt: skip
_WITH_PREFIXES: dict[str, tuple[tuple[str, ...], Measure]] = {
    "m": (("meter", "metre"), _is(1, length=1)),
    "g": (("gram",), _is(Fraction(1, 1000), mass=1)),
    "s": (("second",), _is(1, time=1)),
    "L": (("liter", "litre"), _is(Fraction(1, 1000), length=3)),
    "N": (("newton",), _is(1, mass=1, length=1, time=-2)),
    "J": (("joule",), _is(1, mass=1, length=2, time=-2)),
    "W": (("watt",), _is(1, mass=1, length=2, time=-3)),
    "Pa": (("pascal",), _is(1, mass=1, length=-1, time=-2)),
    "Hz": (("hertz",), _is(1, time=-1)),
    "eV": (("electronvolt",), _is(Fraction(1602176634, 10**28), mass=1, length=2, time=-2)),
    "C": (("coulomb",), _is(1, charge=1)),
    "A": (("ampere", "amp"), _is(1, charge=1, time=-1)),
    "V": (("volt",), _is(1, mass=1, length=2, time=-2, charge=-1)),
    "ohm": (("ohm",), _is(1, mass=1, length=2, time=-1, charge=-2)),
    "T": (("tesla",), _is(1, mass=1, time=-1, charge=-1)),
    "K": (("kelvin",), _is(1, kelvin=1)),
    "mol": (("mole",), _is(1, mole=1)),
    "pc": (("parsec",), _is(1, parsec=1)),
}
_WITHOUT_PREFIXES: dict[tuple[str, ...], Measure] = {
    ("in", "inch", "inche"): _is(Fraction(254, 10**4), length=1),
    ("ft", "foot", "feet"): _is(Fraction(3048, 10**4), length=1),
    ("yd", "yard"): _is(Fraction(9144, 10**4), length=1),
    ("mi", "mile"): _is(Fraction(1609344, 10**3), length=1),
    ("lb", "pound"): _is(Fraction(45359237, 10**8), mass=1),
    ("oz", "ounce"): _is(Fraction(45359237, 16 * 10**8), mass=1),
    ("sec",): _is(1, time=1),
    ("min", "minute"): _is(60, time=1),
    ("h", "hr", "hour"): _is(3600, time=1),
    ("day",): _is(86_400, time=1),
    ("week",): _is(604_800, time=1),
    ("ml",): _is(Fraction(1, 10**6), length=3),
    ("erg",): _is(Fraction(1, 10**7), mass=1, length=2, time=-2),
    ("dollar", "buck", "usd"): _is(1, dollar=1),
    ("cent",): _is(Fraction(1, 100), dollar=1),
    ("euro",): _is(1, euro=1),
    ("rad", "radian"): _is(1, radian=1),
    ("unit",): _is(1, unit=1),
}
DOLLAR = _is(1, dollar=1)


def _known_units() -> dict[str, Measure]:
    known = {name: measure for names, measure in _WITHOUT_PREFIXES.items() for name in names}
    for symbol, (names, (powers, size)) in _WITH_PREFIXES.items():
        known |= {name: (powers, size) for name in (symbol, *names)}
        for prefix, (long_prefix, exponent) in _PREFIXES.items():
            spelled = (prefix + symbol, *(long_prefix + name for name in names))
            known |= {name: (powers, size * Fraction(10) ** exponent) for name in spelled}
    return known


KNOWN = _known_units()
PLAIN_SYMBOLS = frozenset("cm mm km kg ml mL in ft yd mi lb oz sec min hr erg rad".split())
"""Symbols that are no products of variables: others, as kT, must be marked or stand apart to be units."""
