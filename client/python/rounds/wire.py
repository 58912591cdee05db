"""The line to rounds-site: JSON lines on two pipes or a socket, and what becomes of standard output meanwhile.

Where rounds-site has started this process, importing the package takes standard input and output over at once. From then on
what the script prints, whole lines, are lines of the site's log as they come, in order with all else that it says; what other
programs and C libraries write to descriptor 1 goes to standard error. So no print can break the protocol, before the loop or in
it. (What was printed and flushed before the import has already gone out: import rounds first.)

Several processes of one script (`torchrun`): rank 0 speaks with the site and the others hear of each task what it hears.
"""
from __future__ import annotations

import atexit
import ctypes
import io
import json
import os
import select
import signal
import socket
import sys
import threading
from typing import Any, Dict, List, Optional

#: The newest version of the executor protocol that this package speaks; a task says which one the site speaks.
PROTOCOL = 2
_LOG_LINE = 4000  # characters of one line that is logged; the rest is cut
_NOTHING_YET = "nothing yet"
_PR_SET_PDEATHSIG = 1  # prctl(2): die with the parent


class NotFederated(RuntimeError):
    """The script was not started by rounds-site."""


def _clean(value: Any) -> Any:
    """The same with nothing in its texts that JSON cannot carry: halves of surrogate pairs, NUL."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode().replace("\0", "?")
    if isinstance(value, dict):
        return {_clean(name): _clean(item) for name, item in value.items()}
    return value


class Wire:
    """Lines from the site and to it; any thread may speak."""

    def __init__(self, source: int, sink: int) -> None:
        self._source, self._sink = source, sink
        self._heard = b""
        self._lock = threading.RLock()

    def say(self, **line: Any) -> None:
        """A line to the site: texts, numbers, or objects of such; a number that is not finite is a ValueError."""
        rest = json.dumps(_clean(line), allow_nan=False).encode() + b"\n"
        with self._lock:
            while rest:
                rest = rest[os.write(self._sink, rest):]

    def hear(self, seconds: Optional[float] = None) -> Any:
        """The next line, an object; None once the site has no more; `_NOTHING_YET` if none comes in that time."""
        sys.stdout.flush()
        while b"\n" not in self._heard:
            if not select.select([self._source], [], [], seconds)[0]:
                return _NOTHING_YET
            block = os.read(self._source, 1 << 16)
            if not block:
                return None
            self._heard += block
        line, self._heard = self._heard.split(b"\n", 1)
        return json.loads(line)


class _Silent(Wire):
    """Of a rank that does not speak."""

    def __init__(self) -> None:
        super().__init__(-1, -1)

    def say(self, **line: Any) -> None:
        if line["type"] in ("log", "error"):
            print(f"rank {rank()}: {line['message']}", file=sys.stderr)


class _Prints(io.TextIOBase):
    """Standard output of the script: each whole line is one of the site's log. Of a progress bar, its last state."""

    encoding = "utf-8"
    errors = "replace"
    buffer = property(lambda self: getattr(sys.__stdout__, "buffer"))  # bytes go to standard error

    def __init__(self, wire: Wire) -> None:
        self._wire, self._part, self._lock = wire, "", threading.RLock()

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 1

    def reconfigure(self, **options: Any) -> None:
        """As of a text file; there is nothing to choose here."""

    def write(self, text: str) -> int:
        with self._lock:
            *lines, self._part = (self._part + text).split("\n")
            self._part = self._part[-_LOG_LINE:]
            for line in lines:
                log_line(self._wire, line)
        return len(text)

    def end(self) -> None:
        """What was printed without the end of a line."""
        with self._lock:
            part, self._part = self._part, ""
            if part.strip():
                log_line(self._wire, part)


def log_line(wire: Wire, text: str) -> None:
    """What was printed is for the site's log alone, whatever its administrator lets out of what the script logs."""
    line = text.rstrip("\r").rsplit("\r", 1)[-1]
    if line.strip():
        wire.say(type="log", printed=True, message=line if len(line) <= _LOG_LINE else line[:_LOG_LINE] + "...")


_wire: Optional[Wire] = None


def rank() -> int:
    """Which of several processes of this script it is; 0 if there is but one."""
    return int(os.environ.get("RANK", "0"))


def ranks() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def take_over() -> None:
    """Takes standard input and output, if rounds-site gave them; called by the import."""
    global _wire
    if _wire is not None or not os.environ.get("ROUNDS_PROTOCOL") or os.environ.get("ROUNDS_SOCKET"):
        return
    version = int(os.environ.pop("ROUNDS_PROTOCOL"))  # the processes that this one starts are no executors
    if ranks() > 1:  # torchrun gives each a session of its own: what ends torchrun would not reach them
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    source, sink = os.dup(0), os.dup(1)
    _wire = Wire(source, sink) if rank() == 0 else _Silent()
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    early = _printed_early()
    os.dup2(2, 1)
    if version > 1:  # a daemon of version 1 would tell prints to the server where it may tell what the script logs
        prints = _Prints(_wire)
        sys.stdout = prints
        atexit.register(prints.end)
    for line in early:
        log_line(_wire, line) if version > 1 else print(line)
    os.register_at_fork(after_in_child=_leave)


def _printed_early() -> List[str]:
    """What was printed before and waits in Python's buffer: descriptor 1 becomes a file for as long as it takes to get it out."""
    file = os.memfd_create("printed")
    os.dup2(file, 1)
    sys.stdout.flush()
    os.lseek(file, 0, os.SEEK_SET)
    with os.fdopen(file, "rb") as printed:
        return printed.read().decode("utf-8", "replace").split("\n")


def _leave() -> None:
    """In a child of this process (a loader of data): its prints go to standard error, and it says nothing to the site."""
    global _wire
    _wire = _Silent()
    sys.stdout = sys.__stdout__


def connect() -> Wire:
    """The line to the site; NotFederated where there is none."""
    global _wire
    place = os.environ.get("ROUNDS_SOCKET")
    if _wire is None and place:  # started by someone else: the site listens there
        if rank() > 0:
            _wire = _Silent()
        else:
            plug = socket.socket(socket.AF_UNIX)
            plug.connect(place)
            _wire = Wire(plug.fileno(), plug.detach())
    if _wire is None:
        raise NotFederated(
            "this script was not started by rounds-site. Name it as an executor in site.json, or try it on this machine "
            "with `rounds simulate`. (Several processes: start them with torchrun.)")
    return _wire


def hear() -> Optional[Dict[str, Any]]:
    """The next task's document, in every rank; None when there will be none."""
    wire = connect()
    if isinstance(sys.stdout, _Prints):
        sys.stdout.end()
    if ranks() == 1:
        document: Optional[Dict[str, Any]] = wire.hear()
        return document
    return _share(wire)


_group: Any = None


def _share(wire: Wire) -> Optional[Dict[str, Any]]:
    """Rank 0 waits for the site and tells the others at least once a minute, so that no collective runs into its time limit."""
    global _group
    distributed = getattr(sys.modules.get("torch"), "distributed", None)
    if distributed is None or not distributed.is_initialized():
        raise NotFederated("this is one of several processes: call torch.distributed.init_process_group before rounds.tasks()")
    if _group is None:
        _group = distributed.new_group(backend="gloo")  # of its own, since this may take as long as the site takes
    while True:
        box = [wire.hear(60) if rank() == 0 else None]
        distributed.broadcast_object_list(box, src=0, group=_group)
        if box[0] != _NOTHING_YET:
            return box[0]
