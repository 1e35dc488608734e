"""What receivers and operators do: bad days, endpoints paused, added, removed, rotated, gone, replayed."""

from __future__ import annotations

import time

from tests.torture.operating import rowhook
from tests.torture.schedule import Step
from tests.torture.world import World


def mood(world: World, step: Step) -> None:
    name = step.kind.partition(" ")[2]
    with world.fault(step.kind, step.target):
        world.hooks.mood(step.target, name)
        world.wait(step.length)
        world.hooks.mood(step.target, "ok")


def pause(world: World, step: Step) -> None:
    with world.fault("pause", step.target):
        world.hooks.command(step.target, "pause")
        world.wait(step.length)
        world.hooks.command(step.target, "resume")


def discard(world: World, step: Step) -> None:
    """Paused, and what waited is cancelled."""
    with world.fault("discard", step.target):
        world.hooks.command(step.target, "pause")
        world.wait(step.length)
        world.hooks.command(step.target, "resume", "--discard")


def gone(world: World, step: Step) -> None:
    """The receiver says 410, the endpoint is disabled; then somebody resumes it."""
    with world.fault("gone", step.target):
        world.hooks.mood(step.target, "gone")
        world.wait(step.length)
        world.hooks.mood(step.target, "ok")
        world.hooks.command(step.target, "resume")


def guest(world: World, step: Step) -> None:
    """An endpoint comes, gets events, and goes."""
    name = next(world.guests)
    if world.hooks.by_name[name].endpoint:
        return
    with world.fault("guest", name):
        world.hooks.add(name)
        world.wait(step.length)
        world.hooks.remove(name)


def rotate(world: World, step: Step) -> None:
    with world.fault("rotate", step.target):
        world.hooks.rotate(step.target, step.length)


def replay(world: World, _step: Step) -> None:
    """The newest dead letters."""
    with world.fault("replay", "*"):
        with world.stage.connect() as connection:
            dead = connection.execute("SELECT delivery_id FROM rowhook.dead_letters ORDER BY died_at DESC LIMIT 3").fetchall()
        for (delivery,) in dead:
            world.replayed[delivery] = time.time()
            rowhook(world.stage.cluster.dsn(), "replay", "--delivery", delivery)
