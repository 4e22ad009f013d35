from __future__ import annotations

import pytest

from labkit.cloud.gateway import router
from labkit.cloud.gateway.router import Refused, Router
from tests.cloud.gateway.fakes import FakeCloud


@pytest.fixture
def cloud() -> FakeCloud:
    return FakeCloud()


def test_a_host_goes_to_the_cloud_that_claims_it(cloud: FakeCloud) -> None:
    assert Router([cloud], list).find("a.cloud.test") is cloud


def test_what_nobody_claims_is_refused(cloud: FakeCloud) -> None:
    for host in ("cloud.test", "acloud.test", "a.cloud.test.evil.example", "127.0.0.1", ""):
        with pytest.raises(Refused, match="is no cloud that the local clouds serve"):
            Router([cloud], list).find(host)


def test_the_list_lets_hosts_through_by_name_or_pattern(cloud: FakeCloud) -> None:
    made = Router([cloud], lambda: ["pypi.org", "*.pythonhosted.org"])
    assert made.find("pypi.org") is None
    assert made.find("files.pythonhosted.org") is None
    for host in ("pythonhosted.org", "evilpypi.org", "pypi.org.evil.example"):
        with pytest.raises(Refused):
            made.find(host)


def test_the_list_cannot_let_a_clouds_own_host_out(cloud: FakeCloud) -> None:
    assert Router([cloud], lambda: ["*"]).find("a.cloud.test") is cloud
    assert Router([cloud], lambda: ["*"]).find("closed.cloud.test") is cloud


def test_the_last_refusals_are_remembered_and_repeats_counted(
    cloud: FakeCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Router([cloud], list)
    for host in ("a.example", "b.example", "b.example", "a.example"):
        with pytest.raises(Refused):
            made.find(host)
    assert [(each.host, each.times) for each in made.refusals()] == [
        ("a.example", 1),
        ("b.example", 2),
        ("a.example", 1),
    ]
    for number in range(router.KEPT):
        with pytest.raises(Refused):
            made.find(f"{number}.example")
    assert len(made.refusals()) == router.KEPT
    assert made.refusals()[0].host == "0.example"
