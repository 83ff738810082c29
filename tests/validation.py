"""What HAPI's ``$validate`` says of a resource, without what an offline server cannot know."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping

# Findings about definitions that the server does not hold, or that are advice. What remains after
# these is a finding about base R4.
UNKNOWABLE = (
    "Profile reference",  # … has not been checked because it could not be found
    "Invalid profile",
    "Unknown extension",
    "CodeSystem is unknown",
    "dom-6",  # a resource should have narrative
    "Best Practice Recommendation",
)
SEVERE = frozenset({"error", "fatal"})


def validate(hapi: str, resource: Mapping[str, object]) -> list[str]:
    """The errors of ``POST [base]/[type]/$validate``, each as ``location: message``, sorted.

    ``hapi``: base URL. Empty: the resource is valid base R4 as far as an offline server can tell.
    Raises ``urllib.error.URLError`` if the server does not answer with an OperationOutcome.
    """
    request = urllib.request.Request(
        f"{hapi}/{resource['resourceType']}/$validate",
        data=json.dumps(resource).encode(),
        headers={"Content-Type": "application/fhir+json", "Accept": "application/fhir+json"},
    )
    with urllib.request.urlopen(request, timeout=120) as response:
        outcome = json.load(response)
    if outcome.get("resourceType") != "OperationOutcome":
        raise ValueError("$validate answered without an OperationOutcome")
    return sorted(
        f"{(issue.get('expression') or issue.get('location') or ['?'])[0]}: {issue['diagnostics']}"
        for issue in outcome["issue"]
        if issue["severity"] in SEVERE
        and not any(words in issue.get("diagnostics", "") for words in UNKNOWABLE)
    )
