"""Prints what the service model of an installed botocore says, as JSON.

The form is the one of `kindred_types::shapes::describe`: operation -> input, output, errors; shapes
with name, kind, constraints, and everything below them. Documentation and client traits are left
out. Exits with 3 if botocore cannot be imported.
"""

import json
import sys

try:
    import botocore
    import botocore.session
except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit(3)


def describe(shapes, name):
    shape = shapes[name]
    facts = {
        "name": name,
        "kind": shape["type"],
        "min": shape.get("min"),
        "max": shape.get("max"),
        "pattern": shape.get("pattern"),
        "one_of": shape.get("enum", []),
        "sensitive": shape.get("sensitive", False),
    }
    if shape["type"] == "structure":
        required = shape.get("required", [])
        facts["members"] = {
            member: {
                "required": member in required,
                "shape": describe(shapes, reference["shape"]),
            }
            for member, reference in shape["members"].items()
        }
    elif shape["type"] == "list":
        facts["element"] = describe(shapes, shape["member"]["shape"])
    elif shape["type"] == "map":
        facts["key"] = describe(shapes, shape["key"]["shape"])
        facts["value"] = describe(shapes, shape["value"]["shape"])
    return facts


def main():
    loader = botocore.session.get_session().get_component("data_loader")
    model = loader.load_service_model("personalize", "service-2")
    shapes = model["shapes"]
    operations = {}
    for name, operation in model["operations"].items():
        output = operation.get("output")
        operations[name] = {
            "input": describe(shapes, operation["input"]["shape"]),
            "output": describe(shapes, output["shape"]) if output else None,
            "errors": sorted({error["shape"] for error in operation["errors"]}),
        }
    json.dump({"version": botocore.__version__, "operations": operations}, sys.stdout)


main()
