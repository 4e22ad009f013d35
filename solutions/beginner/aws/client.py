"""Sends a JSON file to a SageMaker endpoint, signed: python client.py ENDPOINT FILE"""

import sys
from pathlib import Path

import boto3
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest


def signed_headers(session, url, body):
    """The headers of a POST of `body`, with the signature that says who is calling."""
    ### BEGIN SOLUTION
    headers = {"Content-Type": "application/json"}
    request = AWSRequest(method="POST", url=url, data=body, headers=headers)
    SigV4Auth(session.get_credentials(), "sagemaker", session.region_name).add_auth(request)
    return dict(request.headers)
    ### END SOLUTION


def main(endpoint, file):
    session = boto3.Session()  # only for the credentials and the region
    host = f"runtime.sagemaker.{session.region_name}.amazonaws.com"
    url = f"https://{host}/endpoints/{endpoint}/invocations"
    body = Path(file).read_bytes()
    answer = requests.post(url, data=body, headers=signed_headers(session, url, body), timeout=60)
    print(answer.text)
    return 0 if answer.ok else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
