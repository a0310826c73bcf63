"""The records in two public vocabularies: RO-Crate (Workflow Run) and W3C PROV, as JSON values.

RO-Crate 1.1 with the Process Run Crate profile: a `CreateAction` per run, its `instrument` the
code, its `object` what it read, its `result` what it made. PROV-JSON: entities, activities and
`used`, `wasGeneratedBy`. Written by hand: with rocrate 0.16 the first would be about 25
lines shorter and need two more packages; a test holds it against the rules instead.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from pipeline.audit.committed import auditor
from pipeline.audit.context import Context
from pipeline.audit.run_levels import Result
from pipeline.core.files import sha256_json
from pipeline.lineage.evidence import Artefact, Run
from pipeline.lineage.root import read_root

PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
SPECIFICATION = "https://w3id.org/ro/crate/1.1"
LICENSE = "https://spdx.org/licenses/Apache-2.0"
STATEMENT = "https://in-toto.io/Statement/v1"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
VERIFICATION_SUMMARY = "https://slsa.dev/verification_summary/v1"


def ro_crate(context: Context) -> dict[str, Any]:
    """`ro-crate-metadata.json` of the runs in scope; a folder's identifier ends in a slash."""
    runs = list(context.runs())
    files = {item.path: item for run in runs for item in (*run.inputs, *run.outputs)}
    actions = [_action(context, run) for run in runs]
    ended = [when for run in runs if (when := context.observed_end(run.name)) is not None]
    root: dict[str, Any] = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"tdn-bench, profile {context.work.profile}",
        "description": "Video action recognition, measured again: from raw video to table cell",
        "license": {"@id": LICENSE},
        "datePublished": max(ended, default="1970-01-01"),
        "conformsTo": {"@id": PROFILE},
        "hasPart": [{"@id": _id(item)} for item in files.values()],
        "mentions": [{"@id": action["@id"]} for action in actions],
    }
    if (stated := read_root(context.work)) is not None:
        about = {"propertyID": "sha256", "value": stated["root"]}
        root["identifier"] = {"@id": "#root"}
        extra = [{"@id": "#root", "@type": "PropertyValue", "name": "evidence root", **about}]
    else:
        extra = []
    descriptor = {
        "@id": "ro-crate-metadata.json",
        "@type": "CreativeWork",
        "conformsTo": {"@id": SPECIFICATION},
        "about": {"@id": "./"},
    }
    profile = {"@id": PROFILE, "@type": "CreativeWork", "name": "Process Run Crate"}
    terms = {"@id": LICENSE, "@type": "CreativeWork", "name": "Apache License 2.0"}
    code = {run.stage: _software(run) for run in runs}
    entities = [*(_file(item) for item in files.values()), *actions, *code.values(), *extra]
    return {
        "@context": f"{SPECIFICATION}/context",
        "@graph": [descriptor, profile, terms, root, *entities],
    }


def prov(context: Context) -> dict[str, Any]:
    """PROV-JSON of the runs in scope."""
    used: dict[str, Any] = {}
    generated: dict[str, Any] = {}
    entities: dict[str, Any] = {}
    activities: dict[str, Any] = {}
    for run in context.runs():
        about = context.evidence.observed(run.name) or {}
        times = {f"prov:{k}Time": about[v] for k, v in _TIMES.items() if about.get(v)}
        activities[f"tdn:{run.name}"] = {
            **times,
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


def _action(context: Context, run: Run) -> dict[str, Any]:
    about = context.evidence.observed(run.name) or {}
    times = {f"{k}Time": about[v] for k, v in _TIMES.items() if about.get(v)}
    return {
        "@id": f"#run/{run.name}",
        "@type": "CreateAction",
        "name": run.name,
        "description": f"record {run.path}, sha256 {run.sha256}",
        "instrument": {"@id": f"#code/{run.stage}"},
        "object": [{"@id": _id(item)} for item in run.inputs],
        "result": [{"@id": _id(item)} for item in run.outputs],
        "actionStatus": {"@id": "http://schema.org/CompletedActionStatus"},
        **times,
    }


def _software(run: Run) -> dict[str, Any]:
    return {
        "@id": f"#code/{run.stage}",
        "@type": "SoftwareApplication",
        "name": f"tdn {run.stage}",
        "version": sha256_json(run.code)[:12],
    }


def _file(item: Artefact) -> dict[str, Any]:
    kind = "Dataset" if item.files else "File"
    about = {"contentSize": str(item.bytes), "sha256": item.sha256}
    return {"@id": _id(item), "@type": kind, "name": item.path, **about}


def _id(item: Artefact) -> str:
    return quote(f"{item.path}/" if item.files else item.path)
