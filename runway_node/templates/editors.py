"""What editors are told of templates: a JSON Schema, made of the very models that check them."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from .declared import NAME, TYPES
from .steps import KINDS
from .template import Template


def schema() -> dict[str, Any]:
    """The JSON Schema of a template, for editors: wherever a value may stand, so may `${var}`."""
    made = TypeAdapter(Template).json_schema(by_alias=True)
    steps = {kind.__name__ for kind in KINDS.values()}
    use = {"type": "string", "pattern": r"^\$\{" + NAME + r"\}$"}
    for name, kind in made.get("$defs", {}).items():
        if name not in {type_.__name__ for type_ in TYPES.values()}:
            kind["properties"] = {
                key: value if key == "id" or (key == "type" and name in steps) else {"anyOf": [value, use]}
                for key, value in kind.get("properties", {}).items()
            }
    fields = made["properties"]
    fields["steps"]["items"] = _by_type(fields["steps"]["items"])
    fields["vars"]["additionalProperties"] = _by_type(fields["vars"]["additionalProperties"])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "runway_node template", **made}


def _by_type(union: dict[str, Any]) -> dict[str, Any]:
    """The union as one schema that the type decides: of a plain one, editors can only say that nothing fits."""
    kinds = union["discriminator"]["mapping"]
    chosen = [
        {"if": {"properties": {"type": {"const": name}}, "required": ["type"]}, "then": {"$ref": ref}}
        for name, ref in kinds.items()
    ]
    return {"type": "object", "required": ["type"], "properties": {"type": {"enum": list(kinds)}}, "allOf": chosen}
