"""What holds for every test.

This file and what it loads also run on the oldest Python we support, in an environment without PyAV, boto3 or moto:
they import the standard library, pytest and hypothesis only.
"""

from __future__ import annotations

import importlib.util
import os

import hypothesis
import pytest

pytest.register_assert_rewrite("tests.support")

pytest_plugins = ["tests.support.guards", "tests.support.scheduling", "tests.support.skips"]

# The suite must say the same thing twice, so its examples are derived from each test, not drawn;
# `make soak` draws new ones at every run.
hypothesis.settings.register_profile("suite", deadline=None, derandomize=True, database=None)
hypothesis.settings.register_profile("soak", deadline=None, derandomize=False, database=None, print_blob=True)
# The suite on other Pythons looks for differences between them; the properties are held on the main one.
hypothesis.settings.register_profile("versions", deadline=None, derandomize=True, database=None, max_examples=15)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs PyAV where there is none."""
    if importlib.util.find_spec("av") is not None:
        return
    for item in items:
        if item.get_closest_marker("needs_av"):
            item.add_marker(pytest.mark.skip(reason="needs PyAV, which is not installed here"))
