"""The variables with which the lab's clients find Google Cloud and sign in."""

from __future__ import annotations

from labkit.cloud.gcp import projects
from labkit.cloud.gcp.identity import Identities, LabSettings
from labkit.cloud.gcp.locations import DEFAULT


def environment(lab: LabSettings) -> dict[str, str]:
    """The variables of a lab, whether or not its clouds run. ``GCE_METADATA_*`` are the learner's own."""
    return {
        "GOOGLE_CLOUD_PROJECT": projects.ID,
        "GOOGLE_CLOUD_REGION": DEFAULT,
        # gcsfs, through which pandas opens gs:// addresses, reads the proxy's variables only if it is told to.
        "FSSPEC_GCS": '{"session_kwargs": {"trust_env": true}}',
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # it would ask each bucket for a namespace that none here has
        **Identities(lab).learners_variables(),
    }
