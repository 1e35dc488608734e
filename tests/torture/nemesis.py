"""Carries out a schedule: each step in a thread of its own, so that faults overlap as the schedule has it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

import psycopg

from tests.torture import faults_hook, faults_relay, faults_server
from tests.torture.schedule import Step
from tests.torture.world import World

Carry = Callable[[World, Step], None]

FAULTS: Mapping[str, Carry] = {
    carry.__name__: carry
    for carry in (
        faults_relay.kill,
        faults_relay.kill_supervisor,
        faults_relay.freeze,
        faults_relay.cut,
        faults_relay.silence,
        faults_relay.halve,
        faults_relay.slow,
        faults_relay.deafen,
        faults_relay.drift,
        faults_server.terminate,
        faults_server.restart_fast,
        faults_server.restart_immediate,
        faults_server.crash,
        faults_server.hold_xmin,
        faults_server.column,
        faults_server.vacuum_full,
        faults_hook.mood,
        faults_hook.pause,
        faults_hook.discard,
        faults_hook.gone,
        faults_hook.guest,
        faults_hook.rotate,
        faults_hook.replay,
    )
}


class Nemesis:
    def __init__(self, world: World, steps: Sequence[Step]) -> None:
        self._world, self._steps = world, steps
        self._failed: list[BaseException] = []

    def run(self, seconds: float) -> None:
        """All steps at their times; returns after ``seconds``, when all have ended. Raises what a fault did not expect."""
        began = time.monotonic()
        threads = []
        for step in self._steps:
            time.sleep(max(0.0, began + step.at - time.monotonic()))
            thread = threading.Thread(target=self._carry_out, args=[step], name=step.kind)
            thread.start()
            threads.append(thread)
        time.sleep(max(0.0, began + seconds - time.monotonic()))
        self._world.healing.set()
        for thread in threads:
            thread.join()
        if self._failed:
            raise ExceptionGroup("faults that went wrong", [e for e in self._failed if isinstance(e, Exception)])

    def _carry_out(self, step: Step) -> None:
        kind = step.kind.partition(" ")[0]
        try:
            FAULTS[kind](self._world, step)
        except psycopg.Error:
            self._world.given_up[kind] += 1  # another fault took the server away: half a fault is one too
        except BaseException as error:
            self._failed.append(error)
