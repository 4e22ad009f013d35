"""Azure's part of docs/fidelity.md: all that is served stands in it, and nothing served is said to be refused."""

from __future__ import annotations

from labkit.cloud.azure import arm, blob_service, fidelity, unserved


def test_every_route_is_listed() -> None:
    text = fidelity.section().replace("\n  ", " ")
    for route in arm.table().routes:
        part = text.partition(f"### `{route.namespace}`")[2].partition("\n### ")[0]
        assert f"`{route.type}`" in part, route
        assert route.note in part, route


def test_every_blob_operation_is_listed_and_none_is_refused() -> None:
    names = {operation.name for operation in blob_service.OPERATIONS.values()}
    assert names.isdisjoint(unserved.BLOB_OPERATIONS)
    part = fidelity.section().partition("### Blob Storage")[2].replace("\n  ", " ")
    assert all(name in part.partition("<details>")[0] for name in names)


def test_no_kind_that_is_served_is_said_to_be_refused() -> None:
    for namespace, kinds in unserved.TYPES.items():
        served = {route.type.lower() for route in arm.table().routes if route.namespace.lower() == namespace}
        assert served
        assert served.isdisjoint(kind.lower() for kind in kinds)
