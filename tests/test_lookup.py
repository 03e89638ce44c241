"""Names of packages that are imported when they are first used. Run: pytest tests/test_lookup.py."""

from __future__ import annotations

import importlib

import pytest

from tiny import without_torch
from unmask.tasks import TASKS

PACKAGES = ("unmask.data", "unmask.metrics", "unmask.pipelines", "unmask.tasks", "unmask")


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_found_where_it_is_said_to_be(package: str) -> None:
    module = importlib.import_module(package)
    assert len({*module.__all__}) == len(module.__all__)
    assert {*module._HOMES} <= {*module.__all__}
    for name in module.__all__:
        getattr(module, name)
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'pipline'"):
        _ = module.pipline


def test_a_package_brings_in_nothing_that_is_not_asked_for() -> None:
    done = without_torch(
        "import unmask.tasks, unmask.data, unmask.metrics, unmask.pipelines\n"
        "unmask.tasks.TASKS['regression']\n"
        "print(*(name for name in ('numpy', 'unmask.tasks.regression', 'unmask.tasks.tagging', 'unmask.data.tagged', "
        "'unmask.metrics.tagging', 'unmask.metrics.calibration') if name in sys.modules))"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "numpy unmask.tasks.regression\n", "")


def test_tasks_go_by_their_own_names() -> None:
    assert {name: task.name for name, task in TASKS.items()} == {name: name for name in TASKS}
    assert len(TASKS) == 5
    assert "parsing" not in TASKS
    with pytest.raises(KeyError, match="parsing"):
        TASKS["parsing"]
