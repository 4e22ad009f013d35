"""AWS's part of docs/fidelity.md: true to what AWS's models call an operation."""

from __future__ import annotations

import pytest

from labkit.cloud.aws import fidelity


@pytest.mark.parametrize("service", fidelity.services(), ids=lambda service: service.name)
def test_every_operation_is_one_of_awss_and_stands_once(service: fidelity.Service) -> None:
    assert set(service.served) <= set(service.operations)
    levels = [*service.at("works"), *service.at("shape"), *service.refused]
    assert sorted(levels) == sorted(service.operations)


def test_what_is_refused_is_listed_and_counted() -> None:
    text = fidelity.section()
    assert "`sagemaker`" in text
    assert "CreateAutoMLJob" in text.partition("<summary>Refused")[2]
    assert "PutObject" in text.partition("(`s3`)\n\n**Works**")[2].partition("**Shape only**")[0]
