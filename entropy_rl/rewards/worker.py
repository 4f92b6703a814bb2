"""One judging process, started by `JudgePool` as: python -m entropy_rl.rewards.worker FD S MIB JUDGE SET.

FD is an inherited socket, S and MIB are limits of time and memory, JUDGE is the name of a judge (see
entropy_rl.rewards.scores) and SET a JSON object of its further arguments. Requests and replies are JSON,
never pickle. This process imports no jax: it must start quickly, and belongs to no device.
"""

import json
import logging
import math
import resource
import signal
import sys
from multiprocessing.connection import Connection

from entropy_rl.rewards.scores import FIRST_CALL, MAX_EXTRACTED_CHARACTERS, Judge, Score, load_judge


def main() -> None:
    descriptor, limit_seconds, memory_limit_mib, judge_name, settings = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, whose end closes the socket
    logging.disable()
    with Connection(int(descriptor)) as connection:
        try:
            limit_memory(int(memory_limit_mib) * 2**20)
            judge = load_judge(judge_name, json.loads(settings))
            judge(*FIRST_CALL)  # it is slow, and its time is nobody's
        except Exception as error:
            _send(connection, {"error": f"{type(error).__name__}: {error}"})
        else:
            _send(connection, {"error": ""})
            serve(connection, judge, float(limit_seconds))


def limit_memory(num_bytes: int) -> None:
    """Bounds the address space of this process, below whatever bound it already has."""
    _, hard_limit = resource.getrlimit(resource.RLIMIT_AS)
    num_bytes = num_bytes if hard_limit == resource.RLIM_INFINITY else min(num_bytes, hard_limit)
    resource.setrlimit(resource.RLIMIT_AS, (num_bytes, num_bytes))


def serve(connection: Connection, judge: Judge, limit_seconds: float) -> None:
    """Answers requests until the parent closes its end."""
    while True:
        try:
            request = json.loads(connection.recv_bytes())
        except EOFError:
            return
        # The parent kills at the limit. Should it be gone, the kernel does so a little later: SIGALRM's
        # default action needs no help of the interpreter.
        signal.setitimer(signal.ITIMER_REAL, 2 * limit_seconds + 1)
        reply = _judge(judge, request["response"], request["answer"])
        signal.setitimer(signal.ITIMER_REAL, 0)
        _send(connection, reply)
        if reply["error"] == MemoryError.__name__:
            return  # what filled the memory may be kept somewhere; a fresh process has none of it


def _judge(judge: Judge, response: str, answer: str) -> dict:
    try:
        found = judge(response, answer)
        score = found if isinstance(found, Score) else Score(score=float(found))
        number = float(score.score)
    except Exception as error:  # whatever hostile text breaks costs that text its score, and nothing else
        return {"score": 0.0, "error": type(error).__name__}  # its message may be hostile too
    if not math.isfinite(number):
        return {"score": 0.0, "error": "the score is not finite"}
    extracted = None if score.extracted is None else score.extracted[:MAX_EXTRACTED_CHARACTERS]
    return {"score": number, "method": score.method, "extracted": extracted, "error": ""}


def _send(connection: Connection, message: dict) -> None:
    connection.send_bytes(json.dumps(message).encode())


if __name__ == "__main__":
    main()
