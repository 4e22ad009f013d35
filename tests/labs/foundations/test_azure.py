"""The checks of foundations/azure: each with a right answer, wrong ones that somebody could give, and none.

The right answers are the solved notebook's own cells, run in this process against an Azure in it.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from labkit.cloud.azure import AzureCloud
from labkit.cloud.engine import Engine
from labkit.labs.foundations import azure, azure_trail
from labkit.labs.foundations import azure_checks as checks
from labkit.labs.task import NotAttempted, Work, Wrong
from tests.cloud.azure import in_process

ROOT = Path(__file__).parents[3]
NOTEBOOK = json.loads((ROOT / "solutions/foundations/azure.ipynb").read_text())
#: Cells that show, or check, and make nothing.
SHOWS = ("lab", "architecture", "table-cell", "boundary-picture", "done", "denied-table")


class Play:
    """The notebook, played as far as a cell."""

    def __init__(self, folder: Path, now: datetime) -> None:
        self.work = Work(folder / "azure", ROOT / "data")
        self.names: dict[str, Any] = {"lab": SimpleNamespace(data=ROOT / "data", now=now)}
        self._left = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]

    def before(self, wanted: str) -> None:
        """Runs the cells before this one."""
        while self._left[0]["id"] != wanted:
            self._run(self._left.pop(0))

    def through(self, wanted: str) -> None:
        """Runs the cells up to this one, and it."""
        self.before(wanted)
        self._run(self._left.pop(0))

    def skip(self) -> None:
        """Leaves the next cell out."""
        self._left.pop(0)

    def run(self, source: str) -> None:
        """Runs what a learner might have written instead."""
        exec(compile(source, "cell", "exec"), self.names)

    def _run(self, cell: dict[str, Any]) -> None:
        if cell["id"] not in SHOWS and not cell["id"].startswith("check-"):
            self.run("".join(cell["source"]))


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Play]:
    """The notebook in an empty folder, against clouds of its own."""
    engine = Engine(tmp_path / "engine")
    (tmp_path / "lab").mkdir()
    cloud = AzureCloud(engine, in_process.Lab(tmp_path / "lab"))
    monkeypatch.chdir(tmp_path)
    with in_process.reached(cloud):
        yield Play(tmp_path, engine.clock.now())
    cloud.close()
    engine.close()


def wrong(check: Any, play: Play, text: str) -> None:
    with pytest.raises(Wrong) as caught:
        check(play.work)
    assert text in f"{caught.value.found} {caught.value.expected} {caught.value.hint}"


def none(check: Any, play: Play) -> None:
    with pytest.raises(NotAttempted):
        check(play.work)


def test_the_whole_notebook_is_right(play: Play) -> None:
    for task in ("deployer", "caller", "policy", "boundary", "denial", "audit", "rotate"):
        play.through(task)
        assert azure.LAB.task(task).check(play.work)
    none(checks.cleanup, play)
    play.run("resources.resources.begin_delete_by_id(account_id, api_version=STORAGE).wait()")
    wrong(checks.cleanup, play, "the application who-lab-deployer, the application who-lab-caller, the role")
    play.through("cleanup")
    assert checks.cleanup(play.work)


def test_identities(play: Play) -> None:
    play.before("deployer")
    none(checks.deployer, play)
    play.run('deployer_app = graph("POST", "/applications", {"displayName": deployer_name})')
    wrong(checks.deployer, play, "without a service principal")
    play.run('graph("POST", "/servicePrincipals", {"appId": deployer_app["appId"]})')
    none(checks.deployer, play)
    play.run(
        '(build / "deployer.json").write_text(json.dumps({"tenant_id": tenant, "client_id": deployer_app["appId"], '
        '"client_secret": "guessed"}))'
    )
    wrong(checks.deployer, play, "AADSTS7000215")
    play.run('graph("POST", "/applications", {"displayName": deployer_name})')
    wrong(checks.deployer, play, "2 applications named who-lab-deployer one forget('who-lab-deployer') deletes them")
    play.run("forget(deployer_name)")
    play.through("deployer")
    assert checks.deployer(play.work)
    none(checks.caller, play)
    play.through("caller")
    play.run('save("caller.json", caller_app, graph("POST", f"/applications/{caller_app[\'id\']}/addPassword", {}))')
    wrong(checks.caller, play, "good for 730 days")


def test_too_much_and_too_little(play: Play) -> None:
    play.before("policy")
    none(checks.policy, play)
    play.through("policy")
    assigned = "assigned = {n: give(p, r, s) for n, (p, r, s) in wanted.items()}"
    take = "[authorization.role_assignments.delete_by_id(each.id) for each in assigned.values()]"
    for extra, said in (
        ("(caller, 'Storage Blob Data Contributor', container_id['scores'])", "who-lab-caller can write scores"),
        ("(deployer, 'Storage Blob Data Reader', account_id)", "who-lab-deployer can read the customers"),
        ("(caller, 'Reader and Data Access', account_id)", "who-lab-caller can list the account's keys"),
        ("(caller, 'Reader', account_id)", "who-lab-caller can read the storage account's settings"),
        ("(caller, 'AcrPull', group_id)", "who-lab-caller has AcrPull on /subscriptions"),
        ("(deployer, 'Reader', container_id['scores'])", "has Reader on the container scores and Storage Blob Data C"),
        ("(deployer, 'User Access Administrator', account_id)", "who-lab-deployer can give itself a role"),
    ):
        play.run(f"wanted = {{'x': {extra}}}\n{assigned}")
        wrong(checks.policy, play, said)
        if "give itself" not in said:
            play.run(take)
            assert checks.policy(play.work)


def test_a_role_that_is_too_small(play: Play) -> None:
    play.before("policy")
    play.through("policy")
    play.run(
        "mine = list(authorization.role_assignments.list_for_scope(container_id['scores'], filter='atScope()'))\n"
        "for each in mine:\n"
        "    if each.principal_id in (deployer['id'], caller['id']):\n"
        "        authorization.role_assignments.delete_by_id(each.id)"
    )
    play.run("small = give(deployer, 'Storage Blob Data Reader', container_id['scores'])")
    wrong(checks.policy, play, "who-lab-deployer cannot write scores (403")
    play.run("authorization.role_assignments.delete_by_id(small.id)")
    play.run("give(deployer, 'Storage Blob Data Owner', container_id['scores'])")
    play.run("give(caller, 'Storage Blob Data Reader', container_id['scores'])")
    wrong(checks.policy, play, "that who-lab-deployer has Storage Blob Data Owner")


def test_a_limit_that_is_none(play: Play) -> None:
    play.before("boundary")
    none(checks.boundary, play)
    play.through("boundary")
    assert checks.boundary(play.work)
    play.run("on = {'properties': {'allowSharedKeyAccess': True}}\n"
             "resources.resources.begin_update_by_id(account_id, on, api_version=STORAGE).result()")  # fmt: skip
    wrong(checks.boundary, play, "keys open every container")
    play.run("extra = give(deployer, 'Storage Blob Data Contributor', container_id['scores'])")
    wrong(checks.boundary, play, "roles add up")
    play.run("authorization.role_assignments.delete_by_id(extra.id)")
    change = (
        "authorization.role_definitions.create_or_update(group_id, writer.name, {'role_name': 'who-lab-writer', "
        "'role_type': 'CustomRole', 'assignable_scopes': [group_id], 'permissions': [PERMISSION]})"
    )
    every = "{'actions': [f'{containers}/*'], 'data_actions': [f'{containers}/blobs/*']"
    play.run(change.replace("PERMISSION", every + "}"))
    wrong(checks.boundary, play, "can delete a blob of scores")
    play.run(change.replace("PERMISSION", every + ", 'not_data_actions': [f'{containers}/blobs/delete']}"))
    wrong(checks.boundary, play, "may delete the container")
    right = ", 'not_actions': [f'{containers}/delete'], 'not_data_actions': [f'{containers}/blobs/delete']}"
    play.run(change.replace("PERMISSION", every + right))
    play.run("resources.resources.begin_update_by_id(account_id, keyless, api_version=STORAGE).result()")
    assert checks.boundary(play.work)
    play.run(
        "whose = f\"principalId eq '{deployer['id']}'\"\n"
        "mine = authorization.role_assignments.list_for_subscription(filter=whose)\n"
        "[authorization.role_assignments.delete_by_id(each.id) for each in list(mine)]\n"
        "give(deployer, 'who-lab-writer', group_id)"
    )
    wrong(checks.boundary, play, "who-lab-deployer has who-lab-writer on /subscriptions")


def test_denials_misread(play: Play) -> None:
    play.before("denial")
    none(azure_trail.denial, play)
    play.through("denial")
    assert azure_trail.denial(play.work)
    right = json.loads((play.work.folder / "build" / "answers.json").read_text())
    for changed, said in (
        (right[:2], "2 answers"),
        ([right[0] | {"why": "notActions"}, *right[1:]], "none of its roles holds the action at all"),
        ([right[0], right[1] | {"why": "no role"}, right[2]], "was given on another container"),
        ([right[0], right[1], right[2] | {"who": str(uuid.uuid4())}], "a call that the Activity Log has as denied"),
        ([right[0], right[1], {"who": "x"}], "entry 3 of azure/build/answers.json without action"),
        ([right[0] | {"why": "a role"}, *right[1:]], "one of 'no role', 'another scope', 'notActions'"),
        ([right[0], right[1], right[1]], "the same call twice"),
    ):
        (play.work.folder / "build" / "answers.json").write_text(json.dumps(changed))
        wrong(azure_trail.denial, play, said)


def test_a_list_of_denials_with_gaps(play: Play) -> None:
    play.before("audit")
    none(azure_trail.audit, play)
    play.through("audit")
    file = play.work.folder / "build" / "denied.json"
    right = json.loads(file.read_text())
    assert len(right) == 3
    assert azure_trail.audit(play.work) == "all 3 denied calls, as the Activity Log has them"
    for changed, said in (
        (right[:1] + right[2:], "2 denied calls, without"),
        (right[2:], "1 denied calls, without"),
        ([right[0] | {"who": "me"}, *right[1:]], "the who 'me'"),
        ([right[0] | {"id": "none"}, *right[1:]], "no denied call of the two"),
        ([right[0] | {"when": "2020-01-01T00:00:00Z"}, *right[1:]], "the when '2020-01-01T00:00:00Z' of the event"),
        ([right[0], {"id": 7}, right[2]], "entry 2 of azure/build/denied.json with a number under id"),
        ({"denied": right}, "an object as azure/build/denied.json"),
    ):
        file.write_text(json.dumps(changed))
        wrong(azure_trail.audit, play, said)
    file.write_text('[\n  {"id": 1,}\n]')
    wrong(azure_trail.audit, play, "azure/build/denied.json that is no JSON (line 2, column 1")


def test_a_secret_that_was_not_taken_away(play: Play) -> None:
    play.before("rotate")
    none(checks.rotate, play)
    play.run(
        "first = [each['keyId'] for each in graph('GET', f'/applications/{caller_app[\"id\"]}')['passwordCredentials']]"
    )
    play.run('save("caller.json", caller_app, graph("POST", f"/applications/{caller_app[\'id\']}/addPassword", {}))')
    wrong(checks.rotate, play, "old secret that still works")
    play.run(
        "for each in first:\n    graph('POST', f'/applications/{caller_app[\"id\"]}/removePassword', {'keyId': each})"
    )
    wrong(checks.rotate, play, "good for 730 days")
    play.run('(build / "caller.json").write_text(json.dumps({**json.loads((build / "caller.json").read_text()), '
             '"client_secret": "x"}))')  # fmt: skip
    wrong(checks.rotate, play, "AADSTS7000215")
    (play.work.folder / "build" / "caller-old.json").write_text('{"tenant_id": "t"}')
    wrong(checks.rotate, play, "azure/build/caller-old.json without client_id")
