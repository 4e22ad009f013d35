"""Sends a JSON file to an endpoint of Vertex AI: python client.py ENDPOINT_ID FILE"""

import os
import sys
from pathlib import Path

import google.auth
import requests
from google.auth.transport.requests import Request


def authorized_headers():
    """The headers of a request, with the token that says who is calling."""
    ### BEGIN SOLUTION
    credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    credentials.refresh(Request())
    return {"Authorization": f"Bearer {credentials.token}"}
    ### END SOLUTION


def main(endpoint, file):
    project, region = os.environ["GOOGLE_CLOUD_PROJECT"], os.environ["GOOGLE_CLOUD_REGION"]
    name = f"projects/{project}/locations/{region}/endpoints/{endpoint}"
    url = f"https://{region}-aiplatform.googleapis.com/v1/{name}:predict"
    headers = {"Content-Type": "application/json", **(authorized_headers() or {})}
    answer = requests.post(url, data=Path(file).read_bytes(), headers=headers, timeout=60)
    print(answer.text)
    return 0 if answer.ok else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
