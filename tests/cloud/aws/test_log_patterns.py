"""Filter patterns: the guide's own examples, what the service was seen to answer, and what is refused.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html
"""

from __future__ import annotations

import json

import pytest

from labkit.cloud.aws.errors import AwsError
from labkit.cloud.aws.log_patterns import matcher

ERRORS = [
    "[ERROR 400] BAD REQUEST",
    "[ERROR 401] UNAUTHORIZED REQUEST",
    "[ERROR 419] MISSING ARGUMENTS",
    "[ERROR 420] INVALID ARGUMENTS",
    "[ERROR 500] INTERNAL SERVER ERROR",
    "[SUCCESS 200] AUTHORIZED REQUEST",
]

TRAIL = json.dumps(
    {
        "eventType": "UpdateTrail",
        "sourceIPAddress": "111.111.111.111",
        "arrayKey": ["value", "another value"],
        "objectList": [{"name": "a", "id": 1}, {"name": "b", "id": 2}],
        "SomeObject": None,
        "ThisFlag": True,
        "OtherFlag": False,
        "cluster.name": "c",
        "detail-type": "x y",
        "quote": 'error "message"',
        "empty": "",
        "latency": 512,
        "negative": -0.5,
    }
)
#: Numbers as they are written matter, so this one is not made by a serializer.
VALUES = '{"someString": "111.111.111.111", "someInt": 123, "someFloat": 12.34, "someFloat2": 12.0, "digits": "123"}'

COMPOUND = json.dumps(
    {
        "user": {"id": 1, "email": "John.Stiles@example.com"},
        "users": [{"id": 2, "email": "John.Doe@example.com"}, {"id": 3, "email": "Jane.Doe@example.com"}],
        "actions": ["GET", "PUT", "DELETE"],
        "coordinates": [[0, 1, 2], [4, 5, 6], [7, 8, 9]],
    }
)

REQUEST = '127.0.0.1 Prod frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534'
SERVICE = [
    "INFO 09/25/2014 12:00:00 GET /service/resource/67 1200",
    "INFO 09/25/2014 12:00:01 POST /service/resource/67/part/111 1310",
    "WARNING 09/25/2014 12:00:02 Invalid user request",
    "ERROR 09/25/2014 12:00:02 Failed to process request",
]


class TestTerms:
    @pytest.mark.parametrize(
        ("pattern", "expected"),
        [
            ("", [0, 1, 2, 3, 4, 5]),
            ('" "', [0, 1, 2, 3, 4, 5]),
            ('""', [0, 1, 2, 3, 4, 5]),
            ("ERROR", [0, 1, 2, 3, 4]),
            ("error", []),
            ("AUTHOR", [1, 5]),
            ("ERROR ARGUMENTS", [2, 3]),
            ("ARGUMENTS ERROR", [2, 3]),
            ("?INTERNAL ?ARGUMENTS", [2, 3, 4]),
            ('?"BAD REQUEST" ?SUCCESS', [0, 5]),
            ('"INTERNAL SERVER ERROR"', [4]),
            ('"SERVER INTERNAL"', []),
            ("ERROR -ARGUMENTS", [0, 1, 4]),
            ('-ERROR -"NOTHING"', [5]),
            ("-ERROR", [5]),
            ("%AUTHORIZED%", [1, 5]),
            ("%^.SUCCESS%", [5]),
            ("%4[0-9]{2}% -%41\\d%", [0, 1, 3]),
            # Beside other terms, those with a question mark have no effect.
            ("?INTERNAL ?ARGUMENTS REQUEST", [0, 1, 5]),
            ("?INTERNAL -ERROR", [5]),
        ],
    )
    def test_they_match(self, pattern: str, expected: list[int]) -> None:
        assert [index for index, message in enumerate(ERRORS) if matcher(pattern)(message)] == expected

    def test_a_backslash_escapes_in_a_phrase(self) -> None:
        assert matcher(r'"say \"no\""')('they say "no" to it')
        assert matcher(r'"C:\\temp"')(r"in C:\temp")

    @pytest.mark.parametrize(
        ("pattern", "term"),
        [
            ("?Status: timeout", ":"),
            ("RequestId:", ":"),
            ("foo.bar", "."),
            ("a,b", ","),
            ('"open', '"'),
            ("ERROR - ARGUMENTS", "-"),
            ("?", "?"),
            ("%open", "%"),
            ("(ERROR)", "("),
        ],
    )
    def test_what_belongs_in_quotes_is_refused(self, pattern: str, term: str) -> None:
        refused(pattern, f"Invalid character(s) in term '{term}'")


class TestRegularExpressions:
    @pytest.mark.parametrize(
        ("pattern", "message", "expected"),
        [
            ("%^[hc]at%", "hat", True),
            ("%^[hc]at%", "a hat", False),
            ("%[hc]at$%", "a cat", True),
            ("%colou?r%", "color", True),
            ("%a{3,5}%", "xaaax", True),
            ("%a{3,5}%", "aa", False),
            ("%gra|ey%", "grey", True),
            ("%^starting|^initializing|^shutting down%", "shutting down", True),
            ("%^starting|^initializing|^shutting down%", "skipping initializing", False),
            (r"%\[.\]%", "[@]", True),
            (r"%10\.10\.0\.1%", "10010,051", False),
            ("%ab+c%", "ac", False),
            (r"%\d\D\s\S\w\W%", "1a ba-", True),
            (r"%\x3A\x28%", "f:(x)", True),
        ],
    )
    def test_the_subset(self, pattern: str, message: str, expected: bool) -> None:
        assert matcher(pattern)(message) is expected

    @pytest.mark.parametrize("source", ["something!", "(a|b)", r"\(", "é", r"\bword", "a<b", r"\x3"])
    def test_characters_that_it_lacks_are_refused(self, source: str) -> None:
        refused(f"%{source}%", "Invalid character(s) in term")

    @pytest.mark.parametrize("source", ["[open", "*a", "a{5,3}"])
    def test_what_cannot_be_compiled_is_refused(self, source: str) -> None:
        refused(f"%{source}%", "cannot be read")


class TestJson:
    @pytest.mark.parametrize(
        "pattern",
        [
            '{ $.eventType = "UpdateTrail" }',
            "{ $.eventType = UpdateTrail }",
            "{$.eventType=UpdateTrail}",
            "{ $.sourceIPAddress != 123.123.* }",
            '{ $.sourceIPAddress = "111.111.*" }',
            "{ $.sourceIPAddress = *111* }",
            '{ $.arrayKey[0] = "value" }',
            "{ $.objectList[1].id = 2 }",
            "{ $.eventType = %Trail% }",
            "{ $.eventType != %Tail% }",
            "{ $.arrayKey[*] = %val.{2}% }",
            r"{ $.* = %111\.111\.111\.1[0-9]{1,2}% }",
            "{ $.['cluster.name'] = \"c\" }",
            "{ $['cluster.name'] = \"c\" }",
            '{ $.detail-type = "x y" }',
            "{ $.SomeObject IS NULL }",
            "{ $.ThisFlag IS TRUE }",
            "{ $.OtherFlag IS FALSE }",
            "{ $.SomeOtherObject NOT EXISTS }",
            r'{ $.quote = "error \"message\"" }',
            '{ $.empty = "*" }',
            '{ $.empty = "" }',
            "{ $.latency > 500 }",
            "{ $.latency >= 5.12e2 }",
            "{ $.latency = * }",
            "{ $.latency < +1e3 }",
            "{ $.latency <= 512 }",
            "{ $.negative < -0.1 && $.negative >= -5e-1 }",
        ],
    )
    def test_matches(self, pattern: str) -> None:
        assert matcher(pattern)(TRAIL)

    @pytest.mark.parametrize(
        "pattern",
        [
            '{ $.eventType = "updateTrail" }',
            "{ $.eventType != *Trail }",
            "{ $.eventType = %Tail% }",
            "{ $.latency > 512 }",
            "{ $.latency < 512 }",
            "{ $.arrayKey[2] = value }",
            "{ $.arrayKey.0 = value }",
            "{ $.eventType[0] = U }",
            "{ $.SomeObject IS TRUE }",
            "{ $.eventType IS NULL }",
            "{ $.missing IS NULL }",
            "{ $.SomeObject NOT EXISTS }",
            # What is not there, or is no text and no number, meets neither = nor !=.
            "{ $.missing = x }",
            "{ $.missing != x }",
            "{ $.arrayKey = value }",
            "{ $.arrayKey != value }",
            "{ $.objectList[0] != 1 }",
            "{ $.SomeObject != x }",
            "{ $.ThisFlag = * }",
            "{ $.eventType > 1 }",
        ],
    )
    def test_does_not_match(self, pattern: str) -> None:
        assert not matcher(pattern)(TRAIL)

    @pytest.mark.parametrize(
        "pattern",
        [
            '{ $.someInt = "123" }',
            '{ $.someInt != "123.0" }',
            "{ $.someInt = 123.0 }",
            "{ $.someInt = *23 }",
            '{ $.someInt = "12*" }',
            "{ $.someFloat2 = 12 }",
            '{ $.someFloat2 != "12" }',
            "{ $.someFloat = 12.3* }",
            "{ $.someString != 111*111 }",
            "{ $.someString != 111 }",
            "{ $.digits = 123 }",
        ],
    )
    def test_numbers_compare_by_value_and_texts_as_they_stand(self, pattern: str) -> None:
        assert matcher(pattern)(VALUES)

    @pytest.mark.parametrize("pattern", ["{ $.someInt != 123 }", '{ $.someInt != "123" }', "{ $.digits > 100 }"])
    def test_and_not_otherwise(self, pattern: str) -> None:
        assert not matcher(pattern)(VALUES)

    @pytest.mark.parametrize(
        ("pattern", "expected"),
        [
            ('{ ($.user.id = 1) && ($.users[0].email = "John.Doe@example.com") }', True),
            (
                '{ $.user.email = "John.Stiles@example.com" || $.actions[0] = "no" && $.actions[2] = "no" }',
                True,
            ),
            (
                '{ ($.user.email = "John.Stiles@example.com" || $.actions[0] = "no") && $.actions[2] = "no" }',
                False,
            ),
            ('{ ($.user.id = 2 && $.users[0].email = "nonmatch") || $.actions[2] = "GET" }', False),
            ("{ ((($.user.id = 2) || ($.user.id = 1)) && $.coordinates[2][0] = 7) }", True),
            ("{ $.users[*].id = 3 }", True),
            ("{ $.users[*].id = 4 }", False),
            ("{ $.users[*].phone NOT EXISTS }", True),
        ],
    )
    def test_compound_expressions(self, pattern: str, expected: bool) -> None:
        assert matcher(pattern)(COMPOUND) is expected

    @pytest.mark.parametrize("message", ["", "plain text", '{"eventType": ', '["UpdateTrail"]', "[" * 100_000])
    def test_what_is_no_such_json_does_not_match(self, message: str) -> None:
        assert not matcher('{ $.eventType = "UpdateTrail" }')(message)
        assert not matcher('{ $.eventType != "UpdateTrail" }')(message)

    @pytest.mark.parametrize(
        ("pattern", "message"),
        [
            ("{ $.a = 1", "If a filter pattern starts with '{' it must end with '}'"),
            ("{", "If a filter pattern starts with '{' it must end with '}'"),
            ("{}", "it ends where more was expected"),
            ("{ $.a }", "it ends where more was expected"),
            ("{ $.a = }", "it ends where more was expected"),
            ("{ a = 1 }", "Invalid character(s) in term 'a'"),
            ('{ $."a" = 1 }', "Invalid character(s) in term '.\"a\"'"),
            ("{ $.a > text }", "Invalid character(s) in term 'text'"),
            ('{ $.a >= "123" }', "Invalid character(s) in term '\"123\"'"),
            ("{ $.a = 1 $.b = 2 }", "Invalid character(s) in term '$.b'"),
            ("{ $.a = 1 & $.b = 2 }", "Invalid character(s) in term '&'"),
            ("{ ($.a = 1 }", "it ends where more was expected"),
            ("{ $.a IS NOT NULL }", "Invalid character(s) in term 'IS'"),
            ("{ $.a EXISTS }", "Invalid character(s) in term 'EXISTS'"),
            ("{ $.a == 1 }", "Invalid character(s) in term '='"),
            ("{ $.a = %x% && $.b = %y% && $.c = %z% }", "more than 2 regular expressions"),
            ("{ $.*.inner[*] = x }", "more than one wildcard"),
            ("{ $.* = x || $.a.* = x || $.b.* = x || $.c.* = x }", "more than 3 wildcard selectors"),
            ("{" + "(" * 60 + "$.a = 1" + ")" * 60 + "}", "parentheses go deeper than 50"),
        ],
    )
    def test_what_cannot_be_read_is_refused(self, pattern: str, message: str) -> None:
        refused(pattern, message)


class TestSpaceDelimited:
    @pytest.mark.parametrize(
        ("pattern", "expected"),
        [
            (r"[ip=%127\.0\.0\.[1-9]%, user, username, timestamp, request =*.html*, status_code = 4*, bytes]", True),
            ("[ip, user, username, timestamp, request =*.html*, status_code = 500, bytes]", False),
            ("[ip, user, username, timestamp, request, status_code, bytes > 1000]", True),
            ("[ip, user, username, timestamp, request, status_code, bytes > 1534]", False),
            ("[ip, user, username, timestamp, request, status_code = 404.0, bytes]", True),
            ("[..., request =*.html*, status_code = 4*, bytes]", True),
            ("[..., request=*.html*, status_code=4*,]", True),
            ("[..., status_code = 4*]", False),
            ("[ip, user, ..., status_code = 404, bytes]", True),
            ("[ip, user = Prod, ...]", True),
            ("[ip, user = Test, ...]", False),
            ('[ip, user, username, timestamp = "10/Oct/2000:13:25:15 -0700", ...]', True),
            ("[..., status_code = 404 || status_code = 410, bytes]", True),
            ("[..., status_code = 4* && status_code != 404, bytes]", False),
            ("[..., (status_code = 404 || status_code = 410) && status_code < 405, bytes]", True),
            # More names than the event has fields; and as many with an ellipsis that stands for none.
            ("[ip, user, username, timestamp, request, status_code, bytes, extra]", False),
            ("[ip, user, username, timestamp, ..., request, status_code = 404, bytes]", True),
            ("[user > 1, ...]", False),
        ],
    )
    def test_a_request(self, pattern: str, expected: bool) -> None:
        assert matcher(pattern)(REQUEST) is expected

    @pytest.mark.parametrize(
        ("pattern", "expected"),
        [
            ("[w1=ERROR, w2]", [3]),
            ("[w1=ERROR || w1=WARNING, w2]", [2, 3]),
            ("[w1!=ERROR && w1!=WARNING, w2]", [0, 1]),
            ("[w1=ERROR]", []),
            ("[logLevel, date, time, method, url=%/service/resource/[0-9]+$%, response_time]", [0]),
            ("[logLevel, date, time, method, url=%/service/resource/[0-9]+/part/[0-9]+$%, response_time]", [1]),
            ("[logLevel, date, time, method, url, response_time > 1300]", [1]),
        ],
    )
    def test_terms_in_order(self, pattern: str, expected: list[int]) -> None:
        assert [index for index, message in enumerate(SERVICE) if matcher(pattern)(message)] == expected

    @pytest.mark.parametrize(
        ("pattern", "message"),
        [
            ("[w1=ERROR, w2", "If a filter pattern starts with '[' it must end with ']'"),
            ("[]", "it names no field"),
            ("[a, ..., b, ...]", "more than one ellipsis"),
            ("[a = 1 && b = 2, c]", "one field is called a and b"),
            ("[a > x]", "Invalid character(s) in term 'x'"),
            ("[a b]", "Invalid character(s) in term 'b'"),
            ("[a=%x%, b=%y%, c=%z%]", "more than 2 regular expressions"),
        ],
    )
    def test_what_cannot_be_read_is_refused(self, pattern: str, message: str) -> None:
        refused(pattern, message)


def refused(pattern: str, message: str) -> None:
    with pytest.raises(AwsError) as caught:
        matcher(pattern)
    assert caught.value.code == "InvalidParameterException"
    assert message in caught.value.message
