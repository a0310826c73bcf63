"""The records in two public vocabularies: RO-Crate (Workflow Run) and W3C PROV, as JSON values.

RO-Crate 1.3 with the Process Run Crate profile: a `CreateAction` per run, its `instrument` the
code, its `object` what it read, its `result` what it made. PROV-JSON: entities, activities and
`used`, `wasGeneratedBy`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from pipeline.audit.committed import auditor
from pipeline.audit.context import Context
from pipeline.audit.run_levels import Result
from pipeline.core.files import sha256_json
from pipeline.lineage.evidence import Run
from pipeline.lineage.root import read_root

PROFILE = "https://w3id.org/ro/wfrun/process/0.6"
LICENSE = "https://spdx.org/licenses/Apache-2.0"
STATEMENT = "https://in-toto.io/Statement/v1"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
VERIFICATION_SUMMARY = "https://slsa.dev/verification_summary/v1"


def ro_crate(context: Context) -> dict[str, Any]:
    """`ro-crate-metadata.json` of the runs in scope; a folder's identifier ends in a slash."""
    from rocrate.model.contextentity import ContextEntity  # it reads 1.7 MB of vocabularies
    from rocrate.rocrate import ROCrate

    crate, runs = ROCrate(version="1.3"), list(context.runs())

    def about(identifier: str, *kinds: str, **properties: str) -> Any:
        given = {"@type": list(kinds), **properties}
        return crate.add(ContextEntity(crate, identifier, properties=given))

    items = {item.path: item for run in runs for item in (*run.inputs, *run.outputs)}
    files = {
        path: (crate.add_dataset if item.files else crate.add_file)(
            dest_path=path,
            properties={"name": path, "contentSize": str(item.bytes), "sha256": item.sha256},
        )
        for path, item in items.items()
    }
    code = {}
    for stage in dict.fromkeys(run.stage for run in runs):
        script = {"@type": ["File", "SoftwareSourceCode"], "name": f"tdn {stage}"}
        code[stage] = crate.add_file(dest_path=f"stages/{stage}.py", properties=script)
    root, actions = crate.root_dataset, []
    for run in runs:
        properties = {
            "name": run.name,
            "description": f"record {run.path}, sha256 {run.sha256}; code {sha256_json(run.code)}",
            "actionStatus": {"@id": "http://schema.org/CompletedActionStatus"},
            **{f"{kind}Time": when for kind, when in _times(context, run).items()},
        }
        read, written = ([files[item.path] for item in part] for part in (run.inputs, run.outputs))
        name = f"#run/{run.name}"
        actions.append(crate.add_action(code[run.stage], name, read, written, properties))
    root["mentions"] = actions
    root["name"] = f"tdn-bench, profile {context.work.profile}"
    root["description"] = "Video action recognition, measured again: from raw video to table cell"
    ended = [when for run in runs if (when := context.observed_end(run.name)) is not None]
    root["datePublished"] = max(ended, default="1970-01-01")
    root["license"] = about(LICENSE, "CreativeWork", name="Apache License 2.0")
    root["conformsTo"] = about(PROFILE, "CreativeWork", "Profile", name="Process Run Crate 0.6")
    if (stated := read_root(context.work)) is not None:
        value = {"propertyID": "sha256", "value": stated["root"]}
        root["identifier"] = about("#root", "PropertyValue", name="evidence root", **value)
    exported: dict[str, Any] = crate.metadata.generate()
    return exported


def prov(context: Context) -> dict[str, Any]:
    """PROV-JSON of the runs in scope."""
    used: dict[str, Any] = {}
    generated: dict[str, Any] = {}
    entities: dict[str, Any] = {}
    activities: dict[str, Any] = {}
    for run in context.runs():
        activities[f"tdn:{run.name}"] = {
            **{f"prov:{kind}Time": when for kind, when in _times(context, run).items()},
            "tdn:record_sha256": run.sha256,
            "tdn:params_sha256": sha256_json(run.params),
        }
        for kind, items in ((used, run.inputs), (generated, run.outputs)):
            for item in items:
                name = f"tdn:{item.path}@{item.sha256[:12]}"
                entities[name] = {"prov:label": item.path, "tdn:sha256": item.sha256}
                link = {"prov:activity": f"tdn:{run.name}", "prov:entity": name}
                kind[f"_:{'u' if kind is used else 'g'}{len(kind)}"] = link
    return {
        "prefix": {"tdn": f"urn:tdn-bench:{context.work.profile}:"},
        "entity": entities,
        "activity": activities,
        "used": used,
        "wasGeneratedBy": generated,
    }


def statements(result: Result) -> list[dict[str, Any]]:
    """What an audit found, in in-toto's words: a test result and a verification summary.

    Subjects are the files that a reader sees; tests are the cells with a number of ours.
    """
    context, verdict = result.context, result.verdict
    shown = [m for run in context.runs() if run.stage in _SHOWN for m in run.outputs]
    files = {f"{m.path}/{name}": d for m in shown for name, d in m.files.items()}
    files |= {m.path: m.sha256 for m in shown if not m.files}
    subject = [{"name": name, "digest": {"sha256": d}} for name, d in sorted(files.items())]
    digest, _ = auditor(context.work.root)
    policy = {"name": f"tdn-bench audit, level {int(result.level)}", "digest": {"sha256": digest}}
    root = {"name": "root of all results", "digest": {"sha256": context.everything["root"]}}
    commit = context.commit
    code = [{"name": "code and manifests", "digest": {"gitCommit": commit.name}}] if commit else []
    tests: dict[str, list[str]] = {"passedTests": [], "warnedTests": [], "failedTests": []}
    for cell, status in result.cells.items():
        good = {"ok": "passedTests", "unavailable": "warnedTests"}
        tests[good.get(status.value, "failedTests")].append(cell)
    test: dict[str, Any] = {"result": _RESULTS[verdict], "configuration": [policy, root, *code]}
    summary = {
        "verifier": {"id": "urn:tdn-bench:audit", "version": {"tdn": digest}},
        "timeVerified": datetime.now(UTC).isoformat(timespec="seconds"),
        "resourceUri": f"urn:tdn-bench:{context.work.profile}:{context.everything['root']}",
        "policy": {"uri": f"urn:tdn-bench:audit:level{int(result.level)}", **policy},
        "inputAttestations": [{"digest": root["digest"]}],
        "verificationResult": "PASSED" if verdict == "clean" else "FAILED",
        "verifiedLevels": [f"TDN_AUDIT_LEVEL_{int(result.level)}"] if verdict == "clean" else [],
    }
    predicates = ((TEST_RESULT, test | tests), (VERIFICATION_SUMMARY, summary))
    return [
        {"_type": STATEMENT, "subject": subject, "predicateType": kind, "predicate": predicate}
        for kind, predicate in predicates
    ]


_SHOWN = ("cost", "tables", "figures", "report")
_RESULTS = {"clean": "PASSED", "incomplete": "WARNED", "broken": "FAILED"}
_TIMES = {"start": "started", "end": "ended"}

FORMS: dict[str, Callable[[Context], dict[str, Any]]] = {"ro-crate": ro_crate, "prov": prov}


def _times(context: Context, run: Run) -> dict[str, str]:
    """When a run `start`ed and `end`ed, as far as that was observed."""
    about = context.evidence.observed(run.name) or {}
    return {kind: about[name] for kind, name in _TIMES.items() if about.get(name)}
