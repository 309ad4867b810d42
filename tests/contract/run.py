"""The contract test (scripts/contract-test): an owner, a viewer and an API key send requests that Schemathesis generates
from the served document, each in a tenant of its own, and every answer is held against the document.

Checked of every answer: no 5xx, a status that the document states, its content type, its headers and its schema. One
line for each role tells how many requests were sent and how many answers were wrong.

run.py URL WORK_FOLDER
"""

import collections
import json
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import requests

HERE = Path(__file__).resolve().parent
URL, WORK = sys.argv[1], Path(sys.argv[2])
PASSWORD = "correct horse battery staple"
# A tenth of what a tenant can allow: it reads and makes resources, and reads machines.
SCOPES = ["resource:read", "resource:create", "resource:update", "resource:delete", "vm:read"]
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance"
)
# Beyond this a role's run is given up, in seconds.
BOUND = 1800


def call(method, path, body=None, token=None, status=None, **headers):
    if token:
        headers["Authorization"] = f"Bearer {token}"
    answer = requests.request(method, f"{URL}/api/v1{path}", json=body, headers=headers, timeout=60)
    if answer.status_code != status:
        sys.exit(f"{method} {path} was answered with {answer.status_code}: {answer.text}")
    return answer.json() if answer.content else None


def register(email):
    """Somebody whose address is proved: the mail that the worker logs has the link."""
    call("POST", "/auth/register", person(email) | {"password": PASSWORD}, status=201)
    token = sign_in(email)
    identity = call("GET", "/users/me", token=token, status=200)["id"]
    call("POST", "/auth/verify-email", {"token": link_for(identity)}, status=204)
    return identity


def person(email):
    return {"email": email, "first_name": "Ada", "last_name": "Lovelace"}


def link_for(identity):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for line in (WORK / "worker.log").read_text().splitlines():
            found = re.search(r"#token=([\w-]+)", line)
            if found and identity in line:
                return found[1]
        time.sleep(0.05)
    sys.exit(f"no mail to {identity} in the worker's log")


def sign_in(email, tenant=None):
    credentials = {"email": email, "password": PASSWORD} | ({"org_id": tenant} if tenant else {})
    return call("POST", "/auth/login", credentials, status=200)["access_token"]


def found(name):
    """A tenant with one of everything, and its owner."""
    email = f"owner@{name}.example"
    register(email)
    new = call("POST", "/tenants", {"name": name}, sign_in(email), 201, Prefer="wait=20")
    token = sign_in(email, new["id"])
    template = call("GET", "/vm-templates", token=token, status=200)[0]["id"]
    roles = {role["name"]: role["id"] for role in call("GET", "/roles", token=token, status=200)}
    call("POST", "/resources", {"type": "disk", "name": "fast", "attributes": {}}, token, 201)
    machine = {"name": "web-1", "source_type": "template", "template_id": template}
    call("POST", "/vms", machine | {"cpu": 1, "memory_gb": 1, "disk_gb": 10}, token, 202)
    call("POST", "/roles", {"name": "Night shift", "permission_ids": ["vm:read"]}, token, 201)
    call("POST", "/invitations", {"email": f"carl@{name}.example", "role_ids": [roles["viewer"]]}, token, 201)
    return {"email": email, "tenant": new["id"], "token": token, "roles": roles}


def as_owner():
    owner = found("contract-owner")
    return {"tenant": owner["tenant"], "email": owner["email"]}, owner


def as_viewer():
    owner = found("contract-viewer")
    email = "viewer@contract-viewer.example"
    register(email)
    call("POST", "/users", person(email) | {"role_ids": [owner["roles"]["viewer"]]}, owner["token"], 201)
    return {"tenant": owner["tenant"], "email": email}, owner


def as_key():
    owner = found("contract-key")
    wanted = {"name": "contract", "owner": "tenant", "scopes": SCOPES}
    key = call("POST", "/api-keys", wanted, owner["token"], 201)["key"]
    return {"tenant": owner["tenant"], "key": key}, owner


def known_ids(owner):
    """Ids of everything that a tenant has, as its owner sees them."""
    paths = "/resources /vms /roles /invitations /api-keys /users /auth/sessions /tenants /vm-templates /audit-log"
    seen = [json.dumps(call("GET", path, token=owner["token"], status=200)) for path in paths.split()]
    return sorted(set(re.findall(r"\b[a-z]{2,3}_[0-9a-f]{32}\b", " ".join(seen))))


def play(role, persona, ids, cases, seed):
    """Sends rounds of requests until there were enough; the counts of all rounds together."""
    total = collections.Counter()
    began, n_round = time.monotonic(), 0
    left_out = [line.split()[0] for line in (HERE / "left_out.txt").read_text().splitlines() if line[:1] not in ("", "#")]
    n_operations = sum(len(item) for item in requests.get(f"{URL}/openapi.json", timeout=10).json()["paths"].values())
    while total["cases"] < cases and time.monotonic() - began < BOUND:
        missing = cases - total["cases"]
        result = WORK / f"{role}-{n_round}.json"
        state = persona | {"url": URL, "password": PASSWORD, "ids": ids, "seed": seed + n_round, "result": str(result)}
        # What every parameter can be wrong in is tried once, in the first round of a long run.
        phases = "examples,coverage,fuzzing" if n_round == 0 and cases >= 1000 else "fuzzing"
        command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml")]
        command += ["run", f"{URL}/openapi.json", "--url", URL]
        command += ["--phases", phases, "--checks", CHECKS, "--seed", str(seed + n_round), "--no-shrink", "--no-color"]
        command += ["--max-examples", str(-(-missing // n_operations)), "--generation-database", "none"]
        command += ["--continue-on-failure", "--suppress-health-check", "all", "--warnings", "off"]
        command += ["--request-timeout", "40"]
        for operation in left_out:
            command += ["--exclude-operation-id", operation]
        environment = os.environ | {
            "SCHEMATHESIS_HOOKS": "hooks",
            "PYTHONPATH": str(HERE),
            "CONTRACT_STATE": json.dumps(state),
        }
        with open(WORK / f"{role}-{n_round}.log", "w", encoding="utf-8") as log:
            status = subprocess.run(command, env=environment, cwd=WORK, stdout=log, stderr=log, check=False).returncode
        if status not in (0, 1) or not result.exists():
            sys.exit(f"schemathesis gave up:\n{Path(log.name).read_text()[-3000:]}")
        counts = json.loads(result.read_text())
        total.update(counts)
        if status == 1:
            total["failed rounds"] += 1
            print(Path(log.name).read_text(), flush=True)
        n_round += 1
        if counts.get("cases", 0) == 0:
            break
    total["seconds"] = round(time.monotonic() - began)
    return total


def main():
    cases = int(os.environ.get("CONTRACT_CASES") or (300 if os.environ.get("CONTRACT_SHORT") else 10_000))
    seed = int(os.environ.get("CONTRACT_SEED") or random.randrange(2**31))
    wanted = (os.environ.get("CONTRACT_ROLES") or "owner,viewer,key").split(",")
    print(f"contract test: {cases} requests for each role, CONTRACT_SEED={seed}", flush=True)
    made = {"owner": as_owner, "viewer": as_viewer, "key": as_key}
    ids, lines, is_whole = [], [], True
    for role in wanted:
        persona, owner = made[role]()
        # Ids of the tenants before stay among them: those are foreign now.
        ids += known_ids(owner)
        counts = play(role, persona, ids, cases, seed)
        answers = " ".join(f"{counts[key]} x {key}" for key in sorted(counts) if key.isdigit())
        lines.append(
            f"{role}: {counts['cases']} cases, {counts['failures']} failures, {counts['seconds']} s ({answers})"
        )
        print(lines[-1], flush=True)
        is_whole &= counts["failures"] == 0 and counts["failed rounds"] == 0 and counts["cases"] >= cases
    print(f"\ncontract test, CONTRACT_SEED={seed}:\n" + "\n".join(lines))
    sys.exit(0 if is_whole else 1)


main()
