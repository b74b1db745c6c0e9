"""Runs the command line in children that are killed: a request a line on standard input, an answer a line back.

A request is JSON: `arguments`, and where the child is to die: `after` so many seconds, or `at` a place, at the
`count`-th time that it is reached. The children are forked from this process, which has imported everything once.
"""

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import demonstrably.cli.while_training as while_training
from demonstrably.cli.main import main
from demonstrably.training import checkpoints, files
from demonstrably.training.run import METRICS, Run


def dying(call: Callable[..., Any], last: Callable[..., Any], count: int) -> Callable[..., Any]:
    """The call, but for its `count`-th time: then `last` in its place, and death."""
    calls = 0

    def wrapped(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == count:
            last(*arguments)
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **named)

    return wrapped


def half_a_model(tensors: dict[str, Any], path: Path) -> None:
    save_file(tensors, path)
    os.truncate(path, path.stat().st_size // 2)


def half_a_line(run: Run, line: dict[str, Any]) -> None:
    with (run.path / METRICS).open("a") as file:
        file.write(json.dumps(line)[:20])


save_file, rename = checkpoints.save_file, os.replace
PLACES: dict[str, tuple[Any, str, Callable[..., Any]]] = {
    "half a model written": (checkpoints, "save_file", half_a_model),
    "before a rename": (files.os, "replace", lambda *_: None),
    "after a rename": (files.os, "replace", rename),
    "before older ones are trimmed": (checkpoints, "drop_training", lambda *_: None),
    "half a line written": (Run, "log", half_a_line),
    "before a checkpoint's rollouts": (while_training, "rollout", lambda *_: None),
}


def child(request: dict[str, Any]) -> None:
    """What the forked process does; it never returns."""
    with open(request["errors"], "w") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    if "at" in request:
        home, name, last = PLACES[request["at"]]
        mock.patch.object(home, name, dying(vars(home)[name], last, request["count"])).start()
    status = main(request["arguments"])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


for text in sys.stdin:
    asked = json.loads(text)
    process = os.fork()
    if process == 0:
        try:
            child(asked)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(99)
    if "after" in asked:
        time.sleep(asked["after"])
        os.kill(process, signal.SIGKILL)
    _, how = os.waitpid(process, 0)
    print(os.waitstatus_to_exitcode(how), flush=True)
