r"""Two hundred pairs of answers, labelled by hand: what is the same, and what only looks like it."""

import pytest

from entropy_rl.rewards.mathematics.judges import judge

EQUIVALENT = [
    # numbers
    ("72", "72.0"), ("1,000", "1000"), ("1{,}000", "1 000"), (r"10,\!080", "10080"), ("1,234,567", "1234567"),
    (r"\frac{1}{2}", "0.5"), (r"\dfrac{2}{4}", r"\frac12"), ("3/4", r"\frac{3}{4}"), (r"\frac 59", "5/9"),
    (r"-\frac{1}{2}", r"\frac{-1}{2}"), (r"\frac{1}{-2}", "-0.5"), (".5", "0.50"), ("+2", "2"),
    (r"1\frac{4}{5}", r"\frac{9}{5}"), ("3 1/2", "3.5"), (r"137 \frac{1}{2}", r"\frac{275}{2}"),
    ("4.5e33", r"4.5 \times 10^{33}"), ("1e-3", "0.001"), (r"10^{6}", "1000000"), ("2.5 million", "2500000"),
    (r"\frac{1}{3}", "0.333333"), (r"0.\overline{3}", r"\frac{1}{3}"),
    (r"\frac{1}{29,322,216}", "1/29322216"),
    # surds and constants
    (r"2\sqrt{2}", r"\sqrt{8}"), (r"\frac{1}{\sqrt{2}}", r"\frac{\sqrt{2}}{2}"),
    (r"11\sqrt2", r"11 \sqrt{2}"),
    (r"\frac{\sqrt{6}-\sqrt{2}}{4}", r"\frac{\sqrt{2}(\sqrt{3}-1)}{4}"), (r"\sqrt{2}", "1.414214"),
    (r"\sqrt[3]{16}", r"2\sqrt[3]{2}"), (r"\frac{\pi}{4}", r"0.25\pi"),
    (r"\frac{3\pi}{2}", r"\frac{3}{2}\pi"),
    (r"288 \pi", "288π"), (r"2^{10}", "1024"), (r"\log_2 8", "3"), (r"\binom{5}{2}", "10"), ("5!", "120"),
    (r"\sqrt{3+2\sqrt{2}}", r"1+\sqrt{2}"), ("6 - 5i", "-5i + 6"), ("(1+i)^2", "2i"), ("√13", r"\sqrt{13}"),
    # expressions
    ("x^2+2x+1", "(x+1)^2"), ("(a+5)(b+2)", "ab+2a+5b+10"), ("p - q", "-q+p"), (r"\frac{a}{2}", "0.5a"),
    (r"\frac{11+9a}{20}", r"\frac{11}{20}+\frac{9a}{20}"), ("2^{n+1}", r"2\cdot 2^n"), ("x^10", "x^{10}"),
    (r"\sin^2 x", r"1-\cos^2 x"), (r"\tan x", r"\frac{\sin x}{\cos x}"), (r"\frac{n(n+1)}{2}", "n(n+1)/2"),
    (r"\frac{x^2-1}{x-1}", "x+1"), ("ab", "ba"), (r"\cot x", r"\frac{1}{\tan x}"), ("sqrt(x)", r"x^{1/2}"),
    # units
    (r"5\text{ cm}", "5"), ("5 cm", r"5\,\mathrm{cm}"), ("5 cm", "50 mm"), (r"15\mbox{ cm}^2", "15"),
    (r"15\text{ cm}^2", r"15\text{ square centimeters}"), (r"864 \mbox{ inches}^2", r"864\text{ in}^2"),
    (r"48 \mathrm{~km} / \mathrm{h}", "48 km/h"), (r"48\text{ km/h}", r"48\text{ kilometers per hour}"),
    (r"2\text{ m}", r"2\mathrm{~m}"), (r"\$36", "36"), (r"\$36", r"36\text{ dollars}"), ("5 apples", "5"),
    (r"5.4 \text{ cents}", "5.4"), (r"90^\circ", "90"), (r"90^{\circ}", "90°"),
    (r"90^\circ", r"\frac{\pi}{2}"),
    (r"\frac{270}7\text{ degrees}", r"\frac{270}{7}^\circ"), (r"25^{\circ} \mathrm{C}", "25"),
    # percentages
    (r"50\%", "50"), (r"50\%", "0.5"), (r"50\%", r"\frac{1}{2}"), ("62.5%", r"62.5\text{ percent}"),
    # tuples, intervals, sets, lists
    ("(1,2)", "(1, 2)"), (r"\left( 3, \frac{\pi}{2} \right)", r"(3, 0.5\pi)"), ("(2,4)", "2,4"),
    ("[0,1)", r"\left[0, 1\right)"), (r"(2,\infty)", "x > 2"), ("[-2,7]", r"-2 \le x \le 7"),
    (r"x \in [-2,7]", "[-2,7]"), (r"(0,9) \cup (9,36)", r"(9,36) \cup (0,9)"), ("k \\geqslant 2", "k >= 2"),
    (r"\{1,2\}", r"\{2,1\}"), ("1,-2", "-2, 1"), (r"1 \pm \sqrt{19}", r"1-\sqrt{19}, 1+\sqrt{19}"),
    (r"\{1\pm\sqrt{5},-2\}", r"\{-2, 1+\sqrt5, 1-\sqrt5\}"), ("2, 3, 5", r"2, 3 \text{ and } 5"),
    (r"\{5\}", "5"), (r"\emptyset", r"\{\}"), ("x<1", "1>x"), ("(1,2),(3,4)", "(3,4), (1,2)"),
    # matrices
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{bmatrix} 1 \\ \frac{4}{2} \end{bmatrix}"),
    (r"\begin{pmatrix} -1/3 \\ 2/3 \end{pmatrix}", r"\begin{pmatrix}-\frac13\\ \frac23\end{pmatrix}"),
    (r"\begin{pmatrix}-1&0\0&-1\end{pmatrix}", r"\begin{pmatrix} -1 & 0 \\ 0 & -1 \end{pmatrix}"),
    # equations and names
    ("x=5", "5"), ("5", "x = 10/2 = 5"), ("f(x)=2x", "2x"), ("y=2x+3", "2x-y+3=0"), ("x+y=1", "2x+2y=2"),
    ("5", "a+b=5"), ("y = -2x", "-2x"), ("a=1,b=2", "b=2, a=1"),
    # words, choices, bases, ratios
    (r"\text{Evelyn}", "Evelyn"), (r"\text{even}", r"\text{Even}"), (r"\text{(C)}", "C"),
    ("B", r"\textbf{(B)}"),
    ("4343_6", "4343"), ("4210_{5}", "4210_5"), ("2:3", r"\frac{2}{3}"), (r"\text{no}", "No."),
    # thousands, or commas that part
    ("(1,234, 5)", "(1234, 5)"), ("(10,100)", "10,100"), ("1,200", "(1,200)"), ("1,200", "1, 200"),
    ("1,200", r"\{1,200\}"), ("5, 1,200", "5, 1200"), ("(1,000)", "1000"), ("1,234, 5", "5, 1234"),
    # symbols with an index, and bases
    (r"1010_\text{two}", "1010_2"), ("1A_{16}", "26_{10}"), ("1010_{2}", "1010"),
    # signs of variables, whole numbers, capitals
    (r"\binom{n}{k}", r"\frac{n!}{k!(n-k)!}"), ("(n+1)!", "(n+1)n!"), (r"\frac{GMm}{r^2}", "GMm r^{-2}"),
    (r"\frac{(n+1)!}{n!}", "n+1"),
    # units and multiples
    (r"300\text{ nm}", r"3e-7\text{ m}"), ("300 nm", r"3\times 10^{-7}\text{ m}"),
    (r"1\text{ GHz}", r"10^9\text{ Hz}"), ("1 GHz", "10^9 Hz"), (r"1\text{ N}", r"1\text{ kg m/s}^2"),
    (r"1\text{ N}", r"1 \text{ kg}\cdot\text{m}/\text{s}^2"), (r"5\text{ L}", r"5000\text{ cm}^3"),
    (r"5\,\Omega", "5"), (r"5\,\mathrm{k}\Omega", r"5000\,\Omega"), (r"3\text{ dozen}", "36"),
    (r"3\text{ dozen eggs}", "36"), (r"5\text{ hundred}", "500"), (r"4\text{ thirds}", r"\frac{4}{3}"),
    ("2.5 million dollars", r"\$2,500,000"), (r"\$2.5\text{ million}", "2500000"),
    (r"2\,\mu\mathrm{m}", r"2000\text{ nm}"), ("5 MeV", "5000 keV"), (r"5\text{ kg m/s}^2", r"5\text{ N}"),
    ("5 kg m/s^2", r"5\text{ N}"), (r"0.5\%", "0.005"), ("50", r"50\%"), (r"7\text{ kilometers}", "7 km"),
    ("5 Kg", r"5\text{ kg}"), (r"2\text{ hours}", "120 minutes"), ("6 ft", r"6\text{ feet}"),
    # spellings and identities
    (r"1\text{ eV}", r"1.602176634e-19\text{ J}"), (r"\pm 3", r"\mp 3"), (r"\mathbb{R}", r"(-\infty,\infty)"),
    (r"\text{no solution}", "no solutions"), (r"\emptyset", "no solution"), ("(x,y)=(1,2)", "(1,2)"),
    (r"\sqrt[3]{-8}", "-2"), (r"\sin^2x+\cos^2x", "1"), (r"\phi", r"\varphi"), (r"\text{3 and 5}", "3,5"),
    (r"\text{all real numbers}", r"\mathbb{R}"), (r"x\in\mathbb{R}", r"(-\infty,\infty)"),
    (r"\text{No real solutions}", r"\emptyset"), ("(a,b,c)=(1,2,3)", "(1,2,3)"),
]  # fmt: skip

DIFFERENT = [
    # numbers
    ("72", "71"), ("1000", "100"), ("1,234", "1.234"), ("12", "1 2"), (r"\frac{1}{2}", r"\frac{1}{3}"),
    (r"\frac{1}{2}", r"\frac{2}{1}"), ("1/2", "1,2"), ("5", "-5"), (r"\frac{1}{3}", "0.33"), ("0.1", "0.01"),
    ("3 1/2", "31/2"), (r"3\frac{1}{2}", "1.5"), ("4.5e33", "4.5e32"), ("1e-9", "2e-9"),
    ("1.39e-10", "3.61e-10"),
    ("10^6", "10^5"), ("123456789012345", "123456789012346"), ("2.5 million", "2.5 billion"),
    ("2.5", "2.50001"), ("7", "7, 8"), ("11", "1,1"), ("0", ""), (r"\frac{5}{9}", "59"), ("5", "5!"),
    # surds and constants
    (r"\sqrt{2}", "1.41"), (r"\sqrt{2}", "2"), (r"2\sqrt{3}", r"3\sqrt{2}"), (r"\pi", "3.14"), (r"\pi", "3"),
    (r"\sqrt[3]{2}", r"\sqrt{2}"), (r"1+\sqrt{2}", r"1-\sqrt{2}"), ("2i", "2"), ("1+2i", "1-2i"),
    (r"\log_2 3", r"\log_3 2"), (r"2^{2009}", "2^{2008}"), (r"e^{-100}", "e^{-101}"),
    (r"\cos 20", r"\cos 20^\circ"),
    # letters are not units
    (r"\frac{a}{2}", r"\frac{c}{2}"), ("(a,b)", "(c,b)"), (r"\sqrt{t}", r"\sqrt{s}"), ("2 m", "2 s"),
    ("2d", "2"),
    ("3x", "3"), ("3t", "3"), ("5h", "5"), ("a", "c"), ("C", "c"), ("x'", "x"), ("x_1", "x_2"), ("x", "y"),
    (r"\frac{1}{n}", r"\frac{1}{m}"), (r"\alpha", r"\beta"), (r"\gamma", r"\Gamma"), ("2k", "2n"),
    # expressions
    ("x^2+2x+1", "x^2+2x"), ("(x+1)^2", "x^2+1"), ("x+1", "x-1"), ("x^2", "x^3"), ("2^n", "n^2"),
    ("ab", "a+b"),
    (r"\sin x", r"\cos x"), (r"\frac{a}{b}", r"\frac{b}{a}"), ("|x|", "x"), (r"\sqrt{x^2}", "x"),
    ("f(x)", "f(y)"),
    (r"\lfloor x \rfloor", r"\lceil x \rceil"), ("n(n+1)", "n(n-1)"),
    # units
    ("5 cm", "5 m"), (r"5\text{ cm}", r"5\text{ cm}^2"), (r"2\text{ m}", r"2\text{ s}"),
    ("5 apples", "5 pears"),
    (r"48\text{ km/h}", r"48\text{ m/s}"), (r"\$5", r"5\text{ cents}"), ("3 hours", "3 minutes"),
    (r"90^\circ", "80"), (r"90^\circ", r"\pi"), ("5 cm", "6"), (r"5\text{ feet}", r"5\text{ inches}"),
    # percentages
    (r"50\%", "5"), (r"50\%", "0.05"), (r"12.5\%", r"1.25\%"), (r"50\%", "50 cm"),
    # tuples, intervals, sets, lists
    ("(1,2)", "(2,1)"), ("(0,1)", "[0,1]"), ("(0,1]", "[0,1)"), ("(1,2)", "(1,2,3)"), ("(1,2)", r"\{1,2\}"),
    (r"\{1,2\}", r"\{1,3\}"), ("1,2", "1,2,3"), ("1,2", "1"), (r"(2,\infty)", r"x \ge 2"), ("x>2", "x<2"),
    (r"(-\infty,2)", r"(2,\infty)"), (r"(0,1)\cup(2,3)", r"(0,1)\cup(2,4)"), (r"(0,1)\cup(2,3)", "(0,3)"),
    (r"1 \pm \sqrt{2}", r"1+\sqrt{2}"), (r"1 \pm \sqrt{2}", r"1 \pm \sqrt{3}"), ("[1,2]", "1,2"),
    ("x>2", "y>2"),
    (r"\{5\}", r"\{5,6\}"), ("1<x<2", "1<x<3"), ("(1,2),(3,4)", "(1,3),(2,4)"),
    # matrices
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}2\\1\end{pmatrix}"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}1&2\end{pmatrix}"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{vmatrix}1&2\\3&4\end{vmatrix}"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&3\\2&4\end{pmatrix}"),
    # equations and names
    ("x=5", "y=5"), ("x=5", "6"), ("y=2x+3", "y=2x-3"), ("x+y=0", "0"), ("a=1,b=2", "a=2,b=1"),
    ("a=1,b=2", "2,1"),
    ("x=5", r"x \neq 5"), ("5", "x>5"), ("2x-y+3=0", "2x+y+3=0"), (r"x \leq 5", "x=5"),
    # words, choices, bases, ratios
    (r"\text{Evelyn}", "Angela"), (r"\text{east}", "seat"), (r"\text{even}", r"\text{odd}"),
    (r"\text{(C)}", "D"),
    (r"\text{no}", "on"), ("4343_6", "4343_7"), ("2:3", "3:2"), (r"\text{(C)}", "5"),
    (r"\text{yes}", r"\text{no}"),
    # thousands, or commas that part
    ("(0,100)", "100"), ("(2,500)", "2500"), ("3100", "(3,100)"), ("[0,100]", "[100]"),
    (r"\{1,200\}", "1200"), ("P(2,500)", "P(2500)"), ("(10,100)", "10100"), ("1,000", "(1,0)"),
    ("5,000", "0,5"), ("5,000", r"\{5,0\}"), ("1,000,000", "(1,0,0)"), ("1,200", "200,1"),
    # symbols with an index, and bases
    ("A_{11}", "A_{12}"), ("B_{12}", "B_{13}"), ("D_4", "D"), ("C", "C_4"), ("A_5", "A"), ("E_8", "E"),
    ("2_1", "2"),
    # signs of variables, whole numbers, capitals
    ("ab", "|ab|"), (r"\sqrt{a^2b^2}", "ab"), ("|x||y|", "xy"), ("|a/b|", "a/b"), ("|x^3y|", "x^3y"),
    (r"\lfloor x\rfloor+1", r"\lceil x\rceil"), (r"\lceil x\rceil-1", r"\lfloor x\rfloor"),
    (r"\lfloor n/2\rfloor+1", r"\lceil n/2\rceil"), ("AC", "CA"), ("AB+C", "BA+C"), ("I", "i"),
    ("abcd", "|abcd|"),
    # units and multiples
    ("3", r"3\text{ dozen}"), ("3", r"3\text{ factorial}"), ("3", r"3\text{th root}"),
    ("5", r"5\text{ hundred}"), ("5", r"5\text{ choose two}"), ("5", r"5\text{ wrong}"),
    ("5", r"5\text{ remainder two}"), ("4", r"4\text{ thirds}"), ("4", r"4\text{ halves}"),
    ("2", r"2\text{ pi}"), ("12", r"12\text{ to thirteen}"), ("5 MeV", "5 meV"), ("5 MW", "5 mW"),
    ("0.05", r"0.05\%"), (r"\frac12", r"1/2\%"), (r"\frac{3}{2}kT", r"\frac{3}{2}"), ("3mg", "3"),
    ("2.5 million dollars", "2.5"), (r"300\text{ nm}", r"300\text{ mm}"), (r"0.4\%", "0.4"),
    (r"5\text{ and a half}", "5"), (r"5\text{ Mm}", r"5\text{ mm}"), (r"1\text{ N}", r"1\text{ kg m/s}"),
    # spellings
    (r"\mathbb{R}^2", r"(-\infty,\infty)"), ("(x,y)=(1,2)", "(2,1)"), (r"\sin^2x-\cos^2x", "1"),
    (r"\sin x", "1"), ("-2", "(-8)^{1/3}i"),
]  # fmt: skip

ONE_WAY = {("5", "a+b=5"), ("x+y=0", "0")}
"""What is given may name a sum; what is known must not be taken for one."""


@pytest.mark.parametrize("answer, given", EQUIVALENT)
def test_equivalent_answers_are_equal_either_way_round(answer, given):
    assert judge(rf"... \boxed{{{given}}}.", answer).score == 1
    if (answer, given) not in ONE_WAY:
        assert judge(rf"... \boxed{{{answer}}}.", given).score == 1


@pytest.mark.parametrize("answer, given", DIFFERENT)
def test_different_answers_are_not_equal_either_way_round(answer, given):
    assert judge(rf"... \boxed{{{given}}}.", answer).score == 0
    if (answer, given) not in ONE_WAY:
        assert judge(rf"... \boxed{{{answer}}}.", given).score == 0


def test_there_are_a_hundred_pairs_of_each_kind_and_none_twice():
    assert min(len(set(EQUIVALENT)), len(set(DIFFERENT))) >= 100
    assert not set(EQUIVALENT) & set(DIFFERENT)
