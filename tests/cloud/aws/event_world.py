"""What the tests of events, queues, topics, schedules and functions make: roles, archives, users with few rights."""

from __future__ import annotations

import io
import itertools
import json
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from labkit.cloud.aws import AwsCloud
from tests.cloud.aws import in_process
from tests.waiting import eventually

T = TypeVar("T")
ACCOUNT = "123456789012"
_numbers = itertools.count(1)


def archive(files: Mapping[str, str] | str) -> bytes:
    """A zip archive; a string is the content of ``app.py``."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        for name, content in ({"app.py": files} if isinstance(files, str) else files).items():
            file.writestr(name, content)
    return data.getvalue()


def arn(service: str, resource: str, region: str = "us-east-1") -> str:
    return f"arn:aws:{service}:{region}:{ACCOUNT}:{resource}"


def policy(*statements: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **each} for each in statements]})


def allow(*actions: str, resource: str = "*") -> dict[str, Any]:
    return {"Action": list(actions), "Resource": resource}


class EventWorld:
    """A test's own names in the module's cloud, and clients of it."""

    def __init__(self, cloud: AwsCloud, client: Callable[[str], Any]) -> None:
        self.cloud = cloud
        self.client = client
        self.name = f"e{next(_numbers)}"

    def role(self, service: str, *statements: Mapping[str, Any], name: str = "role") -> str:
        """The ARN of a new role that a service may assume, with these rights."""
        trusted = {"Principal": {"Service": service}, "Action": "sts:AssumeRole"}
        iam, name = self.client("iam"), f"{self.name}-{name}"
        made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy(trusted))["Role"]["Arn"]
        if statements:
            iam.put_role_policy(RoleName=name, PolicyName="rights", PolicyDocument=policy(*statements))
        return str(made)

    def user(self, service: str, *statements: Mapping[str, Any], name: str = "user") -> Any:
        """A client of a service, signed in as a new user with these rights only."""
        iam, name = self.client("iam"), f"{self.name}-{name}"
        iam.create_user(UserName=name)
        if statements:
            iam.put_user_policy(UserName=name, PolicyName="rights", PolicyDocument=policy(*statements))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return in_process.client(self.cloud, service, key=key["AccessKeyId"], secret=key["SecretAccessKey"])

    def function(self, code: str, name: str = "fn", **changes: Any) -> str:
        """The ARN of a new function, whose handler is ``app.handler``."""
        role = changes.pop("Role", None) or self.role("lambda.amazonaws.com", allow("logs:*"), name=f"{name}-role")
        given = {
            "FunctionName": f"{self.name}-{name}",
            "Runtime": "python3.12",
            "Role": role,
            "Handler": "app.handler",
            "Code": {"ZipFile": archive(code)},
            "Timeout": 30,
            **changes,
        }
        return str(self.client("lambda").create_function(**given)["FunctionArn"])

    def log_lines(self, function: str) -> list[str]:
        events = self.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{function.rpartition(':')[2]}")
        return [event["message"] for event in events["events"]]

    def eventually(self, ask: Callable[[], T]) -> T:
        """What ``ask`` gives, once it gives something; what is asked about need not be there yet."""
        return eventually(ask, despite=ClientError)

    def queue(self, name: str = "q", **attributes: str) -> str:
        """The URL of a new queue."""
        made = self.client("sqs").create_queue(QueueName=f"{self.name}-{name}", Attributes=attributes)
        return str(made["QueueUrl"])

    def queue_arn(self, url: str) -> str:
        return arn("sqs", url.rpartition("/")[2])

    def let_send(self, url: str, service: str, **conditions: Any) -> None:
        """Has a queue's policy let a service send to it."""
        statement: dict[str, Any] = {
            "Principal": {"Service": service},
            "Action": "sqs:SendMessage",
            "Resource": self.queue_arn(url),
        }
        if conditions:
            statement["Condition"] = conditions
        self.client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy(statement)})

    def received(self, url: str, wait: int = 5, **arguments: Any) -> list[dict[str, Any]]:
        """The messages that a queue gives at once, taken off it."""
        sqs = self.client("sqs")
        given = {"MaxNumberOfMessages": 10, "MessageAttributeNames": ["All"], "WaitTimeSeconds": wait, **arguments}
        messages: list[dict[str, Any]] = sqs.receive_message(QueueUrl=url, **given).get("Messages", [])
        for each in messages:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=each["ReceiptHandle"])
        return messages
