"""Google Cloud's regions, and the Locations methods that every API has.

https://cloud.google.com/about/locations, https://cloud.google.com/vertex-ai/docs/general/locations
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labkit.cloud.gcp import schema
from labkit.cloud.gcp.errors import GcpError

if TYPE_CHECKING:
    from labkit.cloud.gcp.front import Call

#: Region -> the place as Google's APIs show it.
REGIONS = {
    "africa-south1": "Johannesburg",
    "asia-east1": "Taiwan",
    "asia-east2": "Hong Kong",
    "asia-northeast1": "Tokyo",
    "asia-northeast2": "Osaka",
    "asia-northeast3": "Seoul",
    "asia-south1": "Mumbai",
    "asia-south2": "Delhi",
    "asia-southeast1": "Singapore",
    "asia-southeast2": "Jakarta",
    "australia-southeast1": "Sydney",
    "australia-southeast2": "Melbourne",
    "europe-central2": "Warsaw",
    "europe-north1": "Finland",
    "europe-north2": "Stockholm",
    "europe-southwest1": "Madrid",
    "europe-west1": "Belgium",
    "europe-west10": "Berlin",
    "europe-west12": "Turin",
    "europe-west2": "London",
    "europe-west3": "Frankfurt",
    "europe-west4": "Netherlands",
    "europe-west6": "Zurich",
    "europe-west8": "Milan",
    "europe-west9": "Paris",
    "me-central1": "Doha",
    "me-central2": "Dammam",
    "me-west1": "Tel Aviv",
    "northamerica-northeast1": "Montréal",
    "northamerica-northeast2": "Toronto",
    "northamerica-south1": "Querétaro",
    "southamerica-east1": "São Paulo",
    "southamerica-west1": "Santiago",
    "us-central1": "Iowa",
    "us-east1": "South Carolina",
    "us-east4": "Northern Virginia",
    "us-east5": "Columbus",
    "us-east7": "Alabama",
    "us-south1": "Dallas",
    "us-west1": "Oregon",
    "us-west2": "Los Angeles",
    "us-west3": "Salt Lake City",
    "us-west4": "Las Vegas",
    "us-west8": "Phoenix",
}
#: Where a lab's clients are told to work.
DEFAULT = "us-central1"


def _location(call: Call, region: str) -> Any:
    location = schema.Package("google.cloud.location").Location
    return location(
        name=f"projects/{call.project.id}/locations/{region}", location_id=region, display_name=REGIONS[region]
    )


def get_location(call: Call, request: Any) -> Any:
    """One region."""
    if call.location not in REGIONS:
        raise GcpError("NOT_FOUND", f"Location {call.location} is not found or access is unauthorized.")
    return _location(call, call.location)


def list_locations(call: Call, request: Any) -> Any:
    """Every region, in one page."""
    locations = schema.Package("google.cloud.location")
    return locations.ListLocationsResponse(locations=[_location(call, region) for region in REGIONS])


METHODS = {"GetLocation": get_location, "ListLocations": list_locations}
