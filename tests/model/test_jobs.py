from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinthesky.errors import InvalidInput
from pinthesky.model.jobs import (
    ARGUMENT_MAX,
    ARGUMENTS_MAX,
    CONDITION_VALUES_MAX,
    CONDITIONS_MAX,
    DOCUMENT_MAX,
    STATUS_DETAIL_MAX,
    STDERR_LINES_MAX,
    STEP_TIMEOUT_MAX_S,
    STEPS_MAX,
    CommandAction,
    HandlerAction,
    JobId,
    JobStatus,
    parse_document,
    status_detail,
)

ACTION = {"name": "one", "type": "runHandler", "input": {"handler": "one.sh", "args": ["a"], "path": "default"}}
DOCUMENT: dict[str, Any] = {
    "_comment": "keys that are not known are ignored",
    "version": "1.0",
    "includeStdOut": True,
    "conditions": [{"key": "operatingSystem", "value": ["debian", "raspbian"], "type": "stringEqual"}],
    "steps": [
        {"action": {**ACTION, "runAsUser": "pi", "allowStdErr": 2, "ignoreStepFailure": "true", "timeoutSeconds": 5}},
        {"action": {"name": "two", "type": "runCommand", "input": {"command": "mkdir,new"}}},
    ],
    "finalStep": {"action": {**ACTION, "name": "last"}},
}


def with_action(**changes):
    document = copy.deepcopy(DOCUMENT)
    action = document["steps"][0]["action"]
    for name, value in changes.items():
        target = action["input"] if name.startswith("input_") else action
        target[name.removeprefix("input_")] = value
    return document


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


def refusal(document) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        parse_document(document)
    return caught.value


def test_terminal_statuses_are_those_that_nothing_follows():
    assert {status for status in JobStatus if not status.is_terminal} == {JobStatus.QUEUED, JobStatus.IN_PROGRESS}


def test_a_document_of_schema_1_0_is_read_whole():
    document = parse_document(DOCUMENT)
    (place, first), (_, second), (last_place, last) = document.actions()
    assert (place, last_place) == ("steps[0].action", "finalStep.action")
    assert isinstance(first, HandlerAction)
    assert (first.input.handler, first.input.args, first.input.path) == ("one.sh", ["a"], "default")
    assert (first.run_as_user, first.allow_std_err, first.ignore_step_failure) == ("pi", 2, True)
    assert first.timeout_seconds == 5
    assert isinstance(second, CommandAction)
    assert (second.run_as_user, second.allow_std_err, second.ignore_step_failure) == ("", None, False)
    assert last.name == "last"
    assert document.include_std_out
    assert document.conditions[0].values == ["debian", "raspbian"]


@pytest.mark.parametrize("form", [json.dumps, lambda document: json.dumps(document).encode()])
def test_a_document_may_come_as_text(form):
    assert parse_document(form(DOCUMENT)) == parse_document(DOCUMENT)


def test_the_older_form_is_a_document_of_one_step_that_tolerates_no_stderr():
    document = parse_document({"operation": "install-packages.sh", "args": ["lftp"], "includeStdOut": "true"})
    ((place, action),) = document.actions()
    assert place == "steps[0].action"
    assert isinstance(action, HandlerAction)
    assert (action.name, action.input.handler, action.input.args) == ("install-packages.sh",) * 2 + (["lftp"],)
    assert (action.allow_std_err, action.input.path, document.include_std_out) == (0, "default", True)


def test_null_is_the_same_as_absent():
    document = with_action(runAsUser=None, allowStdErr=None, ignoreStepFailure=None, input_args=None, input_path=None)
    ((_, action), *_) = parse_document({**document, "finalStep": None, "conditions": None}).actions()
    assert isinstance(action, HandlerAction)
    assert (action.run_as_user, action.allow_std_err, action.input.args) == ("", None, [])


@pytest.mark.parametrize(
    "value, meant", [(True, True), ("true", True), ("TRUE", True), (False, False), ("false", False)]
)
def test_a_failure_is_ignored_by_boolean_and_by_string(value, meant):
    ((_, action), *_) = parse_document(with_action(ignoreStepFailure=value)).actions()
    assert action.ignore_step_failure is meant


@pytest.mark.parametrize(
    "command, words",
    [("mkdir,new", ["mkdir", "new"]), (r"a\,b,c", ["a,b", "c"]), ("one", ["one"]), ("a,,b", ["a", "", "b"])],
)
def test_the_words_of_a_command_are_separated_by_commas_that_are_not_escaped(command, words):
    action = {"name": "x", "type": "runCommand", "input": {"command": command}}
    ((_, parsed),) = parse_document({"version": "1.0", "steps": [{"action": action}]}).actions()
    assert isinstance(parsed, CommandAction)
    assert parsed.input.words == words


@pytest.mark.parametrize(
    "document, field, reason",
    [
        (3, "document", "must be an object"),
        ("[]", "document", "must be an object"),
        (b"{", "document", "is not JSON"),
        ({"steps": []}, "version", 'must be "1.0" where there is no `operation`'),
        ({**DOCUMENT, "version": "1.1"}, "version", "must be \"1.0\", got '1.1'"),
        ({**DOCUMENT, "version": 1.0}, "version", 'must be "1.0"'),
        ({"version": "1.0"}, "steps", "must be there"),
        ({**DOCUMENT, "steps": []}, "steps", "length >= 1"),
        ({**DOCUMENT, "steps": [{"action": ACTION}] * (STEPS_MAX + 1)}, "steps", f"length <= {STEPS_MAX}"),
        ({**DOCUMENT, "steps": [{}]}, "steps[0].action", "must be there"),
        ({**DOCUMENT, "finalStep": {"action": 3}}, "finalStep.action", "expected `object`"),
        ({**DOCUMENT, "conditions": [{"key": "x"}]}, "conditions[0].value", "must be there"),
        (
            {**DOCUMENT, "conditions": DOCUMENT["conditions"] * (CONDITIONS_MAX + 1)},
            "conditions",
            f"length <= {CONDITIONS_MAX}",
        ),
        (
            {**DOCUMENT, "conditions": [{"key": "x", "value": ["y"] * (CONDITION_VALUES_MAX + 1)}]},
            "conditions[0].value",
            f"length <= {CONDITION_VALUES_MAX}",
        ),
        (with_action(type="runShell"), "steps[0].action.type", "invalid value 'runShell'"),
        (with_action(name=""), "steps[0].action.name", "length >= 1"),
        (with_action(runAsUser="Root user"), "steps[0].action.runAsUser", "must be the name of a local user"),
        (with_action(runAsUser="-x"), "steps[0].action.runAsUser", "must be the name of a local user"),
        (with_action(allowStdErr=-1), "steps[0].action.allowStdErr", ">= 0"),
        (with_action(allowStdErr=10**40), "steps[0].action.allowStdErr", f"<= {STDERR_LINES_MAX}"),
        (with_action(timeoutSeconds=0), "steps[0].action.timeoutSeconds", ">= 1"),
        (with_action(timeoutSeconds=10**6), "steps[0].action.timeoutSeconds", f"<= {STEP_TIMEOUT_MAX_S}"),
        (with_action(ignoreStepFailure="maybe"), "steps[0].action.ignoreStepFailure", "bool"),
        (with_action(input_handler="../../bin/sh"), "steps[0].action.input.handler", "must be a bare file name"),
        (with_action(input_handler="a\n"), "steps[0].action.input.handler", "must be a bare file name"),
        (with_action(input_args=[1]), "steps[0].action.input.args[0]", "expected `str`"),
        (with_action(input_args=["a\0b"]), "steps[0].action.input.args[0]", "must not contain the character NUL"),
        (
            with_action(input_args=["x"] * (ARGUMENTS_MAX + 1)),
            "steps[0].action.input.args",
            f"length <= {ARGUMENTS_MAX}",
        ),
        (with_action(input_args=["x" * (ARGUMENT_MAX + 1)]), "steps[0].action.input.args[0]", f"<= {ARGUMENT_MAX}"),
        (with_action(input_args=["x" * 4000] * 9), "document", f"must be at most {DOCUMENT_MAX} bytes"),
        (with_action(input_args=["\ud800"]), "document", "is not JSON"),
        ({"operation": "../x"}, "operation", "must be a bare file name"),
        ("x" * (DOCUMENT_MAX + 1), "document", f"must be at most {DOCUMENT_MAX} bytes"),
        ('{"a":' * 5000 + "1" + "}" * 5000, "document", "is nested too deeply"),
        ('{"a":' * 33 + "1" + "}" * 33, "document", "more than 32 levels"),
        ({**DOCUMENT, "_comment": nested(32)}, "document", "more than 32 levels"),
        ({**DOCUMENT, "_comment": nested(100_000)}, "document", "is nested too deeply"),
        ({"version": "1.0", "steps": {object()}}, "document", "is not JSON"),
    ],
)
def test_what_is_wrong_is_named_with_its_place_and_its_bound(document, field, reason):
    error = refusal(document)
    assert error.field == field
    assert reason in error.reason


def read(document) -> tuple[str | None, int]:
    """The field that is refused, or the number of actions."""
    try:
        return None, len(list(parse_document(document).actions()))
    except InvalidInput as error:
        return error.field, 0


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from([*DOCUMENT, "operation", "args", "path", "allowStdErr"]), json_values))
def test_any_json_is_a_document_or_is_refused_with_a_field(document):
    for given_document in (document, {**DOCUMENT, **document}, {"operation": "x", **document}):
        field, count = read(given_document)
        assert bool(field) != (1 <= count <= STEPS_MAX + 1)


@given(st.sampled_from(["name", "type", "input", "runAsUser", "allowStdErr", "ignoreStepFailure"]), json_values)
def test_any_value_in_an_action_is_taken_or_refused_at_that_action(name, value):
    field, _ = read(with_action(**{name: value}))
    assert field is None or field.startswith("steps[0].action")


@given(st.text())
def test_a_status_detail_is_always_one_that_the_service_takes(text):
    for detail in (status_detail(text * 40), status_detail(text, one_line=True)):
        assert len(detail.encode("utf-16-le")) <= 2 * STATUS_DETAIL_MAX
        assert all(character.isprintable() or character in "\n\t" for character in detail)
    assert "\n" not in status_detail(text, one_line=True)


@pytest.mark.parametrize(
    "text, detail",
    [
        ("", ""),
        ("plain\n", "plain\n"),
        ("dos\r\nline", "dos\nline"),
        ("10%\r20%", "10%\n20%"),
        ("bell\a nbsp\u00a0", "bell\ufffd nbsp "),
        ("a" * 2000 + "end", "a" * 1021 + "end"),
        ("😀" * 600, "😀" * 512),
        ("x😀" * 400, "x😀" * 341),
    ],
)
def test_the_end_of_a_text_becomes_the_detail(text, detail):
    assert status_detail(text) == detail


@pytest.mark.parametrize("value", ["", "a/b", "+", "a" * 65, None])
def test_a_job_s_name_can_be_part_of_a_topic(value):
    with pytest.raises(InvalidInput, match="jobId: must be 1 to 64"):
        JobId(value)
