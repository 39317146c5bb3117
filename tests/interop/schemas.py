#!/usr/bin/env python3
"""Reports and recipes against their published schemas, by the `jsonschema` package.

    tests/interop/schemas.py --work FOLDER      with the reports that report_page.py left in FOLDER

The schemas themselves are held against their metaschema, every recipe of `recipes/` and the reports of an optimization, a
comparison and a search against theirs, and documents with a fault must be refused.
"""

import argparse
import copy
import json
import sys
import tomllib
from pathlib import Path

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

DOCS, RECIPES = Path("docs"), Path("recipes")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", required=True, type=Path)
    work = parser.parse_args().work
    schemas = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in DOCS.glob("*.schema.json")}
    registry = Registry().with_resources((name, Resource.from_contents(schema)) for name, schema in schemas.items())
    validators = {}
    for name, schema in schemas.items():
        Draft202012Validator.check_schema(schema)
        validators[name] = Draft202012Validator(schema, registry=registry)

    documents, failed = [], 0
    for kind in ("optimized", "compared"):
        documents.append(("report.schema.json", f"{kind}/report.json", json.loads((work / kind / "report.json").read_text(encoding="utf-8"))))
    searched = json.loads((work / "searched/report.json").read_text(encoding="utf-8"))
    documents.append(("search.schema.json", "searched/report.json", searched))
    for path in sorted(RECIPES.glob("*.toml")):
        documents.append(("recipe.schema.json", str(path), tomllib.loads(path.read_text(encoding="utf-8"))))
    for schema, name, document in documents:
        for error in validators[schema].iter_errors(document):
            failed += 1
            print(f"FAILED: {name}: {error.json_path}: {error.message[:300]}", file=sys.stderr)

    def refused(schema, document, change):
        nonlocal failed
        broken = copy.deepcopy(document)
        change(broken)
        if validators[schema].is_valid(broken):
            failed += 1
            print(f"FAILED: a fault in {schema} was not seen", file=sys.stderr)

    optimized, compared = documents[0][2], documents[1][2]
    refused("report.schema.json", optimized, lambda d: d.pop("certificate"))
    refused("report.schema.json", optimized, lambda d: d.update(schema="gravure.comparison/1"))
    refused("report.schema.json", optimized, lambda d: d["certificate"].update(plan_sha256="0"))
    refused("report.schema.json", compared, lambda d: d["artifacts"][0].update(tensor_bytes=-1))
    refused("search.schema.json", searched, lambda d: d.pop("front"))
    refused("search.schema.json", searched, lambda d: d["front"][0]["files"][0].update(sha256="0"))
    refused("search.schema.json", searched, lambda d: d["trials"][0].update(outcome="lost"))
    refused("search.schema.json", searched, lambda d: d["space"]["parameters"][0]["domain"].update(kind="colour"))
    refused("recipe.schema.json", {"budget": {"max-size": "4MB"}}, lambda d: d.update(speed=3))
    refused("recipe.schema.json", {"budget": {"max-size": "4MB"}}, lambda d: d["budget"].update({"max-size": "4 loaves"}))
    print(f"schemas: {len(documents)} documents, {failed} failures")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
