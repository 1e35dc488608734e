"""Faults of relays: killed, frozen, with a wrong clock; and of their way to Postgres."""

from __future__ import annotations

import contextlib
import random
import signal

import psutil

from relay.lease import PURPOSES
from tests.torture.schedule import Step
from tests.torture.world import World

LARGEST_DRIFT = 120  # seconds: receivers allow 300


def kill(world: World, step: Step) -> None:
    relay = world.fleet.of(step.target)
    with world.fault("kill", step.target):
        world.fleet.kill(step.target)
    if relay.kind.processes == 1:  # another one's supervisor starts it again
        world.wait(step.length)
        relay.start()


def kill_supervisor(world: World, step: Step) -> None:
    """Its relays end in order by themselves; others take their names."""
    relay = world.fleet.of(step.target)
    with world.fault("kill_supervisor", step.target):
        relay.kill()
        world.wait(step.length)
        relay.start()


def freeze(world: World, step: Step) -> None:
    with world.fault("freeze", step.target):
        process = world.fleet.freeze(step.target)
        world.wait(step.length)
        with contextlib.suppress(psutil.Error):
            if process is not None:
                process.send_signal(signal.SIGCONT)


def cut(world: World, step: Step) -> None:
    with world.fault("cut", step.target):
        world.fleet.of(step.target).way.break_off()


def silence(world: World, step: Step) -> None:
    """Nothing gets through, and nobody is told: a dead router; or one kind of session alone is stuck."""
    way = world.fleet.of(step.target).way
    with world.fault("silence", step.target):
        way.hold(random.Random(step.seed).choice(("", "", *(f"rowhook {purpose}" for purpose in PURPOSES))))
        world.wait(step.length)
        way.let_go()


def halve(world: World, step: Step) -> None:
    """The server sees the relay go, the relay sees nothing."""
    way = world.fleet.of(step.target).way
    with world.fault("halve", step.target):
        way.halve()
        world.wait(step.length)
        way.let_go()


def slow(world: World, step: Step) -> None:
    way = world.fleet.of(step.target).way
    with world.fault("slow", step.target):
        way.drag(random.Random(step.seed).uniform(0.01, 0.15))
        world.wait(step.length)
        way.drag(0.0)


def deafen(world: World, step: Step) -> None:
    """The listening session alone falls silent."""
    way = world.fleet.of(step.target).way
    with world.fault("deafen", step.target):
        way.hold("rowhook bell")
        world.wait(step.length)
        way.let_go()


def drift(world: World, step: Step) -> None:
    """The relay's clock is wrong: only the signed timestamp may tell."""
    relay = world.fleet.of(step.target)
    with world.fault("drift", step.target):
        relay.drift(random.Random(step.seed).uniform(-LARGEST_DRIFT, LARGEST_DRIFT))
        world.wait(step.length)
        relay.drift(0)
