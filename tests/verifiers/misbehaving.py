"""Verifiers that do what a verifier must not, each when the text says so; any other text passes."""

import ctypes
import os
import signal
import threading
import time

from tasks.verifiers.protocol import Judgement

HELD = []


def verify(text, problem):
    if text == "loop":
        while True:
            pass
    if text == "sleep":
        time.sleep(3600)
    if text == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        while True:
            try:
                while True:
                    pass
            except BaseException:  # noqa: BLE001 - what no verifier should do
                continue
    if text == "leave":
        os._exit(3)
    if text == "fault":
        ctypes.string_at(0)
    if text == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if text == "memory":
        while True:
            HELD.append(bytearray(2**24))
    if text == "recurse":
        return verify(text, problem)
    if text == "child":
        pid = os.fork()
        if pid == 0:
            time.sleep(3600)
        with open(problem.gold, "w") as file:
            file.write(str(pid))
        time.sleep(3600)
    if text == "alarm":
        rung = []
        signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        time.sleep(0.1)
        return Judgement(bool(rung) and threading.current_thread() is threading.main_thread())
    return Judgement(True, answer=text)


def write_pid(text, problem):
    with open(problem.gold, "a") as file:
        file.write(f"{os.getpid()}\n")
    return Judgement(text == "right", answer=str(os.getpid()))
