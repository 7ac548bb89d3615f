"""Jobs from the service's first word to the last, with real child processes."""

from __future__ import annotations

import contextlib
import os
import pwd
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from pinthesky.errors import InvalidInput, NotAuthorized
from pinthesky.link import job_handlers, job_run
from pinthesky.link import jobs as jobs_module
from pinthesky.link.job_handlers import JobsSettings
from pinthesky.link.jobs import Jobs
from pinthesky.model.identifiers import ThingName
from tests.support.fake_jobs import FakeExecution, FakeJobs, FakeMqtt

THING = ThingName("garden")
ME = pwd.getpwuid(os.geteuid()).pw_name


class Device:
    """A device whose client can be started, stopped and lost, and the service it talks to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.handlers = folder / "handlers"
        self.handlers.mkdir(mode=0o700)
        self.state = folder / "state"
        self.mqtt = FakeMqtt()
        self.cloud = FakeJobs(self.mqtt)
        self.boot_id = "boot-1"
        self.client: Jobs | None = None
        self.settings: dict[str, Any] = {"grace_s": 2.0, "answer_timeout_s": 0.1}

    @property
    def until_go(self) -> str:
        """Lines of a handler that wait for the file `go`."""
        return f"while [ ! -e {self.folder}/go ]; do sleep 0.02; done"

    def handler(self, name: str, body: str, mode: int = 0o700) -> Path:
        path = self.handlers / name
        path.write_text("#!/bin/sh\n" + textwrap.dedent(body))
        path.chmod(mode)
        return path

    def start(self, **settings: Any) -> Jobs:
        self.settings.update(settings)
        self.client = Jobs(
            self.mqtt,
            thing_name=THING,
            settings=JobsSettings(self.handlers, **self.settings),
            state_dir=self.state,
            boot_id=self.boot_id,
        )
        self.client.start()
        return self.client

    def stop(self, timeout_s: float = 10.0) -> None:
        if self.client is not None:
            assert self.client.stop(timeout_s)
            self.client = None
            self.mqtt.forget()

    def run(self, document: Any, *statuses: str, **settings: Any) -> FakeExecution:
        """Create a job on a running client, and wait for its end."""
        if self.client is None:
            self.start(**settings)
        execution = self.cloud.create(document)
        return self.cloud.wait_for(execution, *(statuses or ("SUCCEEDED", "FAILED", "REJECTED")))

    def wait_for_file(self, name: str) -> Path:
        path = self.folder / name
        self.cloud.wait_until(path.exists, f"{path} to be there")
        return path

    def lines(self, name: str) -> list[str]:
        return (self.folder / name).read_text().splitlines()


@pytest.fixture
def device(tmp_path):
    made = Device(tmp_path)
    yield made
    made.stop()


def step(handler: str, *args: str, name: str | None = None, **more: Any) -> dict[str, Any]:
    given = {"handler": handler, "args": list(args), "path": "default"}
    return {"action": {"name": name or handler, "type": "runHandler", "input": given, **more}}


def command(words: str, **more: Any) -> dict[str, Any]:
    return {"action": {"name": "command", "type": "runCommand", "input": {"command": words}, **more}}


def job(*steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"version": "1.0", "steps": list(steps), **more}


class TestHandlers:
    def test_a_handler_gets_the_user_and_then_its_arguments_untouched_by_any_shell(self, device):
        device.handler("show", f'for a in "$@"; do echo "[$a]"; done > {device.folder}/out')
        done = device.run(job(step("show", "two words", "$HOME;`id`", "", "*")))
        assert done.status == "SUCCEEDED"
        assert device.lines("out") == ["[]", "[two words]", "[$HOME;`id`]", "[]", "[*]"]

    def test_its_own_user_may_be_named(self, device):
        device.handler("show", f'echo "[$1]" > {device.folder}/out')
        assert device.run(job(step("show", runAsUser=ME))).status == "SUCCEEDED"
        assert device.lines("out") == [f"[{ME}]"]

    def test_the_environment_is_clean(self, device, monkeypatch):
        monkeypatch.setenv("SECRET_OF_THE_CLIENT", "x")
        device.handler("show", f"env > {device.folder}/out; pwd >> {device.folder}/out")
        assert device.run(job(step("show"))).status == "SUCCEEDED"
        names = {line.partition("=")[0] for line in device.lines("out")}
        assert {"PATH", "HOME", "USER", "LOGNAME", "LANG", "PINTHESKY_JOB_ID"} <= names
        assert not {"SECRET_OF_THE_CLIENT", "PYTHONPATH", "VIRTUAL_ENV"} & names

    def test_a_handler_has_no_input_and_no_open_files_of_the_client(self, device):
        device.handler("show", f"cat; ls /proc/self/fd | wc -l > {device.folder}/out")
        with (device.folder / "open").open("w") as file:
            os.set_inheritable(file.fileno(), True)
            assert device.run(job(step("show"))).status == "SUCCEEDED"
        assert int(device.lines("out")[0]) <= 4

    @pytest.mark.parametrize("name", ["../escape", "/bin/true", "..", "sub/dir", ".hidden", "-x", "a b"])
    def test_a_handler_is_a_bare_name(self, device, name):
        done = device.run(job(step(name)))
        assert done.status == "REJECTED"
        assert done.details["reason"].startswith("steps[0].action.input.handler: must be a bare file name")

    def test_a_link_out_of_the_directory_is_not_followed(self, device):
        outside = device.folder / "outside"
        outside.write_text(f"#!/bin/sh\ntouch {device.folder}/ran\n")
        outside.chmod(0o700)
        (device.handlers / "link").symlink_to(outside)
        done = device.run(job(step("link")))
        assert done.status == "FAILED"
        assert "leads out of" in done.details["reason"]
        assert not (device.folder / "ran").exists()

    @pytest.mark.parametrize("mode", [0o755, 0o500, 0o600, 0o777, 0o4700])
    def test_a_handler_has_mode_700(self, device, mode):
        device.handler("loose", "exit 0", mode)
        done = device.run(job(step("loose")))
        assert done.status == "FAILED"
        assert f"has mode {mode:o} and must have 700: chmod 700" in done.details["reason"]

    def test_a_directory_that_others_may_write_to_is_not_used(self, device):
        device.handler("fine", "exit 0")
        device.handlers.chmod(0o770)
        assert "others may write to" in device.run(job(step("fine"))).details["reason"]

    def test_a_folder_is_no_handler(self, device):
        (device.handlers / "folder").mkdir(mode=0o700)
        assert "handler folder is not a file" in device.run(job(step("folder"))).details["reason"]

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
    def test_a_handler_of_another_user_is_not_run(self, device):
        os.chown(device.handler("foreign", "exit 0"), 12345, 12345)
        assert "belongs to neither" in device.run(job(step("foreign"))).details["reason"]

    def test_the_execution_is_named_to_the_handler(self, device):
        device.handler("show", f'echo "$PINTHESKY_JOB_ID" > {device.folder}/out')
        assert device.run(job(step("show"))).status == "SUCCEEDED"
        assert device.lines("out") == ["job-1/1"]

    def test_a_missing_handler_fails_its_step_with_the_name(self, device):
        done = device.run(job(step("nothing-there")))
        assert done.status == "FAILED"
        assert "there is no handler nothing-there in" in done.details["reason"]

    def test_a_handler_that_the_kernel_cannot_start_fails_its_step(self, device):
        path = device.handler("odd", "")
        path.write_bytes(b"\0\1\2")
        done = device.run(job(step("odd")))
        assert done.status == "FAILED"
        assert "cannot be started" in done.details["reason"]
        assert "Exec format error" in done.details["reason"]

    def test_another_folder_is_refused_unless_the_owner_allows_it(self, device):
        device.handler("mine", f"touch {device.folder}/ran")
        other = device.folder / "other"
        device.handlers.rename(other)
        device.handlers.mkdir(mode=0o700)
        document = job(step("mine"))
        document["steps"][0]["action"]["input"]["path"] = str(other)
        refused = device.run(document)
        assert refused.status == "REJECTED"
        assert refused.details["reason"] == f"steps[0].action.input.path: this device runs no handlers from {other}"
        device.stop()
        assert device.run(document, further_handler_directories=(other,)).status == "SUCCEEDED"
        assert (device.folder / "ran").exists()


class TestUsers:
    def test_another_user_is_refused_before_anything_has_run(self, device):
        device.handler("first", f"touch {device.folder}/ran")
        done = device.run(job(step("first"), step("second", runAsUser="somebody")))
        assert done.status == "REJECTED"
        assert done.details["reason"].startswith("steps[1].action.runAsUser: this device runs steps as ")
        assert not (device.folder / "ran").exists()

    def test_root_is_accepted_where_the_handler_asks_pinthesky_admin(self, device, monkeypatch):
        monkeypatch.setattr("pinthesky.link.job_handlers.own_user", lambda: "pinthesky")
        device.handler("restart-services", f'echo "$@" > {device.folder}/out')
        assert device.run(job(step("restart-services", "pinthesky", runAsUser="root"))).status == "SUCCEEDED"
        assert device.lines("out") == ["root pinthesky"]

    def test_root_is_refused_for_any_other_handler(self, device, monkeypatch):
        monkeypatch.setattr("pinthesky.link.job_handlers.own_user", lambda: "pinthesky")
        device.handler("download-file", "exit 0")
        assert device.run(job(step("download-file", runAsUser="root"))).status == "REJECTED"

    def test_a_user_without_a_name_is_known_by_its_number(self, monkeypatch):
        monkeypatch.setattr(os, "geteuid", lambda: 54_321)
        assert job_handlers.own_user() == "54321"


class TestCommands:
    def test_a_command_is_refused_unless_the_owner_allows_it(self, device):
        done = device.run(job(command(f"touch,{device.folder}/ran")))
        assert done.status == "REJECTED"
        assert done.details["reason"] == "steps[0].action.type: runCommand is switched off on this device"
        assert not (device.folder / "ran").exists()

    def test_a_command_s_commas_separate_its_words_and_escaped_ones_do_not(self, device):
        done = device.run(job(command(r"printf,[%s],a b,c\,d,$HOME"), includeStdOut=True), allow_run_command=True)
        assert done.status == "SUCCEEDED"
        assert done.details["stdout"] == "[a b][c,d][$HOME]"

    @pytest.mark.parametrize("words", [",x", "no-such-program-anywhere"])
    def test_a_command_that_is_no_program_fails_its_step(self, device, words):
        done = device.run(job(command(words)), allow_run_command=True)
        assert done.status == "FAILED"
        assert "cannot be started" in done.details["reason"]


class TestEnds:
    def test_steps_run_in_order_and_the_final_one_last(self, device):
        device.handler("say", f'echo "$2" >> {device.folder}/out')
        done = device.run(job(step("say", "1"), step("say", "2"), finalStep=step("say", "final")))
        assert (done.status, done.details["reason"]) == ("SUCCEEDED", "all 3 steps done")
        assert device.lines("out") == ["1", "2", "final"]

    def test_a_failure_ends_the_job_without_its_final_step(self, device):
        device.handler("bad", "exit 3")
        device.handler("say", f'echo "$2" >> {device.folder}/out')
        done = device.run(job(step("say", "1"), step("bad"), step("say", "3"), finalStep=step("say", "final")))
        assert done.status == "FAILED"
        assert done.details["reason"] == 'step 2 of 4 "bad" exited with status 3'
        assert device.lines("out") == ["1"]

    @pytest.mark.parametrize("ignore", [True, "true"])
    def test_a_failure_may_be_ignored_by_boolean_and_by_string(self, device, ignore):
        device.handler("bad", "exit 3")
        device.handler("fine", "exit 0")
        done = device.run(job(step("bad", ignoreStepFailure=ignore), step("fine"), finalStep=step("fine")))
        assert done.status == "SUCCEEDED"
        assert done.details["reason"] == 'all 3 steps done; ignored: step 1 of 3 "bad" exited with status 3'

    @pytest.mark.parametrize("ignore", [False, "false"])
    def test_a_failure_that_is_not_to_be_ignored_is_not(self, device, ignore):
        device.handler("bad", "exit 3")
        assert device.run(job(step("bad", ignoreStepFailure=ignore))).status == "FAILED"

    def test_a_handler_killed_by_a_signal_has_failed_and_the_signal_is_named(self, device):
        device.handler("dies", "kill -SEGV $$")
        done = device.run(job(step("dies")))
        assert done.status == "FAILED"
        assert done.details["reason"] == 'step 1 of 1 "dies" was killed by SIGSEGV'

    def test_allowed_lines_on_stderr_do_not_make_a_failing_step_succeed(self, device):
        device.handler("bad", "echo oops >&2; exit 1")
        assert device.run(job(step("bad", allowStdErr=5))).status == "FAILED"

    @pytest.mark.parametrize("allowed, status", [(2, "SUCCEEDED"), (1, "FAILED"), (0, "FAILED"), (None, "SUCCEEDED")])
    def test_lines_on_stderr_are_counted_where_the_step_says_how_many(self, device, allowed, status):
        device.handler("chatty", "echo one >&2; printf two >&2")
        done = device.run(job(step("chatty", allowStdErr=allowed)))
        assert done.status == status
        assert done.details["stderr"] == "one\ntwo"

    def test_the_older_form_tolerates_no_line_on_stderr_unless_told(self, device):
        device.handler("chatty", "echo one >&2")
        assert device.run({"operation": "chatty", "path": "default"}).status == "FAILED"
        assert device.run({"operation": "chatty", "path": "default", "allowStdErr": 1}).status == "SUCCEEDED"

    def test_stdout_is_told_only_if_asked_for(self, device):
        device.handler("chatty", "echo hello")
        assert "stdout" not in device.run(job(step("chatty"))).details
        assert device.run(job(step("chatty"), includeStdOut=True)).details["stdout"] == "hello\n"

    def test_the_output_of_all_steps_is_one(self, device):
        device.handler("say", 'echo "$2"; echo "!$2" >&2')
        done = device.run(job(step("say", "1"), step("say", "2"), includeStdOut=True))
        assert (done.details["stdout"], done.details["stderr"]) == ("1\n2\n", "!1\n!2\n")

    def test_megabytes_on_both_pipes_hang_nothing_and_their_ends_are_told(self, device):
        device.handler(
            "flood",
            """
            dd if=/dev/zero bs=65536 count=160 2>/dev/null | tr '\\0' 'a' >&2
            dd if=/dev/zero bs=65536 count=160 2>/dev/null | tr '\\0' 'b'
            dd if=/dev/zero bs=65536 count=160 2>/dev/null | tr '\\0' 'c' >&2
            printf END; printf FIN >&2
            """,
        )
        done = device.run(job(step("flood"), includeStdOut=True))
        assert done.status == "SUCCEEDED"
        assert done.details["stdout"] == "b" * 1021 + "END"
        assert done.details["stderr"] == "c" * 1021 + "FIN"

    def test_a_bad_document_is_rejected_with_its_field(self, device):
        done = device.run(job({"action": {"name": "x", "type": "runHandler"}}))
        assert done.status == "REJECTED"
        assert done.details["reason"] == "steps[0].action.input: must be there"

    def test_unmet_conditions_reject_the_job(self, device):
        device.handler("fine", f"touch {device.folder}/ran")
        conditions = [{"key": "thingName", "value": ["garden"]}, {"key": "operating system", "value": ["plan9"]}]
        done = device.run(job(step("fine"), conditions=conditions))
        assert done.status == "REJECTED"
        assert done.details["reason"].startswith("conditions[1]: operating system is ")
        assert not (device.folder / "ran").exists()

    def test_met_conditions_let_it_run(self, device):
        device.handler("fine", "exit 0")
        conditions = [{"key": "thingName", "value": ["garden"]}, {"key": "x", "value": "/etc", "type": "fileExists"}]
        assert device.run(job(step("fine"), conditions=conditions)).status == "SUCCEEDED"

    def test_a_condition_that_cannot_be_judged_rejects_the_job(self, device):
        done = device.run(job(step("fine"), conditions=[{"key": "phase of the moon", "value": "full"}]))
        assert (done.status, done.details["reason"][:18]) == ("REJECTED", "conditions[0].key:")


class TestTimeouts:
    def test_a_step_is_ended_after_its_time_with_its_children(self, device):
        device.handler("slow", f"sleep 60 & echo $! > {device.folder}/child; wait")
        begun = time.monotonic()
        done = device.run(job(step("slow", timeoutSeconds=1)))
        assert time.monotonic() - begun < 5.0
        assert done.details["reason"] == 'step 1 of 1 "slow" did not end within 1 s'
        assert_gone(int(device.lines("child")[0]))

    def test_a_step_without_a_time_of_its_own_has_the_device_s(self, device):
        device.handler("slow", "exec sleep 60")
        done = device.run(job(step("slow")), step_timeout_s=0.2)
        assert done.details["reason"] == 'step 1 of 1 "slow" did not end within 0.2 s'

    def test_a_handler_that_ignores_sigterm_is_killed_after_its_grace(self, device):
        device.handler("stubborn", "trap '' TERM; while :; do sleep 0.1; done")
        done = device.run(job(step("stubborn")), step_timeout_s=0.2, grace_s=0.3)
        assert "did not end within 0.2 s" in done.details["reason"]

    def test_a_handler_leaves_nothing_behind(self, device):
        device.handler("parent", f"sleep 60 & echo $! > {device.folder}/child; exit 0")
        begun = time.monotonic()
        assert device.run(job(step("parent"))).status == "SUCCEEDED"
        assert time.monotonic() - begun < 5.0
        assert_gone(int(device.lines("child")[0]))

    def test_the_execution_s_own_time_out_ends_the_whole_job(self, device):
        device.handler("slow", "exec sleep 60")
        device.start()
        execution = device.cloud.create(job(step("slow", ignoreStepFailure=True), step("slow")), times_out_in_s=1)
        device.cloud.wait_for(execution, "FAILED")
        assert execution.details["reason"] == "the time-out of the job has passed"


class TestProgress:
    def test_a_running_job_is_reported_again_and_again(self, device):
        device.handler("waits", f"{device.until_go}")
        device.start(heartbeat_s=0.1, step_timer_minutes=7)
        execution = device.cloud.create(job(step("waits", name="wait for it")))
        device.cloud.wait_until(lambda: execution.statuses.count("IN_PROGRESS") >= 3, "three heartbeats")
        assert execution.details == {"reason": 'step 1 of 1 "wait for it" runs'}
        assert execution.step_timer_minutes == 7
        assert all("expectedVersion" in body for body in device.cloud.requests("/update"))
        (device.folder / "go").touch()
        device.cloud.wait_for(execution, "SUCCEEDED")

    def test_jobs_run_one_after_the_other_in_their_order(self, device):
        device.handler("say", f'echo "begin $2" >> {device.folder}/out; echo "end $2" >> {device.folder}/out')
        executions = [device.cloud.create(job(step("say", str(number)))) for number in range(4)]
        device.start()
        device.cloud.wait_for(executions[-1], "SUCCEEDED")
        assert device.lines("out") == [f"{what} {number}" for number in range(4) for what in ("begin", "end")]

    def test_a_cancelled_job_is_ended_when_notify_next_says_that_there_is_none(self, device):
        device.handler("waits", f"touch {device.folder}/running; exec sleep 60")
        device.start()
        execution = device.cloud.create(job(step("waits")))
        device.wait_for_file("running")
        device.cloud.cancel(execution)
        after = device.cloud.create(job(step("missing")))
        device.cloud.wait_for(after, "FAILED")
        assert execution.status == "CANCELED"
        assert not {"SUCCEEDED", "FAILED"} & set(execution.statuses)

    def test_a_cancelled_job_is_ended_when_its_heartbeat_is_refused(self, device):
        device.handler(
            "waits",
            f"trap 'touch {device.folder}/ended; exit' TERM; touch {device.folder}/running\n"
            "while :; do sleep 0.02; done",
        )
        device.start(heartbeat_s=0.1)
        execution = device.cloud.create(job(step("waits")))
        device.wait_for_file("running")
        device.cloud.cancel(execution, "TIMED_OUT", quietly=True)
        device.wait_for_file("ended")
        assert execution.status == "TIMED_OUT"

    def test_a_job_that_was_deleted_is_ended(self, device):
        device.handler(
            "waits",
            f"trap 'touch {device.folder}/ended; exit' TERM; touch {device.folder}/running\n"
            "while :; do sleep 0.02; done",
        )
        device.start(heartbeat_s=0.1)
        device.cloud.create(job(step("waits")))
        device.wait_for_file("running")
        device.cloud.executions.clear()
        device.wait_for_file("ended")
        assert not device.cloud.executions

    def test_a_job_that_was_cancelled_offline_is_ended_at_the_next_connection(self, device):
        device.handler(
            "waits",
            f"trap 'touch {device.folder}/ended; exit' TERM; touch {device.folder}/running\n"
            "while :; do sleep 0.02; done",
        )
        device.start()
        execution = device.cloud.create(job(step("waits")))
        device.wait_for_file("running")
        device.mqtt.disconnect()
        device.cloud.cancel(execution)
        device.mqtt.connect()
        device.wait_for_file("ended")
        assert execution.status == "CANCELED"

    def test_another_job_that_becomes_next_does_not_end_the_running_one(self, device):
        device.handler("waits", f"touch {device.folder}/running; {device.until_go}")
        device.start()
        execution = device.cloud.create(job(step("waits")))
        device.wait_for_file("running")
        topic = "$aws/things/garden/jobs/notify-next"
        device.mqtt.deliver(topic, {"execution": {"jobId": "other", "status": "QUEUED"}})
        device.mqtt.deliver(topic, {"execution": {}})
        device.mqtt.deliver(topic, b"not json")
        (device.folder / "go").touch()
        assert device.cloud.wait_for(execution, "SUCCEEDED")

    def test_a_version_that_somebody_else_changed_is_taken_over(self, device):
        device.handler("waits", f"touch {device.folder}/running; {device.until_go}")
        device.start()
        execution = device.cloud.create(job(step("waits")))
        device.wait_for_file("running")
        device.cloud.wait_until(lambda: execution.statuses == ["IN_PROGRESS"], "the first heartbeat")
        execution.version += 5
        device.mqtt.connect()
        device.cloud.wait_until(lambda: len(execution.statuses) == 2, "a heartbeat with the new version")
        execution.version += 5
        (device.folder / "go").touch()
        assert device.cloud.wait_for(execution, "SUCCEEDED")


class TestConnections:
    def test_what_was_queued_before_the_first_connection_is_asked_for(self, device):
        device.handler("fine", "exit 0")
        execution = device.cloud.create(job(step("fine")))
        device.mqtt.connected = False
        device.start()
        device.mqtt.connect()
        assert device.cloud.wait_for(execution, "SUCCEEDED")

    def test_nothing_is_asked_before_there_is_a_connection(self, device):
        device.mqtt.connected = False
        device.start()
        device.stop()
        assert not device.mqtt.published
        assert not device.mqtt.failed

    def test_every_connection_asks_again(self, device):
        device.handler("fine", "exit 0")
        device.start()
        device.cloud.wait_until(lambda: len(device.cloud.requests("start-next")) == 1, "the first question")
        device.mqtt.disconnect()
        execution = device.cloud.create(job(step("fine")))
        device.mqtt.connect()
        assert device.cloud.wait_for(execution, "SUCCEEDED")

    def test_a_question_without_answer_is_repeated_with_the_same_token(self, device):
        device.handler("fine", "exit 0")
        device.mqtt.lose_received = 2
        execution = device.cloud.create(job(step("fine")))
        device.mqtt.lose_received = 2
        device.start()
        device.cloud.wait_for(execution, "SUCCEEDED")
        tokens = [body["clientToken"] for body in device.cloud.requests("start-next")]
        assert tokens[0] == tokens[1] == tokens[2]

    @pytest.mark.parametrize("lost", ["published", "received"])
    def test_an_end_that_was_lost_is_told_again_and_the_job_runs_once(self, device, lost):
        device.handler("once", f"echo ran >> {device.folder}/out; {device.until_go}")
        device.start()
        execution = device.cloud.create(job(step("once")))
        device.cloud.wait_until(lambda: execution.statuses == ["IN_PROGRESS"], "the first heartbeat")
        setattr(device.mqtt, f"lose_{lost}", 2)
        (device.folder / "go").touch()
        device.cloud.wait_for(execution, "SUCCEEDED")
        following = device.run(job(step("missing")))
        assert following.status == "FAILED"
        assert device.lines("out") == ["ran"]
        assert execution.statuses == ["IN_PROGRESS", "SUCCEEDED"]

    @pytest.mark.parametrize("queues", [False, True])
    def test_an_end_while_the_connection_is_lost_is_told_at_the_next_one(self, device, queues):
        device.handler("offline", f"{device.until_go}")
        device.mqtt.queues = queues
        device.start()
        execution = device.cloud.create(job(step("offline")))
        device.cloud.wait_until(lambda: execution.statuses == ["IN_PROGRESS"], "the first heartbeat")
        device.mqtt.disconnect()
        (device.folder / "go").touch()
        mqtt = device.mqtt
        device.cloud.wait_until(lambda: mqtt.waiting == 1 if queues else len(mqtt.failed) > 1, "attempts")
        assert execution.status == "IN_PROGRESS"
        device.mqtt.connect()
        device.cloud.wait_for(execution, "SUCCEEDED")

    def test_an_end_kept_on_the_disk_is_told_by_the_next_client(self, device):
        device.handler("once", f"echo ran >> {device.folder}/out; {device.until_go}")
        device.start()
        execution = device.cloud.create(job(step("once")))
        device.cloud.wait_until(lambda: execution.statuses == ["IN_PROGRESS"], "the first heartbeat")
        device.mqtt.disconnect()
        (device.folder / "go").touch()
        device.cloud.wait_until(lambda: "SUCCEEDED" in (device.state / "jobs.json").read_text(), "the report")
        device.stop()
        device.boot_id = "boot-2"
        device.mqtt.connected = True
        device.start()
        device.cloud.wait_for(execution, "SUCCEEDED")
        assert device.lines("out") == ["ran"]

    def test_a_broker_that_refuses_is_told_of_once_and_asked_again(self, device, caplog):
        device.handler("fine", "exit 0")
        device.mqtt.refusals = [NotAuthorized("start-next: not yours"), InvalidInput("publish", "not now")]
        execution = device.cloud.create(job(step("fine")))
        device.start()
        device.cloud.wait_for(execution, "SUCCEEDED")
        assert [record.message for record in caplog.records if "broker" in record.message] == [
            "Jobs: the broker refuses what is sent: start-next: not yours"
        ]

    def test_heartbeats_that_are_refused_for_another_reason_end_nothing(self, device):
        device.handler("waits", device.until_go)
        device.cloud.refuse["IN_PROGRESS"] = ["RequestThrottled", "InvalidRequest"]
        device.start(heartbeat_s=0.05)
        execution = device.cloud.create(job(step("waits")))
        device.cloud.wait_until(lambda: execution.statuses == ["IN_PROGRESS"], "the third heartbeat")
        (device.folder / "go").touch()
        assert device.cloud.wait_for(execution, "SUCCEEDED")

    def test_a_version_that_is_another_one_every_time_is_not_expected_any_more(self, device):
        device.handler("fine", "exit 0")
        device.cloud.refuse["SUCCEEDED"] = ["VersionMismatch"]
        assert device.run(job(step("fine"))).status == "SUCCEEDED"
        assert "expectedVersion" not in device.cloud.requests("/update")[-1]

    def test_a_service_that_is_busy_is_asked_again(self, device):
        device.handler("fine", "exit 0")
        device.cloud.refuse["SUCCEEDED"] = ["RequestThrottled", "InternalError"]
        assert device.run(job(step("fine"))).status == "SUCCEEDED"

    def test_a_service_that_refuses_to_say_what_is_next_is_left_alone_for_a_while(self, device, monkeypatch):
        monkeypatch.setattr(jobs_module, "PAUSE_S", 0.1)
        device.handler("fine", "exit 0")
        device.cloud.refuse["start-next"] = ["InternalError"]
        execution = device.cloud.create(job(step("fine")))
        device.start()
        assert device.cloud.wait_for(execution, "SUCCEEDED")

    def test_details_that_the_service_does_not_like_are_told_in_one_line_and_then_left_out(self, device):
        device.handler("say", "echo a; echo b")
        device.cloud.refuse["SUCCEEDED"] = ["InvalidRequest"]
        assert device.run(job(step("say"), includeStdOut=True)).details["stdout"] == "a b"
        device.cloud.refuse["SUCCEEDED"] = ["InvalidRequest", "InvalidRequest"]
        device.run(job(step("say"), includeStdOut=True))
        assert "statusDetails" not in device.cloud.requests("/update")[-1]

    def test_an_end_that_the_service_never_takes_is_given_up_and_the_job_never_runs_again(self, device, monkeypatch):
        monkeypatch.setattr(jobs_module, "PAUSE_S", 0.1)
        device.handler("once", f"echo ran >> {device.folder}/out")
        device.cloud.refuse["SUCCEEDED"] = ["InvalidRequest"] * 4
        execution = device.run(job(step("once")))
        assert execution.status == "SUCCEEDED"
        assert device.lines("out") == ["ran"]

    def test_a_message_about_nothing_or_too_large_changes_nothing(self, device):
        device.handler("fine", "exit 0")
        device.start()
        for what in ("start-next/accepted", "some/update/rejected", "notify-next"):
            for payload in (b"", b"[]", b"\xff", b'{"execution": {"jobId": "../x"}}', b"{" * 5000, b" " * 200_000):
                device.mqtt.deliver(f"$aws/things/garden/jobs/{what}", payload)
        assert device.run(job(step("fine"))).status == "SUCCEEDED"


class TestResumption:
    def test_a_stop_ends_the_handler_in_time_and_the_job_goes_on_with_the_next_client(self, device):
        device.handler("first", f"echo first >> {device.folder}/out")
        device.handler(
            "slow",
            f"""
            echo slow >> {device.folder}/out
            trap 'echo term >> {device.folder}/out; exit 0' TERM
            {device.until_go}
            """,
        )
        device.start()
        execution = device.cloud.create(job(step("first"), step("slow")))
        device.cloud.wait_until(lambda: (device.folder / "out").exists() and len(device.lines("out")) == 2, "step 2")
        device.stop()
        assert execution.status == "IN_PROGRESS"
        (device.folder / "go").touch()
        device.start()
        device.cloud.wait_for(execution, "SUCCEEDED")
        assert device.lines("out") == ["first", "slow", "term", "slow"]

    def test_a_stop_is_bounded_however_the_handler_behaves(self, device):
        device.handler("stubborn", f"trap '' TERM; touch {device.folder}/running; while :; do sleep 0.1; done")
        device.start(grace_s=60.0)
        device.cloud.create(job(step("stubborn")))
        device.wait_for_file("running")
        begun = time.monotonic()
        device.stop(2.0)
        assert time.monotonic() - begun < 2.5

    def test_orderly_stops_do_not_count_as_failed_starts(self, device):
        device.handler("slow", f"echo x >> {device.folder}/out; {device.until_go}")
        execution = device.cloud.create(job(step("slow")))
        for number in range(1, 6):
            device.start()
            device.cloud.wait_until(
                lambda n=number: (device.folder / "out").exists() and len(device.lines("out")) == n, "a start"
            )
            device.stop()
        (device.folder / "go").touch()
        device.start()
        assert device.cloud.wait_for(execution, "SUCCEEDED")

    def test_a_handler_asks_for_a_reboot_and_the_job_goes_on_behind_it(self, device):
        device.handler("install", f"echo install >> {device.folder}/out; exit 102")
        device.handler("check", f"echo check >> {device.folder}/out")
        device.start(heartbeat_s=0.05)
        execution = device.cloud.create(job(step("install"), step("check")))
        device.cloud.wait_until(lambda: "waits for a reboot" in execution.details.get("reason", ""), "the reboot")
        device.stop()
        device.start()
        device.cloud.wait_until(lambda: execution.statuses.count("IN_PROGRESS") > 4, "the second client")
        assert device.lines("out") == ["install"]
        device.stop()
        device.boot_id = "boot-2"
        device.start()
        device.cloud.wait_for(execution, "SUCCEEDED")
        assert device.lines("out") == ["install", "check"]

    def test_a_reboot_that_does_not_come_fails_the_job(self, device):
        device.handler("install", "exit 102")
        done = device.run(job(step("install")), reboot_wait_s=0.1)
        assert done.details["reason"] == 'step 1 of 1 "install" asked for a reboot, which did not come in 0.1 s'

    @pytest.mark.parametrize("name", ["reboot", "reboot.sh", "shutdown"])
    def test_a_reboot_handler_that_ran_when_the_machine_went_down_is_done(self, device, name):
        device.handler(name, f"echo {name} >> {device.folder}/out; exec sleep 60")
        device.handler("check", f"echo check >> {device.folder}/out")
        device.start()
        execution = device.cloud.create(job(step(name), step("check")))
        device.wait_for_file("out")
        device.stop()
        device.boot_id = "boot-2"
        device.start()
        device.cloud.wait_for(execution, "SUCCEEDED")
        assert device.lines("out") == [name, "check"]

    def test_any_other_handler_that_ran_when_the_machine_went_down_runs_again(self, device):
        device.handler("work", f"echo work >> {device.folder}/out; {device.until_go}")
        device.start()
        execution = device.cloud.create(job(step("work")))
        device.wait_for_file("out")
        device.stop()
        (device.folder / "go").touch()
        device.boot_id = "boot-2"
        device.start()
        device.cloud.wait_for(execution, "SUCCEEDED")
        assert device.lines("out") == ["work", "work"]

    def test_a_command_that_was_interrupted_is_not_repeated(self, device):
        device.start(allow_run_command=True)
        script = f"echo x >> {device.folder}/out; exec sleep 60"
        execution = device.cloud.create(job(command(f"sh,-c,{script}")))
        device.wait_for_file("out")
        device.stop()
        device.start()
        device.cloud.wait_for(execution, "FAILED")
        assert execution.details["reason"].endswith("was interrupted, and commands are not repeated")
        assert device.lines("out") == ["x"]

    def test_a_memory_that_cannot_be_read_begins_the_job_anew(self, device):
        device.state.mkdir()
        (device.state / "jobs.json").write_text("{torn")
        device.handler("fine", "exit 0")
        assert device.run(job(step("fine"))).status == "SUCCEEDED"

    def test_a_state_folder_that_takes_nothing_fails_the_job_with_the_reason(self, device):
        device.state.write_text("a file where the folder should be")
        device.handler("fine", f"touch {device.folder}/ran")
        done = device.run(job(step("fine")))
        assert done.status == "FAILED"
        assert done.details["reason"].startswith(f"cannot write {device.state}/jobs.json: ")
        assert not (device.folder / "ran").exists()

    def test_a_defect_of_ours_fails_the_job_and_the_next_one_runs(self, device, monkeypatch):
        monkeypatch.setattr(jobs_module, "PAUSE_S", 0.1)
        device.handler("fine", "exit 0")
        real = job_handlers.command_line

        def broken_once(*_: object) -> None:
            monkeypatch.setattr(job_run, "command_line", real)
            raise RuntimeError("we did not think of this")

        monkeypatch.setattr(job_run, "command_line", broken_once)
        done = device.run(job(step("fine")))
        assert done.details["reason"] == "the device client failed: RuntimeError: we did not think of this"
        assert device.run(job(step("fine"))).status == "SUCCEEDED"


class TestThread:
    def test_a_thread_that_does_not_end_in_time_is_told_of(self, device):
        device.handler("stubborn", f"trap '' TERM; touch {device.folder}/running; while :; do sleep 0.1; done")
        client = device.start(grace_s=0.5)
        device.cloud.create(job(step("stubborn")))
        device.wait_for_file("running")
        client._stop._by = float("inf")
        assert not client.stop(0.0)

    def test_a_client_that_was_never_started_stops(self, device):
        client = Jobs(device.mqtt, thing_name=THING, settings=JobsSettings(device.handlers), state_dir=device.state)
        assert client.stop(1.0)
        assert client.stop(1.0)

    def test_messages_after_the_stop_are_dropped(self, device):
        client = device.start()
        assert client.stop(5.0)
        device.cloud.notify_next()
        device.mqtt.connect()
        assert not any(thread.name == "jobs" for thread in threading.enumerate())
        device.client = None


def assert_gone(pid: int) -> None:
    """The process has ended; whoever inherits it may not have waited for it yet."""
    deadline = time.monotonic() + 5.0
    while time.monotonic() < deadline:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                time.sleep(0.02)
                continue
        return
    raise AssertionError(f"process {pid} still runs")
