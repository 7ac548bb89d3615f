"""The reconciler: whole sections, last good settings, the truth in sync, and no loops."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinthesky.device import shadow_reconciler
from pinthesky.device.allowed_destinations import AllowedDestinations
from pinthesky.device.shadow_reconciler import ATTEMPTS_MAX, REPORTED_MAX, ShadowReconciler
from pinthesky.errors import InvalidInput
from pinthesky.model.settings import CameraSettings, CloudConnection, DeviceSettings, StorageSettings
from pinthesky.model.shadow import DESIRED_MAX, STATE_MAX, ShadowDocument, canonical, fingerprint
from tests.model.test_settings import ROOM, largest_desired

INSTALLED = DeviceSettings(
    camera=CameraSettings(framerate=20, buffer=10), storage=StorageSettings(bucket_name="my-bucket")
)
CLOUD = CloudConnection(cert_path="/etc/pinthesky/cert.pem", thing_name="pi", role_alias="alias")


def documents(**desired: Any) -> ShadowDocument:
    return ShadowDocument(desired=desired)


class Bench:
    """A reconciler that can be restarted, and its files."""

    def __init__(self, folder: Path, installed: DeviceSettings = INSTALLED, allow: tuple[str, ...] = ()) -> None:
        self.state_path = folder / "settings.json"
        self.report_path = folder / "configure-input.json"
        self.reconciler = self.start(installed, allow)

    def start(self, installed: DeviceSettings = INSTALLED, allow: tuple[str, ...] = ()) -> ShadowReconciler:
        self.reconciler = ShadowReconciler(
            installed=installed,
            allowed=AllowedDestinations(installed, allow),
            state_path=self.state_path,
            report_path=self.report_path,
            cloud_connection=CLOUD,
        )
        return self.reconciler

    def take(self, failed: Any = None, **desired: Any):
        """Consider and conclude."""
        change = self.reconciler.consider(documents(**desired))
        assert change is not None
        return self.reconciler.conclude(change, failed or {})

    @property
    def effective(self) -> DeviceSettings:
        return self.reconciler.effective

    @property
    def report(self) -> dict[str, Any]:
        return json.loads(self.report_path.read_bytes())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


# -- what is taken over


def test_a_device_starts_with_the_settings_of_its_flags(bench):
    assert bench.effective == INSTALLED


def test_a_valid_section_is_laid_over_the_installed_one(bench):
    change = bench.reconciler.consider(documents(camera={"framerate": "30", "rotation": 90}))
    assert change.changed == {"camera"}
    assert change.settings.camera == CameraSettings(framerate=30, rotation=90, buffer=10)
    assert bench.effective == INSTALLED, "nothing is in force before it was applied"
    conclusion = bench.reconciler.conclude(change, {})
    assert (conclusion.applied, conclusion.rejected) == (["camera"], {})
    assert bench.effective == change.settings


def test_a_section_with_one_bad_field_is_rejected_whole_and_the_others_taken(bench):
    conclusion = bench.take(camera={"rotation": 45, "framerate": 0, "buffer": 30}, health={"interval": 60})
    assert bench.effective.camera == INSTALLED.camera
    assert bench.effective.health.interval == 60
    assert conclusion.applied == ["health"]
    assert list(conclusion.rejected) == ["camera.rotation"]


def test_a_rejected_section_stays_as_it_was_taken_last(bench):
    bench.take(camera={"framerate": 30})
    bench.take(camera={"framerate": 0}, health={"interval": 60})
    assert bench.effective.camera.framerate == 30
    assert bench.start().effective.camera.framerate == 30


def test_a_section_that_is_desired_no_more_falls_back_to_the_installed_one(bench):
    bench.take(camera={"framerate": 30}, health={"interval": 60})
    bench.take(health={"interval": 60})
    assert bench.effective.camera == INSTALLED.camera
    bench.take()
    assert bench.effective == INSTALLED


def test_a_field_that_is_desired_no_more_falls_back_too(bench):
    bench.take(camera={"framerate": 30, "buffer": 5})
    bench.take(camera={"framerate": 30})
    assert bench.effective.camera == CameraSettings(framerate=30, buffer=10)


@pytest.mark.parametrize("name", ["cloud_connection", "sync", "nothing", "__class__", "camera.framerate", ""])
def test_sections_that_are_not_the_shadows_to_set_are_rejected_by_name(bench, name):
    bench.take(camera={"framerate": 30})
    conclusion = bench.take(**{name: {"role_alias": "evil", "framerate": 1}, "health": {"interval": 60}})
    assert list(conclusion.rejected) == [name]
    assert bench.report["cloud_connection"]["role_alias"] == "alias"
    assert bench.effective.camera == INSTALLED.camera


def test_destinations_that_were_not_allowed_are_rejected(bench):
    conclusion = bench.take(
        storage={"bucket_name": "evil-bucket"}, dataplane={"endpoint_url": "https://evil.example.com"}
    )
    assert set(conclusion.rejected) == {"storage.bucket_name", "dataplane.endpoint_url"}
    assert bench.effective == INSTALLED


def test_allowed_destinations_are_taken(tmp_path):
    bench = Bench(tmp_path, allow=("bucket=second-bucket",))
    assert bench.take(storage={"bucket_name": "second-bucket"}).rejected == {}
    assert bench.effective.storage.bucket_name == "second-bucket"


def test_a_desired_state_too_large_is_rejected_whole(bench):
    fill = "x" * DESIRED_MAX
    conclusion = bench.take(camera={"framerate": 30}, other={"fill": fill})
    assert conclusion.applied == []
    assert bench.effective == INSTALLED
    assert "more than 3072 bytes" in conclusion.rejected["camera"]


# -- applying may fail


def test_a_section_that_cannot_be_applied_stays_as_it_was(bench):
    bench.take(camera={"framerate": 30})
    conclusion = bench.take(failed={"camera": "the camera refuses"}, camera={"framerate": 60}, health={"interval": 60})
    assert (conclusion.applied, conclusion.rejected) == (["health"], {"camera": "the camera refuses"})
    assert bench.effective.camera.framerate == 30
    assert bench.report["camera"]["framerate"] == 30
    assert bench.start().effective.camera.framerate == 30


def test_a_section_that_cannot_be_applied_for_the_first_time_stays_as_installed(bench):
    bench.take(failed={"camera": "busy"}, camera={"framerate": 60})
    assert bench.effective == INSTALLED


def test_what_was_refused_is_looked_at_again_after_a_restart(bench):
    bench.take(storage={"bucket_name": "second-bucket"})
    assert bench.reconciler.consider(documents(storage={"bucket_name": "second-bucket"})) is None
    bench.start(allow=("bucket=second-bucket",))
    assert bench.take(storage={"bucket_name": "second-bucket"}).rejected == {}


def test_what_was_taken_is_not_looked_at_again_after_a_restart(bench):
    bench.take(camera={"framerate": 30})
    bench.start()
    assert bench.effective.camera.framerate == 30
    assert bench.reconciler.consider(documents(camera={"framerate": 30})) is None


def test_settings_that_end_the_process_are_given_up_after_some_attempts(bench):
    for _ in range(ATTEMPTS_MAX):
        change = bench.reconciler.consider(documents(camera={"framerate": 119}))
        assert change.changed == {"camera"}
        bench.start()
    change = bench.reconciler.consider(documents(camera={"framerate": 119}))
    assert change.changed == frozenset()
    assert bench.reconciler.conclude(change, {}).rejected == {
        "camera": "ended the program each time it was to be taken over"
    }
    assert bench.effective == INSTALLED
    assert bench.take(camera={"framerate": 30}).rejected == {}


def test_an_orderly_end_is_no_attempt(bench):
    for _ in range(ATTEMPTS_MAX + 1):
        assert bench.reconciler.consider(documents(camera={"framerate": 119})).changed == {"camera"}
        bench.reconciler.abandon()
        bench.start()
    bench.reconciler.abandon()
    assert bench.take(camera={"framerate": 119}).applied == ["camera"]


# -- fingerprints and order


def test_a_document_that_was_handled_is_not_handled_again(bench):
    bench.take(camera={"framerate": 30, "buffer": 5})
    before = bench.report_path.stat().st_mtime_ns
    assert bench.reconciler.consider(documents(camera={"buffer": 5, "framerate": 30})) is None
    assert bench.report_path.stat().st_mtime_ns == before


def test_a_document_that_is_being_applied_is_not_handled_again(bench):
    change = bench.reconciler.consider(documents(camera={"framerate": 30}))
    assert bench.reconciler.consider(documents(camera={"framerate": 30})) is None
    bench.reconciler.conclude(change, {})
    assert bench.reconciler.consider(documents(camera={"framerate": 30})) is None


def test_a_document_that_says_nothing_of_desired_changes_nothing(bench):
    bench.take(camera={"framerate": 30})
    for raw in (b"{}", b'{"current":{}}', b'{"state":{"reported":{}}}'):
        assert bench.reconciler.consider(raw) is None
    assert bench.effective.camera.framerate == 30


def test_an_empty_desired_on_a_new_device_is_nothing_to_answer(bench):
    assert bench.reconciler.consider(documents()) is None
    assert not bench.state_path.exists()


def test_a_file_that_is_no_document_is_invalid(bench):
    with pytest.raises(InvalidInput):
        bench.reconciler.consider(b"{")


def test_a_document_that_changes_nothing_is_answered_all_the_same(bench):
    change = bench.reconciler.consider(documents(camera={"framerate": 20}))
    assert change.changed == frozenset()
    bench.reconciler.conclude(change, {})
    assert bench.report["sync"] == {"fingerprint": change.fingerprint, "applied": ["camera"], "rejected": {}}


def test_a_rejection_that_holds_no_more_is_taken_out_of_the_shadow(bench):
    bench.take(camera={"rotation": 45}, health={"interval": 1})
    bench.take(camera={"rotation": 45})
    assert set(bench.report["sync"]["rejected"]) == {"camera.rotation", "health.interval"}
    assert bench.report["sync"]["rejected"]["health.interval"] is None, "which removes it from a shadow"
    bench.take(camera={"rotation": 90})
    assert bench.report["sync"]["rejected"] == {"camera.rotation": None}
    bench.take(camera={"rotation": 180})
    assert bench.report["sync"]["rejected"] == {}


def test_a_rejection_that_the_shadow_still_shows_is_taken_out_after_a_restart_too(bench):
    bench.start()
    shown = ShadowDocument(
        desired={"camera": {"framerate": 9}}, reported={"sync": {"rejected": {"mode.mode": "old", "camera": "old"}}}
    )
    change = bench.reconciler.consider(shown)
    bench.reconciler.conclude(change, {"camera": "the camera is away"})
    assert bench.report["sync"]["rejected"] == {"mode.mode": None, "camera": "the camera is away"}


@pytest.mark.parametrize("reported", [{"sync": 3}, {"sync": {"rejected": ["mode"]}}, {"sync": {}}, None])
def test_a_strange_report_in_the_shadow_withdraws_nothing(bench, reported):
    change = bench.reconciler.consider(ShadowDocument(desired={"camera": {"framerate": 9}}, reported=reported))
    bench.reconciler.conclude(change, {})
    assert bench.report["sync"]["rejected"] == {}


def test_what_is_withdrawn_gives_way_to_what_is_in_force(bench, monkeypatch):
    shown = {f"section-{number:03}": "old" for number in range(200)}
    document = ShadowDocument(desired={"camera": {"framerate": 9}}, reported={"sync": {"rejected": shown}})
    bench.reconciler.conclude(bench.reconciler.consider(document), {})
    withdrawn = bench.report["sync"]["rejected"]
    assert 0 < len(withdrawn) < 200, "bounded"
    monkeypatch.setattr(shadow_reconciler, "REPORTED_MAX", len(bench.reconciler.reported_document()) - 1)
    assert json.loads(bench.reconciler.reported_document())["sync"]["rejected"] == {}


def test_a_later_document_takes_the_place_of_one_that_is_being_applied(bench):
    bench.reconciler.consider(documents(camera={"framerate": 30}))
    later = bench.reconciler.consider(documents(camera={"framerate": 40}))
    bench.reconciler.conclude(later, {})
    assert bench.effective.camera.framerate == 40
    assert bench.reconciler.consider(documents(camera={"framerate": 40})) is None


def test_going_back_while_a_change_is_being_applied_touches_its_sections_again(bench):
    bench.take(health={"interval": 60})
    bench.reconciler.consider(documents(health={"interval": 60}, camera={"framerate": 30}))
    back = bench.reconciler.consider(documents(health={"interval": 60}))
    assert back.changed == {"camera"}, "the camera may have taken the first change over already"
    other = bench.reconciler.consider(documents(health={"interval": 90}))
    assert other.changed == {"camera", "health"}, "and may not have gone back yet"
    assert bench.reconciler.conclude(other, {}).applied == ["health"]
    assert bench.effective.camera == INSTALLED.camera
    assert bench.reconciler.consider(documents(health={"interval": 90})) is None


# -- what survives


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"overrides":5}', b"\xff", b'{"overrides":{"camera":[]}}', b"[" * 100_000]
)
def test_a_broken_state_file_means_the_settings_of_the_flags(tmp_path, content, caplog):
    (tmp_path / "settings.json").write_bytes(content)
    bench = Bench(tmp_path)
    assert bench.effective == INSTALLED
    assert "Cannot read the settings" in caplog.text
    assert bench.take(camera={"framerate": 30}).applied == ["camera"]


def test_an_unreadable_state_file_means_the_settings_of_the_flags(tmp_path, caplog):
    (tmp_path / "settings.json").mkdir()
    assert Bench(tmp_path).effective == INSTALLED
    assert "Cannot read the settings" in caplog.text


def test_settings_that_are_not_allowed_any_more_are_dropped_at_the_start(tmp_path, caplog):
    bench = Bench(tmp_path, allow=("bucket=second-bucket",))
    bench.take(storage={"bucket_name": "second-bucket"}, camera={"framerate": 30})
    bench.start()
    assert bench.effective.storage == INSTALLED.storage
    assert bench.effective.camera.framerate == 30
    assert "not valid any more: storage.bucket_name" in caplog.text
    assert bench.take(storage={"bucket_name": "second-bucket"}, camera={"framerate": 30}).applied == ["camera"]


def test_new_flags_show_through_what_the_shadow_does_not_set(bench):
    bench.take(camera={"framerate": 30})
    bench.start(DeviceSettings(camera=CameraSettings(buffer=99)))
    assert bench.effective.camera == CameraSettings(framerate=30, buffer=99)


def test_a_disk_that_refuses_is_told_and_the_settings_are_in_force(bench, monkeypatch, caplog):
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shadow_reconciler, "replace_file", refuse)
    monkeypatch.setattr(shadow_reconciler, "write_slot", refuse)
    bench.take(camera={"framerate": 30})
    assert bench.effective.camera.framerate == 30
    assert "Cannot store the settings" in caplog.text
    assert "Cannot write the report" in caplog.text
    assert not bench.reconciler.report()


def test_the_state_is_replaced_so_that_a_power_cut_leaves_the_old_or_the_new(bench, monkeypatch):
    bench.take(camera={"framerate": 30})
    old_content = bench.state_path.read_bytes()
    steps: list[str] = []

    def noting(step: str, do):
        def call(descriptor: int) -> None:
            steps.append(step)
            do(descriptor)

        return call

    monkeypatch.setattr(os, "fdatasync", noting("data", os.fdatasync))
    monkeypatch.setattr(os, "fsync", noting("folder", os.fsync))
    with bench.state_path.open("rb") as old:
        bench.take(camera={"framerate": 31})
        assert old.read() == old_content
    assert steps[:2] == ["data", "folder"]


# -- the report


def test_the_report_holds_every_section_in_force_and_the_truth(bench):
    conclusion = bench.take(camera={"framerate": 30}, health={"interval": 1})
    assert bench.report == {
        **bench.effective.as_document(),
        "cloud_connection": {
            "cert_path": "/etc/pinthesky/cert.pem",
            "key_path": None,
            "cacert_path": None,
            "thing_name": "pi",
            "role_alias": "alias",
            "credentials_endpoint": None,
        },
        "sync": {
            "fingerprint": fingerprint({"camera": {"framerate": 30}, "health": {"interval": 1}}),
            "applied": ["camera"],
            "rejected": {"health.interval": "must be a whole number from 10 to 86400, got 1"},
        },
    }
    assert bench.report["sync"]["rejected"] == conclusion.rejected


@pytest.mark.parametrize(
    "policy, known, written",
    [
        ("always", True, True),
        ("always", False, True),
        ("never", False, False),
        ("empty", True, False),
        ("empty", False, True),
    ],
)
def test_the_report_at_the_start_is_a_matter_of_policy(bench, policy, known, written):
    bench.reconciler.prepare()
    assert bench.reconciler.report_at_start(policy, reported_known=known) is written
    assert bool(bench.report) is written


def test_what_is_in_the_report_file_stays_until_there_is_something_to_say(bench):
    bench.report_path.write_bytes(b'{"a":1}')
    bench.reconciler.prepare()
    assert bench.report == {"a": 1}


def test_many_unknown_sections_are_counted_not_listed(bench):
    bench.take(**{f"unknown{n}": {} for n in range(40)}, camera={"framerate": 0})
    rejected = bench.report["sync"]["rejected"]
    assert len(rejected) == 8
    assert rejected["..."] == "34 more sections are not known"
    assert "camera.framerate" in rejected


def test_long_values_of_the_connection_are_left_out_whole(tmp_path):
    reconciler = ShadowReconciler(
        installed=INSTALLED,
        allowed=AllowedDestinations(INSTALLED),
        state_path=tmp_path / "s",
        report_path=tmp_path / "r",
        cloud_connection=CloudConnection(cert_path="/" + "x" * 3000),
    )
    assert "cert_path" not in json.loads(reconciler.reported_document())["cloud_connection"]


def test_the_largest_report_and_the_largest_desired_fit_the_shadow_together(tmp_path, monkeypatch):
    longest = CloudConnection(**dict.fromkeys(CloudConnection.__struct_fields__, "/" + "x" * 127))
    desired = largest_desired()
    installed = DeviceSettings()
    allow = (
        *(f"bucket={desired['storage']['bucket_name']}", f"prefix={desired['storage']['video_prefix']}"),
        *(f"prefix={desired['storage']['image_prefix']}", f"endpoint={desired['dataplane']['endpoint_url']}"),
        *(f"region={desired['dataplane']['region_name']}", f"log-group={desired['cloudwatch']['log_group_name']}"),
    )
    reconciler = ShadowReconciler(
        installed=installed,
        allowed=AllowedDestinations(installed, allow),
        state_path=tmp_path / "state",
        report_path=tmp_path / "report",
        cloud_connection=longest,
    )
    change = reconciler.consider(ShadowDocument(desired=desired))
    assert change is not None
    assert reconciler.conclude(change, {}).rejected == {}
    # The longest settings are in force, and now every section is refused for the longest reasons.
    bad = {name: {"x" * 200 + "\u202e" * 50: 1} for name in desired} | {
        f"stranger {n} " + "é" * 60: 1 for n in range(9)
    }
    change = reconciler.consider(ShadowDocument(desired=bad | {"fill": {}}))
    assert change is not None
    reconciler.conclude(change, dict.fromkeys(desired, "r" * 500 + "\u202e" * 500))
    report = (tmp_path / "report").read_bytes()
    assert json.loads(report)["motion"]["zones"] == desired["motion"]["zones"]
    assert len(report) <= REPORTED_MAX
    assert len(report) + DESIRED_MAX <= STATE_MAX
    assert json.loads(report)["cloud_connection"]["cert_path"] == longest.cert_path
    # Sections that are still to come are reported too: reasons become shorter for them, and that suffices.
    monkeypatch.setattr(shadow_reconciler, "REPORTED_MAX", REPORTED_MAX - ROOM)
    assert len(reconciler.reported_document()) + ROOM <= REPORTED_MAX


NAMES = st.sampled_from(["camera", "health", "motion", "storage", "mode", "sync", "cloud_connection", "stranger"])
VALUES = (
    st.none() | st.booleans() | st.integers(0, 130) | st.text(max_size=200) | st.lists(st.integers(0, 9), max_size=3)
)
FIELDS = st.sampled_from(["framerate", "interval", "zones", "bucket_name", "mode", "bogus", "post_roll"])
DESIRED = st.dictionaries(NAMES, st.dictionaries(FIELDS, VALUES, max_size=3) | VALUES, max_size=6)


@given(
    states=st.lists(DESIRED, min_size=1, max_size=5),
    restarts=st.lists(st.booleans(), min_size=5, max_size=5),
    fails=st.lists(st.booleans(), min_size=5, max_size=5),
)
def test_whatever_is_desired_the_report_tells_what_is_in_force(tmp_path_factory, states, restarts, fails):
    bench = Bench(tmp_path_factory.mktemp("reconciler"))
    shown: dict[str, str] = {}  # what a shadow, which merges, shows of the rejections
    for desired, restart, fail in zip(states, restarts, fails):
        before = bench.effective
        change = bench.reconciler.consider(ShadowDocument(desired=desired, reported={"sync": {"rejected": shown}}))
        if change is None:
            assert bench.effective == before
            continue
        failed = dict.fromkeys(change.changed, "no") if fail else {}
        conclusion = bench.reconciler.conclude(change, failed)
        sections = {name for name in desired if name in before.__struct_fields__}
        refused = {key.split(".")[0] for key in conclusion.rejected}
        assert sections == set(conclusion.applied) | (refused & sections)
        assert not set(conclusion.applied) & refused
        for name in refused & sections:
            assert getattr(bench.effective, name) == getattr(before, name)
        report = bench.report
        assert {name: report[name] for name in before.__struct_fields__} == json.loads(
            json.dumps(bench.effective.as_document())
        )
        assert report["sync"]["applied"] == conclusion.applied
        merged = {**shown, **report["sync"]["rejected"]}
        shown = {field: reason for field, reason in merged.items() if reason is not None}
        assert set(shown) == set(conclusion.rejected)
        assert len(canonical(report)) <= REPORTED_MAX
        if restart:
            in_force = bench.effective
            assert bench.start().effective == in_force


def test_a_stored_section_that_the_camera_refuses_is_the_installation_s_and_reported_as_rejected(tmp_path: Path):
    bench = Bench(tmp_path)
    bench.take(camera={"framerate": 90}, health={"interval": 60})
    bench.start()
    outcome = bench.reconciler.refuse("camera.framerate", "must be at most 30")
    assert outcome is not None
    assert (outcome.applied, outcome.rejected) == (["health"], {"camera.framerate": "must be at most 30"})
    assert bench.effective.camera == INSTALLED.camera
    assert bench.effective.health.interval == 60
    report = json.loads(bench.report_path.read_bytes())
    assert report["camera"]["framerate"] == 20
    assert report["sync"]["rejected"] == {"camera.framerate": "must be at most 30"}
    assert bench.reconciler.consider(documents(camera={"framerate": 90}, health={"interval": 60})) is None
    bench.start()
    assert bench.effective.camera == INSTALLED.camera
    again = bench.reconciler.consider(documents(camera={"framerate": 90}, health={"interval": 60}))
    assert again is not None, "after a restart it is tried once more"
    assert again.changed == {"camera"}


def test_a_section_that_is_not_in_force_cannot_be_refused(tmp_path: Path):
    bench = Bench(tmp_path)
    bench.take(health={"interval": 60})
    assert bench.reconciler.refuse("camera.framerate", "must be at most 30") is None
    assert bench.effective.health.interval == 60
