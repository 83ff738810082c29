"""Generated cases, and what US Core's searches look for beyond what case reports hold."""

from __future__ import annotations

from collections.abc import Sequence

from proxy.demo.build import array, coding, concept, extension
from proxy.demo.generator import Case, data_set
from proxy.demo.names import BASE, CORE, SNOMED, THO
from proxy.demo.story import Story
from proxy.fhir.codec import Json, JsonObject


def charted(cases: Sequence[Case]) -> list[JsonObject]:
    """All resources of the cases in load order, their charts filled in."""
    stories = {case.story.id("Patient", "patient"): case.story for case in cases}
    found = data_set(cases)
    for resource in found:
        story = stories.get(_patient(resource))
        if story is not None:
            _ADDED.get(str(resource["resourceType"]), _nothing)(resource, story)
    return found


def _patient(resource: JsonObject) -> str:
    subject = resource.get("subject")
    target = subject.get("reference") if isinstance(subject, dict) else None
    return str(target).removeprefix("Patient/")


def _nothing(resource: JsonObject, story: Story) -> None:
    """Charts of other types stay as they are."""


def _visit(story: Story) -> Json:
    return {"reference": story.ref("Encounter", "encounter")}


def _condition(resource: JsonObject, story: Story) -> None:
    resource["encounter"] = _visit(story)
    resource["abatementDateTime"] = story.day(20)
    asserted = extension(BASE + "condition-assertedDate", valueDateTime=story.day(0))
    resource["extension"] = [*array(resource.get("extension", [])), asserted]


def _encounter(resource: JsonObject, story: Story) -> None:
    home = concept(THO + "discharge-disposition", "home", "Home")
    resource["hospitalization"] = {"dischargeDisposition": home}


def _request(resource: JsonObject, story: Story) -> None:
    resource["encounter"] = _visit(story)


def _dispense(resource: JsonObject, story: Story) -> None:
    resource["type"] = {"coding": [coding(THO + "v3-ActCode", "FF", "First Fill")]}


def _plan(resource: JsonObject, story: Story) -> None:
    system = CORE.replace("StructureDefinition/", "CodeSystem/") + "careplan-category"
    resource["category"] = [{"coding": [coding(system, "assess-plan")]}]


def _team(resource: JsonObject, story: Story) -> None:
    role = concept(SNOMED, "17561000", "Cardiologist (occupation)")
    resource["participant"] = [{"role": [role]}]


def _goal(resource: JsonObject, story: Story) -> None:
    resource["target"] = [{"dueDate": story.day(30)}]


def _note(resource: JsonObject, story: Story) -> None:
    resource["context"] = {"period": {"start": story.time(0), "end": story.time(2)}}


_ADDED = {
    "Condition": _condition,
    "Encounter": _encounter,
    "MedicationRequest": _request,
    "MedicationDispense": _dispense,
    "CarePlan": _plan,
    "CareTeam": _team,
    "Goal": _goal,
    "DocumentReference": _note,
}
