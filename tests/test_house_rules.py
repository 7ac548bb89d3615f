"""The rules of the house, held: each on the whole project, and each on a small sample that breaks it."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from tests.support.house import code, imports, texts
from tests.support.house.source import ROOT, Source, project_files, python_files

PACKAGE = python_files("pinthesky", "service/pitsctl")
MODULES = frozenset(source.module for source in PACKAGE)
PYTHON = python_files()
TESTS = python_files("tests")
PRODUCTION = [source for source in PYTHON if source not in TESTS]
MARKDOWN = [source for source in project_files() if source.path.endswith(".md")]


def sample(path: str, text: str) -> Source:
    return Source(path, text)


def check_none(complaints: list[str]) -> None:
    assert not complaints, "\n" + "\n".join(complaints)


# The project as it is


def test_there_is_something_to_judge():
    assert "pinthesky.errors" in MODULES
    assert "README.md" in {source.path for source in MARKDOWN}


def test_modules_import_only_what_the_design_allows():
    check_none([line for source in PRODUCTION for line in imports.wrong_imports_of_ours(source, MODULES)])


def test_libraries_stay_in_their_places():
    check_none([line for source in PACKAGE for line in imports.wrong_vendor_imports(source, MODULES)])


def test_the_model_does_no_input_or_output():
    check_none([line for source in PACKAGE for line in imports.input_output_in_model(source, MODULES)])


@pytest.mark.parametrize("library", ["av", "boto3", "botocore", "urllib3"])
def test_starting_the_daemon_does_not_load(library: str):
    """Importing boto3 takes longer and more memory than everything else together, and PyAV may be missing."""
    program = f"import sys, pinthesky.device.daemon; sys.exit({library!r} in sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_functions_and_files_are_short():
    check_none([line for source in PYTHON for line in code.too_long(source)])


def test_parameters_are_keyword_only_after_three():
    check_none([line for source in PRODUCTION for line in code.too_many_positional(source)])


def test_no_module_has_a_vague_name():
    check_none([line for source in project_files() for line in code.vague_name(source)])


def test_everything_is_caught_only_where_the_list_says():
    check_none([line for source in PYTHON for line in code.unlisted_broad_excepts(source)])


def test_the_list_of_broad_excepts_is_not_longer_than_needed():
    there = {(source.path, function) for source in PYTHON for function, _ in code.broad_excepts(source)}
    assert set(code.BROAD_EXCEPTS) <= there


def test_a_silenced_check_is_named_and_explained():
    check_none([line for source in PYTHON for line in code.silenced_without_reason(source)])


def test_no_test_sleeps_a_fixed_time():
    check_none([line for source in TESTS for line in code.fixed_sleeps(source)])


def test_every_test_asserts_something():
    check_none([line for source in TESTS for line in code.tests_without_assertion(source)])


def test_no_file_names_a_registry_or_a_path_of_one_machine():
    check_none([line for source in project_files() for line in texts.traces_of_a_machine(source)])


def test_no_command_installs_the_bare_name_from_the_index():
    check_none(
        [
            line
            for source in project_files()
            if source.path != "tests/test_house_rules.py"
            for line in texts.installs_by_bare_name(source)
        ]
    )


def test_links_between_documents_lead_somewhere():
    check_none([line for source in MARKDOWN for line in texts.broken_links(source)])


def test_the_architecture_names_every_part_of_the_daemon():
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    parts = {source.module.rpartition(".")[2] for source in PACKAGE if source.path.count("/") == 2} - {
        "__init__",
        "__main__",
    }
    unnamed = {part for part in parts if f"`{part}`" not in text}
    assert "camera_thread" in parts
    assert not unnamed


# Each rule on a sample that breaks it


@pytest.mark.parametrize(
    "path, text",
    [
        ("pinthesky/model/shadow.py", "from pinthesky.device import ports"),
        ("pinthesky/model/shadow.py", "import pinthesky.version"),
        ("pinthesky/device/motion.py", "from pinthesky.aws.credentials import Credentials"),
        ("pinthesky/device/motion.py", "def f():\n    import pinthesky.hub.records"),
        ("pinthesky/planes/ingest.py", "from pinthesky.device.ports import Camera"),
        ("pinthesky/aws/log_store.py", "import pinthesky.hub.records"),
        ("pinthesky/aws/log_store.py", "from pinthesky.device.motion import Detector"),
        ("pinthesky/device/motion.py", "from pinthesky.device.daemon import main"),
        ("pinthesky/errors.py", "from pinthesky.model.identifiers import ThingName"),
    ],
)
def test_an_import_across_the_layers_is_found(path: str, text: str):
    modules = MODULES | {"pinthesky.device.daemon", "pinthesky.device.ports"}
    assert imports.wrong_imports_of_ours(sample(path, text), modules)


@pytest.mark.parametrize(
    "path, text",
    [
        ("pinthesky/device/motion.py", "from pinthesky.model.settings import MotionSettings"),
        ("pinthesky/aws/log_store.py", "from pinthesky.device.ports import LogSink"),
        ("pinthesky/aws/log_store.py", "from pinthesky.device import ports"),
        ("pinthesky/device/daemon.py", "from pinthesky.aws.log_store import LogStore"),
        ("pinthesky/__main__.py", "from pinthesky.device.daemon import main"),
        ("benchmarks/daemon_cost.py", "from pinthesky.device.daemon import main"),
    ],
)
def test_an_import_that_the_design_allows_is_no_complaint(path: str, text: str):
    modules = MODULES | {"pinthesky.device.daemon", "pinthesky.device.ports"}
    assert imports.wrong_imports_of_ours(sample(path, text), modules) == []


@pytest.mark.parametrize(
    "path, text",
    [
        ("pinthesky/device/daemon.py", "import boto3"),
        ("pinthesky/device/camera_thread.py", "import numpy as np"),
        ("pinthesky/device/ports.py", "import numpy as np"),
        ("pinthesky/device/clip_spool.py", "def f():\n    import av"),
        ("pinthesky/aws/object_store.py", "import sqlite3"),
        ("pinthesky/hub/app.py", "import a_library_without_a_place"),
    ],
)
def test_a_library_out_of_its_place_is_found(path: str, text: str):
    assert imports.wrong_vendor_imports(sample(path, text), MODULES)


def test_a_library_may_be_named_in_annotations_of_the_ports():
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import numpy as np\n"
    assert imports.wrong_vendor_imports(sample("pinthesky/device/ports.py", text), MODULES) == []


def test_input_or_output_in_the_model_is_found():
    assert imports.input_output_in_model(sample("pinthesky/model/shadow.py", "from pathlib import Path"), MODULES)


def test_a_long_function_is_found_and_its_docstring_forgiven():
    body = "".join(f"    a{number} = {number}\n" for number in range(60))
    assert code.too_long(sample("a.py", f"def f():\n{body}"))
    documented = '    """One.\n' + "    more\n" * 30 + '    """\n'
    short = "".join(body.splitlines(keepends=True)[:50])
    assert code.too_long(sample("a.py", f"def f():\n{documented}{short}")) == []


def test_a_long_file_is_found_and_its_docstrings_forgiven():
    assert code.too_long(sample("a.py", "a = 1\n" * 451))
    assert code.too_long(sample("a.py", '"""One.\n' + "more\n" * 100 + '"""\n' + "a = 1\n" * 400)) == []


@pytest.mark.parametrize("head, wrong", [("a, b, c, d", 1), ("self, a, b, c", 0), ("a, b, c, *, d, e", 0)])
def test_a_fourth_positional_parameter_is_found(head: str, wrong: int):
    assert len(code.too_many_positional(sample("a.py", f"def f({head}): ..."))) == wrong


@pytest.mark.parametrize("path", ["pinthesky/utils.py", "pinthesky/common/a.py", "console/src/date_helpers.ts"])
def test_a_vague_name_is_found(path: str):
    assert code.vague_name(sample(path, ""))


@pytest.mark.parametrize(
    "text",
    [
        "def f():\n    try:\n        g()\n    except Exception:\n        pass\n",
        "def f():\n    try:\n        g()\n    except (ValueError, BaseException):\n        pass\n",
        "def f():\n    try:\n        g()\n    except:\n        pass\n",
        "def f():\n    with contextlib.suppress(Exception):\n        g()\n",
    ],
)
def test_a_broad_except_is_found(text: str):
    assert code.broad_excepts(sample("a.py", text))[0][0] == "f"
    assert code.unlisted_broad_excepts(sample("a.py", text))


def test_a_handler_that_cleans_up_and_raises_again_is_no_broad_except():
    text = "def f():\n    try:\n        g()\n    except BaseException:\n        close()\n        raise\n"
    assert code.broad_excepts(sample("a.py", text)) == []


@pytest.mark.parametrize(
    "silence", ["noqa", "noqa: S603", "type: ignore", "type: ignore[arg-type]", "pragma: no cover"]
)
def test_a_silenced_check_without_a_reason_is_found(silence: str):
    text = f"a = 1  # {silence}\n"
    assert code.silenced_without_reason(sample("a.py", text))
    assert (
        (":" not in silence)
        or silence == "type: ignore"
        or not code.silenced_without_reason(sample("a.py", f"a = 1  # {silence} - the library is wrong here\n"))
    )


@pytest.mark.parametrize("call", ["time.sleep(0.5)", "sleep(2 * 3)"])
def test_a_fixed_sleep_is_found(call: str):
    assert code.fixed_sleeps(sample("tests/test_a.py", call))


def test_the_pause_of_a_wait_with_a_deadline_is_no_fixed_sleep():
    text = "while not done():\n    time.sleep(0.05)\n"
    assert code.fixed_sleeps(sample("tests/support/waiting.py", text)) == []


@pytest.mark.parametrize("body, wrong", [("f()", 1), ("assert True", 1), ("assert a", 0), ("check_all(a)", 0)])
def test_a_test_that_asserts_nothing_is_found(body: str, wrong: int):
    assert len(code.tests_without_assertion(sample("tests/test_a.py", f"def test_a():\n    {body}\n"))) == wrong


@pytest.mark.parametrize(
    "text", [*texts.HOSTS, "--extra-" + "index-url x", "/wo" + "rk/main/a", str(ROOT / "setup.py")]
)
def test_a_trace_of_a_machine_is_found(text: str):
    assert texts.traces_of_a_machine(sample("a.md", f"see {text} for it"))


@pytest.mark.parametrize(
    "command, wrong",
    [
        ("pip install pinthesky", 1),
        ("pip3 install -U 'pinthesky[test]'", 1),
        ("pipx install pinthesky", 1),
        ("pip install pinthesky==0.9.0", 1),
        ("pip install .", 0),
        ("pip install ./pinthesky", 0),
        ("pip install dist/pinthesky-1.0.0-py3-none-any.whl", 0),
        ("pip install pinthesky==1.0.0 --hash=sha256:00", 0),
    ],
)
def test_an_install_by_the_bare_name_is_found(command: str, wrong: int):
    assert len(texts.installs_by_bare_name(sample("a.md", command))) == wrong


@pytest.mark.parametrize(
    "link", ["[a](no_such_file.md)", "[a](README.md#no-such-heading)", '<img src="images/no.svg">']
)
def test_a_broken_link_is_found(link: str):
    assert texts.broken_links(sample("A.md", f"see {link}\n"))


def test_a_link_inside_a_block_of_code_is_no_link():
    assert texts.broken_links(sample("A.md", "```\n[a](no_such_file.md)\n```\n")) == []


def test_the_samples_are_read_as_python():
    assert isinstance(sample("a.py", "a = 1").tree, ast.Module)
