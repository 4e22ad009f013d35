"""Sends a JSON file to the online endpoint at SCORING_URI: python client.py FILE

With API_KEY it shows that key; without, a token of Microsoft Entra.
"""

import os
import sys
from pathlib import Path

import requests
from azure.identity import DefaultAzureCredential


def authorization():
    """The value of the header Authorization, which says who is calling."""
    ### BEGIN SOLUTION
    secret = os.environ.get("API_KEY")
    if secret is None:
        secret = DefaultAzureCredential().get_token("https://ml.azure.com/.default").token
    return f"Bearer {secret}"
    ### END SOLUTION


def main(file):
    headers = {"Authorization": authorization(), "Content-Type": "application/json"}
    body = Path(file).read_bytes()
    answer = requests.post(os.environ["SCORING_URI"], data=body, headers=headers, timeout=60)
    print(answer.text)
    return 0 if answer.ok else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
