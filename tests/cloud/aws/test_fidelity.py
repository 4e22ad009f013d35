"""docs/fidelity.md: written from the code, up to date, and true to what AWS's models call an operation."""

from __future__ import annotations

import pytest

from labkit.cloud.aws import fidelity


def test_the_file_is_up_to_date() -> None:
    current = fidelity.FILE.read_text(encoding="utf-8")
    assert current == fidelity.document(current), "run `python -m labkit.cloud.aws.fidelity`"


@pytest.mark.parametrize("service", fidelity.services(), ids=lambda service: service.name)
def test_every_operation_is_one_of_awss_and_stands_once(service: fidelity.Service) -> None:
    assert set(service.served) <= set(service.operations)
    levels = [*service.at("works"), *service.at("shape"), *service.refused]
    assert sorted(levels) == sorted(service.operations)


def test_other_clouds_parts_are_left_alone() -> None:
    before, after = "# Head\n\n## Azure\n\nblobs\n\n", "\n## Google Cloud\n\nmore\n"
    written = fidelity.document(f"{before}{fidelity.BEGIN}\nold\n{fidelity.END}\n{after}")
    assert written.startswith(before)
    assert written.endswith(after)
    assert "\nold\n" not in written
    assert written == fidelity.document(written)


def test_what_is_refused_is_listed_and_counted() -> None:
    text = fidelity.section()
    assert "`sagemaker`" in text
    assert "CreateTrainingJob" in text.partition("<summary>Refused")[2]
    assert "PutObject" in text.partition("(`s3`)\n\n**Works**")[2].partition("**Shape only**")[0]
