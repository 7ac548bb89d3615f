"""Health reports of a machine that the test lays out."""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinthesky.device import health_reporter
from pinthesky.device.fakes import FakeClock
from pinthesky.device.health_reporter import FIRST_REPORT_S, DaemonFacts, HealthReporter, own_address
from pinthesky.device.timekeeping import TimeKeeper
from pinthesky.model.health import CAPABILITIES_MAX, CAPABILITY_MAX, TEXT_MAX, HealthReport
from pinthesky.model.settings import HealthSettings

ROUTES = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
wlan0\t00000000\t0102A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0
wlan0\t0002A8C0\t00000000\t0001\t0\t0\t600\t00FFFFFF\t0\t0\t0
eth0\t00000000\t0102A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
"""
STAT = "cpu  {busy} 0 0 {idle} 10 0 0 0 0 0\ncpu0 1 2 3 4\n"
A_PI = {
    "proc/meminfo": "MemTotal:         427420 kB\nMemFree:           36528 kB\nMemAvailable:     232000 kB\nHuge: 0\n",
    "proc/stat": STAT.format(busy=1000, idle=9000),
    "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION="12 (bookworm)"\nID=debian\n',
    "sys/class/thermal/thermal_zone0/type": "gpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "40000\n",
    "sys/class/thermal/thermal_zone1/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone1/temp": "52078\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
    "sys/class/power_supply/mouse/type": "Battery\n",
    "sys/class/power_supply/mouse/scope": "Device\n",
    "sys/class/power_supply/rpi-ups/type": "Battery\n",
    "sys/class/power_supply/rpi-ups/capacity": "87\n",
    "sys/class/power_supply/rpi-ups/voltage_now": "3987000\n",
    "sys/class/power_supply/rpi-ups/status": "Discharging\n",
    "sys/class/power_supply/usb/type": "USB\n",
}


class Bench:
    """A machine in a folder, and a reporter that looks at it."""

    def __init__(self, folder: Path, files: dict[str, str] | None = None, wall: float = 1_800_000_000.0) -> None:
        self.root = folder / "root"
        self.root.mkdir()
        for path, content in (A_PI if files is None else files).items():
            self.write(path, content)
        self.clock = FakeClock(wall, monotonic=50.0)
        self.facts = DaemonFacts()
        self.reporter = HealthReporter(
            TimeKeeper(self.clock, folder / "time.json"),
            lambda: self.facts,
            HealthSettings(interval=600),
            version="1.2.3",
            disk=folder,
            root=self.root,
        )

    def write(self, path: str, content: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8", errors="surrogateescape")

    def report(self) -> HealthReport:
        return self.reporter.report()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_memory_is_what_the_kernel_says(bench):
    report = bench.report()
    assert (report.mem_total, report.mem_free, report.mem_avail) == (427420, 36528, 232000)


def test_the_disk_is_the_one_that_holds_the_recordings(bench, tmp_path):
    report = bench.report()
    found = os.statvfs(tmp_path)
    assert report.disk_total == found.f_blocks * found.f_frsize
    assert report.disk_free is not None
    assert report.disk_used is not None
    assert 0 < report.disk_free + report.disk_used <= report.disk_total


def test_the_processor_s_use_is_that_since_the_report_before(bench):
    bench.write("proc/stat", STAT.format(busy=1300, idle=9700))
    assert bench.report().cpu_used == 30.0
    bench.write("proc/stat", STAT.format(busy=1300, idle=9800))
    assert bench.report().cpu_used == 0.0


@pytest.mark.parametrize(
    "content", ["", "cpu 1 2", "cpu a b c d e f g h i", STAT.format(busy=1000, idle=9000), STAT.format(busy=1, idle=1)]
)
def test_a_processor_that_cannot_be_measured_is_unknown(bench, content):
    bench.write("proc/stat", content)
    assert bench.report().cpu_used is None


def test_the_system_is_named(bench):
    report = bench.report()
    assert (report.os_id, report.os_version, report.version) == ("debian", "12 (bookworm)", "1.2.3")


def test_temperature_is_the_processor_s_and_throttling_the_firmware_s(bench):
    report = bench.report()
    assert report.cpu_temp == 52.1
    assert report.throttled == 0x50005


def test_a_machine_whose_zones_do_not_name_the_processor_gives_the_first(tmp_path):
    bench = Bench(
        tmp_path,
        {
            "sys/class/thermal/thermal_zone0/temp": "broken",
            "sys/class/thermal/thermal_zone1/temp": "-1500",
            "sys/class/thermal/thermal_zone2/temp": "44000",
        },
    )
    assert bench.report().cpu_temp == -1.5


def test_the_battery_is_the_machine_s_own(bench):
    report = bench.report()
    assert (report.battery_percent, report.battery_volts, report.battery_status) == (87, 3.99, "Discharging")


@pytest.mark.parametrize("capacity, volts", [("101", "-5"), ("", ""), ("many", "1e3")])
def test_a_gauge_that_says_nonsense_is_left_out(bench, capacity, volts):
    bench.write("sys/class/power_supply/rpi-ups/capacity", capacity)
    bench.write("sys/class/power_supply/rpi-ups/voltage_now", volts)
    report = bench.report()
    assert (report.battery_percent, report.battery_volts) == (None, None)


def test_a_machine_without_anything_to_read_gives_a_report_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(health_reporter, "_ipv4_of", lambda _: None)
    bench = Bench(tmp_path, {})
    monkeypatch.setattr(bench.reporter, "_disk", tmp_path / "missing")
    report = bench.report()
    unknown = (
        "os_version os_id ip_addr disk_free disk_used disk_total mem_free mem_avail mem_total cpu_used cpu_temp "
        "throttled battery_percent battery_volts battery_status"
    )
    assert {getattr(report, name) for name in unknown.split()} == {None}


def test_the_daemon_s_own_facts_are_in_it(bench):
    bench.facts = DaemonFacts(
        recording=True,
        motion_captured=3,
        spool_files=2,
        spool_bytes=1000,
        camera_model="imx219 \n [4-0010]",
        frame_age_s=0.0512,
        preroll_shortfall_s=4.0,
        upload_state="failing",
        upload_error="x" * 500,
        commands_rejected=1,
        events_dropped=2,
        items_lost=4,
        pictures_lost=7,
    )
    document = bench.report().as_document()
    expected = {
        "recording_status": True,
        "motion_captured": 3,
        "spool_files": 2,
        "spool_bytes": 1000,
        "camera_model": "imx219 [4-0010]",
        "frame_age": 0.1,
        "clock_synchronised": True,
        "preroll_shortfall": 4.0,
        "upload_state": "failing",
        "upload_error": "x" * TEXT_MAX,
        "commands_rejected": 1,
        "events_dropped": 2,
        "items_lost": 4,
        "pictures_lost": 7,
    }
    assert {name: document[name] for name in expected} == expected


def test_what_the_camera_says_of_itself_is_told_within_bounds(bench):
    bench.facts = DaemonFacts(camera_capabilities={"controls": "ExposureTime  " * 200, "encoder": "hardware\n"})
    told = bench.report().camera_capabilities
    assert told is not None
    assert told["encoder"] == "hardware"
    assert len(told["controls"]) == CAPABILITY_MAX
    bench.facts = DaemonFacts(camera_capabilities={f"{number:03}" * 20: "yes" for number in range(50)})
    told = bench.report().camera_capabilities
    assert told is not None
    assert len(told) == CAPABILITIES_MAX
    assert max(map(len, told)) == 40
    msgspec.json.decode(msgspec.json.encode(bench.report()), type=HealthReport)


def test_a_camera_that_says_nothing_of_itself_has_no_capabilities(bench):
    bench.facts = DaemonFacts(camera_capabilities={})
    assert "camera_capabilities" not in bench.report().as_document()


@pytest.mark.parametrize("age", [float("inf"), float("nan"), None])
def test_a_camera_that_never_gave_a_frame_has_no_age(bench, age):
    bench.facts = DaemonFacts(frame_age_s=age)
    assert bench.report().frame_age is None


def test_the_start_is_told_in_the_right_time(bench):
    bench.clock.advance(30)
    report = bench.report()
    assert (report.start_time, report.up_time) == (1_800_000_000.0, 30.0)


def test_the_start_is_not_told_while_the_time_is_not_known(tmp_path):
    bench = Bench(tmp_path, wall=5.0)
    bench.clock.is_synchronised = False
    report = bench.report()
    assert report.start_time is None
    assert report.clock_synchronised is False


@given(st.dictionaries(st.sampled_from(sorted(A_PI)), st.text(max_size=200)))
def test_no_content_of_any_file_breaks_a_report(tmp_path_factory, contents):
    bench = Bench(tmp_path_factory.mktemp("machine"), {**A_PI, **contents})
    encoded = msgspec.json.encode(bench.report().as_document())
    msgspec.json.decode(encoded, type=HealthReport)
    assert len(encoded) < 4000


# When


def test_the_first_report_is_due_soon_after_the_start(bench):
    assert bench.reporter.due_in() == FIRST_REPORT_S
    bench.clock.advance(FIRST_REPORT_S)
    assert bench.reporter.due_in() == 0


def test_the_next_is_due_an_interval_after_the_last_whatever_it_was_made_for(bench):
    bench.report()
    bench.clock.advance(100)
    assert bench.reporter.due_in() == 500
    bench.report()
    assert bench.reporter.due_in() == 600


def test_another_interval_counts_from_the_last_report(bench):
    bench.report()
    bench.clock.advance(100)
    bench.reporter.configure(HealthSettings(interval=60))
    assert bench.reporter.due_in() == 0


def test_a_jump_of_the_wall_clock_does_not_move_the_next_report(bench):
    bench.report()
    bench.clock.set_wall(bench.clock.wall() + 3600)
    assert bench.reporter.due_in() == 600


# Address


class Interfaces:
    """The addresses of this machine's interfaces, as the test wants them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **addresses: str) -> None:
        self.addresses = addresses
        monkeypatch.setattr(socket, "if_nameindex", lambda: list(enumerate(addresses, start=1)))
        monkeypatch.setattr(fcntl, "ioctl", self.ioctl)

    def ioctl(self, _descriptor: int, _request: int, argument: bytes) -> bytes:
        address = self.addresses.get(argument.rstrip(b"\0").decode())
        if not address:
            raise OSError(99, "Cannot assign requested address")
        return argument[:20] + socket.inet_aton(address) + argument[24:]


def test_the_address_is_that_of_the_preferred_default_route(bench, monkeypatch):
    Interfaces(monkeypatch, lo="127.0.0.1", wlan0="192.168.2.7", eth0="192.168.2.8")
    bench.write("proc/net/route", ROUTES)
    assert bench.report().ip_addr == "192.168.2.8"


def test_an_interface_without_an_address_is_passed_over(bench, monkeypatch):
    Interfaces(monkeypatch, lo="127.0.0.1", wlan0="192.168.2.7", eth0="")
    bench.write("proc/net/route", ROUTES)
    assert own_address(bench.root) == "192.168.2.7"


def test_without_a_default_route_any_interface_but_loopback_will_do(bench, monkeypatch):
    Interfaces(monkeypatch, lo="127.0.0.1", usb0="10.55.0.1")
    assert own_address(bench.root) == "10.55.0.1"


def test_without_ipv4_the_first_global_address_of_ipv6_is_told(bench, monkeypatch):
    Interfaces(monkeypatch, lo="127.0.0.1")
    bench.write(
        "proc/net/if_inet6",
        "00000000000000000000000000000001 01 80 10 80       lo\n"
        "fe800000000000000000000000000001 02 40 20 80    wlan0\n"
        "20010db8000000000000000000000007 02 40 00 00    wlan0\n",
    )
    assert own_address(bench.root) == "2001:db8::7"


def test_the_interfaces_of_this_machine_are_asked_without_sending_anything(bench):
    loopback = health_reporter._ipv4_of("lo")
    assert loopback is None or loopback.is_loopback
