"""Whatever happens, each item is in the spool or in the store, and no clip is stored twice."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Callable

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from pinthesky.errors import InvalidInput, NotAuthorized, NotFound, PinTheSkyError, Unavailable
from pinthesky.model.recording import LATEST_STILL
from tests.support.upload_world import AWAY, HOME, World


class KilledError(BaseException):
    """The process is gone."""


FAULTS: dict[str, Callable[[], PinTheSkyError]] = {
    "unavailable": lambda: Unavailable("slow down"),
    "denied": lambda: NotAuthorized("denied"),
    "no bucket": lambda: NotFound("no bucket"),
    "refused": lambda: InvalidInput("object", "refused"),
}
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("clip"), st.booleans()),
        st.tuples(st.just("still"), st.sampled_from([None, "door.jpg", LATEST_STILL])),
        st.tuples(st.just("run"), st.sampled_from([0.0, 1.0, 30.0, 600.0])),
        st.tuples(st.just("fault"), st.sampled_from(sorted(FAULTS))),
        st.tuples(st.just("lose answers"), st.integers(1, 2)),
        st.tuples(st.just("kill before removal"), st.none()),
        st.tuples(st.just("restart"), st.none()),
        st.tuples(st.just("clock"), st.booleans()),
        st.tuples(st.just("destination"), st.sampled_from([HOME, AWAY, None])),
    ),
    max_size=30,
)


@settings(max_examples=60)
@given(STEPS)
def test_whatever_happens_each_item_is_in_the_spool_or_in_the_store(steps: list[tuple[str, Any]]):
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        world.uploader.set_destination(HOME)
        wanted, made = HOME, set()
        for number, (step, value) in enumerate(steps):
            if step == "clip":
                world.clip(number, wall=value)
                made.add(b"clip %d" % number)
            elif step == "still":
                world.still(number, value)
                made.add(b"still %d" % number)
            elif step == "fault":
                world.store.fail_next(FAULTS[value]())
            elif step == "lose answers":
                world.store.lose_answers(value)
            elif step == "clock":
                world.clock_is_right = value
            elif step == "destination":
                wanted = value or msgspec.structs.replace(wanted, enabled=False)
                world.uploader.set_destination(wanted)
            elif step == "kill before removal":
                mark = world.spool.mark_stored
                setattr(world.spool, "mark_stored", _kill)  # noqa: B010 - mypy knows no other way to say it
                try:
                    world.run()
                except KilledError:
                    world.begin()
                    world.uploader.set_destination(wanted)
                else:
                    setattr(world.spool, "mark_stored", mark)  # noqa: B010 - mypy knows no other way to say it
            elif step == "restart":
                world.begin()
                world.uploader.set_destination(wanted)
            else:
                world.run(value)
            check_nothing_lost(world, made)
        world.clock_is_right = True
        world.store.fail_until_told(None)
        world.store.lose_answers(0)
        world.uploader.set_destination(HOME)
        world.run(24 * 3600)
        assert world.waiting == 0
        check_nothing_lost(world, made)
        world.spool.close()


def _kill(_name: str) -> None:
    raise KilledError


def check_nothing_lost(world: World, made: Any) -> None:
    waiting = {spooled.path.read_bytes() for spooled in world.spool.items()}
    # A latest still may have been replaced by a later one since.
    missing = made - waiting - set(world.store.history)
    assert not missing, f"neither in the spool nor ever in the store: {missing}"
    kept = set(world.store.objects("home").values()) | set(world.store.objects("away").values()) | waiting
    assert not {content for content in made if content.startswith(b"clip")} - kept
    for bucket in ("home", "away"):
        clips = [content for content in world.store.objects(bucket).values() if content.startswith(b"clip")]
        assert len(clips) == len(set(clips)), "stored twice"
