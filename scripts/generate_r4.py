"""Write ``proxy/fhir/r4.py`` from the published FHIR R4 (4.0.1) definitions.

The definitions come from the Maven Central artifact
``ca.uhn.hapi.fhir:hapi-fhir-validation-resources-r4``, which carries HL7's own
``profiles-types.xml``, ``profiles-resources.xml`` and ``search-parameters.json``::

    mvn dependency:copy -Dartifact=ca.uhn.hapi.fhir:hapi-fhir-validation-resources-r4:8.8.0 \
        -DoutputDirectory=target
    python scripts/generate_r4.py target/hapi-fhir-validation-resources-r4-8.8.0.jar

US Core's search parameters are read from ``proxy/fhir/us-core-search-parameters.csv``.

Corrections to the published text stand in :data:`CORRECTIONS`, each with its reason.
"""

from __future__ import annotations

import csv
import json
import sys
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path
from typing import Any

NS = "{http://hl7.org/fhir}"
PROFILES = "org/hl7/fhir/r4/model/profile/"
SEARCH = "org/hl7/fhir/r4/model/sp/search-parameters.json"
HERE = Path(__file__).resolve().parent.parent
TARGET = HERE / "proxy" / "fhir" / "r4.py"
US_CORE = HERE / "proxy" / "fhir" / "us-core-search-parameters.csv"

# A StructureDefinition gives these elements a FHIRPath system type; this is the FHIR type.
SYSTEM_TYPES = {
    "http://hl7.org/fhirpath/System.String": "string",
    "http://hl7.org/fhirpath/System.Boolean": "boolean",
    "http://hl7.org/fhirpath/System.Date": "date",
    "http://hl7.org/fhirpath/System.DateTime": "dateTime",
    "http://hl7.org/fhirpath/System.Time": "time",
    "http://hl7.org/fhirpath/System.Integer": "integer",
    "http://hl7.org/fhirpath/System.Decimal": "decimal",
}

# (path -> type): Resource.id is published as a FHIRPath string; the FHIR type is `id`
# (R4, resource.html#id). Extension.url is published as a FHIRPath string; it is a `uri`.
CORRECTIONS: dict[str, str] = {"Resource.id": "id", "Extension.url": "uri"}


def value(node: ET.Element, name: str) -> str:
    """The ``value`` attribute of the named child, or the empty string."""
    child = node.find(NS + name)
    return "" if child is None else child.get("value", "")


def structures(archive: zipfile.ZipFile, name: str) -> list[ET.Element]:
    root = ET.fromstring(archive.read(PROFILES + name))
    found = []
    for entry in root.iter(NS + "entry"):
        resource = entry.find(NS + "resource")
        if resource is not None and len(resource) and resource[0].tag == NS + "StructureDefinition":
            found.append(resource[0])
    return found


def describe(definition: ET.Element) -> dict[str, Any]:
    """One StructureDefinition as ``{path: {...}}`` of its types, backbones included."""
    name, kind = value(definition, "type"), value(definition, "kind")
    base = value(definition, "baseDefinition").rsplit("/", 1)[-1]
    types: dict[str, Any] = {
        name: {
            "kind": {"primitive-type": "primitive", "complex-type": "datatype"}.get(kind, kind),
            "base": base,
            "abstract": value(definition, "abstract") == "true",
            "elements": [],
            "invariants": [],
        }
    }
    snapshot = definition.find(NS + "snapshot")
    assert snapshot is not None, name
    for node in snapshot.findall(NS + "element"):
        path = value(node, "path")
        rules = [
            (value(c, "key"), value(c, "severity"), value(c, "expression"))
            for c in node.findall(NS + "constraint")
        ]
        if "." not in path:
            types[name]["invariants"] += rules
            continue
        parent, local = path.rsplit(".", 1)
        reference = value(node, "contentReference").lstrip("#")
        codes = []
        for t in node.findall(NS + "type"):
            code = value(t, "code")
            codes.append(CORRECTIONS.get(base_path(path, name), SYSTEM_TYPES.get(code, code)))
        if not reference and codes and codes[0] in ("BackboneElement", "Element"):
            types[path] = {
                "kind": "backbone",
                "base": codes[0],
                "abstract": False,
                "elements": [],
                "invariants": rules,
            }
            codes = [path]
        if reference:
            codes = [reference]
        if kind == "primitive-type" and local == "value":
            continue
        maximum = value(node, "max")
        types[parent]["elements"].append(
            (
                local,
                tuple(codes),
                int(value(node, "min") or 0),
                -1 if maximum == "*" else int(maximum),
                bool(reference),
            )
        )
    return types


def base_path(path: str, name: str) -> str:
    local = path.rsplit(".", 1)[-1]
    if local == "id" and path.count(".") == 1 and name[0].isupper() and name not in ELEMENT_TYPES:
        return "Resource.id"
    return path


ELEMENT_TYPES: set[str] = set()


def search_parameters(archive: zipfile.ZipFile) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for entry in json.loads(archive.read(SEARCH))["entry"]:
        p = entry["resource"]
        rows.append(
            (
                p["code"],
                p["url"],
                tuple(p["base"]),
                p["type"],
                p.get("expression", ""),
                tuple(sorted(p.get("target", ()))),
                tuple((c["definition"], c["expression"]) for c in p.get("component", ())),
            )
        )
    known = {(b, r[0]) for r in rows for b in r[2]}
    with US_CORE.open(newline="") as f:
        for row in csv.DictReader(f):
            if (row["base"], row["code"]) in known or row["code"] in ("_id", "_lastUpdated"):
                continue
            rows.append(
                (row["code"], row["url"], (row["base"],), row["type"], row["expression"], (), ())
            )
    return sorted(rows, key=lambda r: (r[1], r[0]))


def main(jar: str) -> None:
    with zipfile.ZipFile(jar) as archive:
        types: dict[str, Any] = {}
        sources = structures(archive, "profiles-types.xml")
        for definition in sources:
            if value(definition, "kind") != "resource" and value(definition, "derivation") in (
                "",
                "specialization",
            ):
                ELEMENT_TYPES.add(value(definition, "type"))
        for definition in sources + structures(archive, "profiles-resources.xml"):
            if value(definition, "derivation") == "constraint":
                # Age, Count, Distance, Duration, MoneyQuantity and SimpleQuantity are profiles of
                # Quantity in the definitions and types of their own in the specification.
                if value(definition, "name") not in ("Age", "Count", "Distance", "Duration"):
                    continue
                name = value(definition, "name")
                quantity = describe(definition)["Quantity"]
                types[name] = {**quantity, "base": "Quantity"}
                continue
            if value(definition, "kind") != "logical":
                types.update(describe(definition))
        parameters = search_parameters(archive)
    lines = [
        '"""GENERATED by scripts/generate_r4.py from the FHIR R4 (4.0.1) definitions; do not edit.',
        "",
        "``TYPES``: every primitive, datatype, resource and backbone element, its elements in the",
        "specification's order. ``SEARCH_PARAMETERS``: R4's, and those that US Core adds.",
        '"""',
        "",
        "from typing import NamedTuple",
        "",
        "",
        "class Element(NamedTuple):",
        '    """One element: ``types`` are type codes, or the path of a backbone element."""',
        "",
        "    name: str",
        "    types: tuple[str, ...]",
        "    min: int",
        "    max: int  # -1: unbounded",
        "    recursive: bool  # defined by contentReference",
        "",
        "",
        "class Type(NamedTuple):",
        '    """One type; ``invariants`` are (key, severity, FHIRPath) of the type itself."""',
        "",
        "    kind: str  # primitive | datatype | resource | backbone",
        "    base: str",
        "    abstract: bool",
        "    elements: tuple[Element, ...]",
        "    invariants: tuple[tuple[str, str, str], ...]",
        "",
        "",
        "class SearchParameter(NamedTuple):",
        '    """One search parameter; ``components`` are (definition URL, expression)."""',
        "",
        "    code: str",
        "    url: str",
        "    bases: tuple[str, ...]",
        "    type: str",
        "    expression: str",
        "    targets: tuple[str, ...]",
        "    components: tuple[tuple[str, str], ...]",
        "",
        "",
        "_E, _S = Element, SearchParameter",
        "",
        "TYPES: dict[str, Type] = {",
    ]
    for name in sorted(types):
        t = types[name]
        lines.append(f"    {name!r}: Type(")
        lines.append(f"        {t['kind']!r}, {t['base']!r}, {t['abstract']!r},")
        lines.append("        (")
        lines += [f"            _E{e!r}," for e in t["elements"]]
        lines.append("        ),")
        lines.append(f"        {tuple(t['invariants'])!r},")
        lines.append("    ),")
    lines += ["}", "", "SEARCH_PARAMETERS: tuple[SearchParameter, ...] = ("]
    lines += [f"    _S{row!r}," for row in parameters]
    lines += [")", ""]
    TARGET.write_text("\n".join(lines))


if __name__ == "__main__":
    main(*sys.argv[1:])
