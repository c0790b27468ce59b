"""A path that is not there is told as such, and not as a model that nobody knows."""

from typing import Any

import pytest

from aitor.broker.policy import POLICIES, Step
from aitor.errors import AuthenticationError, LLMError, ModelNotFoundError
from aitor.laws.breaker import Verdict

from .test_classify import anthropic, openai, refused

PATH = "the path was not found: see 'base_url'"
MODEL = "no such model for this key: see 'model' and 'base_url'"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b"<html><h1>404 Not Found</h1></html>"),
        (404, b"404 page not found"),
        (404, b""),
        (404, {"detail": "Not Found"}),
        (404, {"status": 404, "error": "Not Found", "path": "/chat/completions"}),
        (404, {"error": {"code": "404", "message": "Resource not found"}}),
        (404, openai("Invalid URL (POST /v2/x)", "invalid_request_error")),
        (404, anthropic("not_found_error", "Not found")),
        (405, b"<html>405 Not Allowed</html>"),
        (405, {"detail": "Method Not Allowed"}),
    ],
)
def test_a_wrong_path_is_told_as_one(status: int, body: Any) -> None:
    error = refused(status, body)
    assert error.message.startswith(f"{PATH} ({status}")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, {"error": "model 'llama9' not found"}),
        (404, {"error": {"code": "DeploymentNotFound", "message": "None."}}),
        (404, {"error": {"message": "No such deployment."}}),
        (404, {"error": {"status": "NOT_FOUND", "code": 404, "message": "gpt-9"}}),
        (404, openai("The model `gpt-9` does not exist", "invalid_request_error")),
        (404, anthropic("not_found_error", "model: claude-9")),
        (410, b""),
    ],
)
def test_a_model_that_is_not_there_is_told_as_one(status: int, body: Any) -> None:
    assert refused(status, body).message.startswith(MODEL)


def test_a_body_that_tells_of_something_else_is_heard() -> None:
    said = "Your credit balance is too low to access the API."
    assert "no credit is left" in refused(404, openai(said)).message


def test_another_provider_is_asked_and_no_circuit_opens() -> None:
    """Here it would be the same again, and its other models may be well."""
    error: LLMError = refused(404, b"<html></html>")
    assert type(error) is ModelNotFoundError
    policy = POLICIES[error.outcome]
    assert policy.step is Step.OVER
    assert policy.verdict is Verdict.IGNORED


def test_a_proxy_that_wants_a_password_is_told_as_one() -> None:
    error = refused(407, b"")
    assert type(error) is AuthenticationError
    assert error.message.startswith("the proxy refused to pass it on: see the proxy")
