"""Deployments of templates, through azure-mgmt-resource's vendored twin and plain REST."""

from __future__ import annotations

from typing import Any

import pytest

from labkit.cloud.azure import AzureCloud
from labkit.cloud.azure.template_functions import PURE
from labkit.cloud.azure.template_language import TemplateError, evaluate
from tests.cloud.azure.in_process import Rest

VERSION = "2021-04-01"


def deploy(rest: Rest, name: str, template: dict[str, Any], **parameters: Any) -> tuple[int, Any, dict[str, str]]:
    values = {key: {"value": value} for key, value in parameters.items()}
    body = {"properties": {"mode": "Incremental", "template": template, "parameters": values}}
    return rest("PUT", f"{rest.group}/providers/Microsoft.Resources/deployments/{name}", body, version=VERSION)


def template(*resources: dict[str, Any], **parts: Any) -> dict[str, Any]:
    return {"contentVersion": "1.0.0.0", "resources": list(resources), **parts}


def account(name: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "Microsoft.Storage/storageAccounts",
        "apiVersion": "2023-01-01",
        "name": name,
        "location": "[resourceGroup().location]",
        "sku": {"name": "Standard_LRS"},
        "kind": "StorageV2",
        **more,
    }


def vault(name: str, **more: Any) -> dict[str, Any]:
    kind = {"type": "Microsoft.KeyVault/vaults", "apiVersion": "2023-07-01", "name": name, "location": "eastus"}
    return {**kind, "properties": {}, **more}


def test_parameters_variables_order_and_outputs(rest: Rest, name: str, cloud: AzureCloud) -> None:
    # The vault comes first and needs the account, whose address it is told.
    status, body, headers = deploy(
        rest,
        name,
        template(
            vault(
                f"{name}v",
                tags={"blobs": "[reference(variables('account')).primaryEndpoints.blob]"},
                dependsOn=["[resourceId('Microsoft.Storage/storageAccounts', variables('account'))]"],
            ),
            account("[variables('account')]", tags={"stage": "[parameters('stage')]"}),
            parameters={"stage": {"type": "string", "defaultValue": "[toLower('DEV')]"}, "stem": {"type": "string"}},
            variables={"account": "[concat(parameters('stem'), 'data')]"},
            outputs={"where": {"type": "string", "value": "[reference(variables('account')).primaryEndpoints.blob]"}},
        ),
        stem=name,
    )
    assert (status, body["properties"]["provisioningState"]) == (201, "Succeeded")
    assert "azure-asyncoperation" not in headers
    address = f"https://{name}data.blob.core.windows.net/"
    assert body["properties"]["outputs"] == {"where": {"type": "string", "value": address}}
    vault_id, account_id = (
        f"{rest.group}/providers/{kind}"
        for kind in (f"Microsoft.KeyVault/vaults/{name}v", f"Microsoft.Storage/storageAccounts/{name}data")
    )
    assert cloud.resources.require(vault_id).tags == {"blobs": address}
    assert cloud.resources.require(account_id).tags == {"stage": "dev"}
    _, steps, _ = rest("GET", f"{rest.group}/deployments/{name}/operations", version=VERSION)
    assert [each["properties"]["targetResource"]["id"] for each in steps["value"]] == [account_id, vault_id]


def test_what_a_condition_leaves_out(rest: Rest, name: str) -> None:
    wanted = template(
        account(f"{name}a", condition="[equals(parameters('kind'), 'none')]"),
        vault(f"{name}v"),
        parameters={"kind": {"type": "string"}},
    )
    _, body, _ = deploy(rest, name, wanted, kind="some")
    assert [each["id"].rpartition("/")[2] for each in body["properties"]["outputResources"]] == [f"{name}v"]


def test_a_failed_resource_fails_the_deployment(rest: Rest, name: str) -> None:
    status, _, headers = deploy(rest, name, template(account("Not-A-Name")))
    assert status == 201
    where = headers["azure-asyncoperation"].removeprefix("https://management.azure.com").partition("?")[0]
    _, operation, _ = rest("GET", where, version=VERSION)
    assert operation["status"] == "Failed"
    assert operation["error"]["code"] == "DeploymentFailed"
    assert operation["error"]["details"][0]["code"] == "AccountNameInvalid"
    _, made, _ = rest("GET", f"{rest.group}/providers/Microsoft.Resources/deployments/{name}", version=VERSION)
    assert made["properties"]["provisioningState"] == "Failed"


@pytest.mark.parametrize(
    ("wanted", "given", "status", "code", "message"),
    [
        (template(parameters={"a": {"type": "string"}}), {}, 400, "InvalidTemplate", "parameter 'a' is not provided"),
        (template(), {"b": 1}, 400, "InvalidTemplate", "'b'"),
        (
            template(parameters={"a": {"type": "int"}}),
            {"a": "x"},
            400,
            "InvalidTemplate",
            "'a' is not of type int",
        ),
        (
            template(parameters={"a": {"type": "string", "allowedValues": ["x", "y"]}}),
            {"a": "z"},
            400,
            "InvalidTemplate",
            "The provided value 'z' for the template parameter 'a' is not valid",
        ),
        (template(vault("[variables('none')]")), {}, 400, "InvalidTemplate", "no variable 'none'"),
        (template(vault("[concat('a']")), {}, 400, "InvalidTemplate", "ends too early"),
        (template(vault("x", copy={"name": "n", "count": 2})), {}, 501, "NotImplemented", "element copy"),
        (template(vault("x", resourceGroup="other")), {}, 501, "NotImplemented", "another scope"),
        (template(functions=[{}]), {}, 501, "NotImplemented", "element functions"),
    ],
)
def test_templates_that_are_refused(
    rest: Rest, name: str, wanted: dict[str, Any], given: dict[str, Any], status: int, code: str, message: str
) -> None:
    found, body, _ = deploy(rest, name, wanted, **given)
    assert (found, body["error"]["code"]) == (status, code)
    assert message in body["error"]["message"]


def test_resources_that_depend_on_one_another(rest: Rest, name: str) -> None:
    first, second = vault(f"{name}a", dependsOn=[f"{name}b"]), vault(f"{name}b", dependsOn=[f"{name}a"])
    _, _, headers = deploy(rest, name, template(first, second))
    where = headers["azure-asyncoperation"].removeprefix("https://management.azure.com").partition("?")[0]
    assert "depend on one another" in rest("GET", where, version=VERSION)[1]["error"]["message"]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("plain", "plain"),
        ("[[not an expression]", "[not an expression]"),
        ("['it''s']", "it's"),
        ("[concat('a', 'b', string(3))]", "ab3"),
        ("[if(equals(1, 2), json('broken'), 'fine')]", "fine"),
        ("[and(true(), not(false()), or(false(), true()))]", True),
        ("[createArray(1, 2)[1]]", 2),
        ('[json(\'{"a": {"b": [4]}}\').a.b[0]]', 4),
        ("[take('hello', 2)]", "he"),
        ("[length(split('a,b,c', ','))]", 3),
        ("[format('{0}-{1}', 'x', 7)]", "x-7"),
        ("[equals('a', 'A')]", False),
        ("[union(createObject('a', 1), createObject('b', 2))]", {"a": 1, "b": 2}),
        ("[coalesce(null(), 'second')]", "second"),
        ("[uniqueString('a', 'b')]", PURE["uniquestring"]("a", "b")),
        ({"k": ["[toUpper('v')]"]}, {"k": ["V"]}),
    ],
)
def test_the_language(expression: Any, value: Any) -> None:
    assert evaluate(expression, PURE) == value


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("[nosuch('a')]", "do not serve the template function 'nosuch'"),
        ("[concat('a') 'b']", "goes on after its end"),
        ("[concat(,)]", "where a value should be"),
        ("[json('{\"a\":1}').b]", "there is no property 'b'"),
        ("[int('x')]", "'int' cannot take these arguments"),
        ("[#]", "cannot be read"),
        ("[if(true(), 1)]", "three arguments"),
    ],
)
def test_expressions_that_cannot_be_evaluated(expression: str, message: str) -> None:
    with pytest.raises(TemplateError, match=message.replace("(", r"\(")):
        evaluate(expression, PURE)
