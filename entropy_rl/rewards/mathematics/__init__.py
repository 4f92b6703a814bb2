r"""Judging answers in mathematics.

`judges` find the answer of a response (`extraction`) and compare it with the known one (`equality`): the
same spelling after `spelling`, else the same structure (`structure`: tuples, intervals, sets, matrices,
relations) with equal parts; parts are numbers (`numbers`), quantities (`units`, `unit_table`), words, or
expressions, which math-verify's parser reads (`symbolic`).

Responses are hostile input. Bounds on length and depth keep most of it cheap, but not all: judge in a
`JudgePool`, whose processes are killed at a time limit.
"""
