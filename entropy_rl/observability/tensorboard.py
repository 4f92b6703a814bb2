"""TensorBoard events, one record a step, on disk when the call returns.

tensorboardX's SummaryWriter hands events to a queue and a thread, and what is in flight dies with the
process. Its inner EventsWriter writes at once; a step's numbers go into one event, so that this is cheap.
"""

import time
from collections.abc import Mapping
from pathlib import Path

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary


class EventLog:
    """Appends scalars to a new event file in `folder`.

    `purge_step`: TensorBoard forgets what earlier files say of this step and later ones, as it must when a
    run resumes before the step at which it was killed.
    """

    def __init__(self, folder: Path, *, purge_step: int | None = None):
        folder.mkdir(parents=True, exist_ok=True)
        # Without the number, two files of one second and machine would be one, emptied by the second.
        number = len(list(folder.glob("events.out.tfevents.*")))
        self._writer = EventsWriter(str(folder / "events"), filename_suffix=f".{number:04d}")
        if purge_step is not None:
            start = SessionLog(status=SessionLog.START)
            self._writer.write_event(Event(wall_time=time.time(), step=purge_step, session_log=start))
        self._writer.flush()

    def write(self, step: int, scalars: Mapping[str, float | int]) -> None:
        """One event with all scalars of a step."""
        values = [Summary.Value(tag=name, simple_value=value) for name, value in scalars.items()]
        self._writer.write_event(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
