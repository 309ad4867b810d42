"""What the generator of the contract test is told on top of the document: who is asking, and ids of things that exist.

Without these nearly every generated request would end at an unknown id. Now and then a request keeps what was generated.
"""

import atexit
import collections
import json
import os
import random
import re
import threading

import requests
import schemathesis

STATE = json.loads(os.environ["CONTRACT_STATE"])
RANDOM = random.Random(STATE["seed"])
LOCK = threading.Lock()
COUNTS = collections.Counter()
ID = re.compile(r"\b([a-z]{2,3})_[0-9a-f]{32}\b")
# What a parameter of this name is the id of; `id` is that of the noun before it.
NOUNS = {
    "tenants": "org", "users": "usr", "resources": "res", "roles": "rol", "invitations": "inv", "sessions": "ses",
    "api-keys": "key", "receipts": "rcp", "migrations": "mig", "vms": "vm", "move": "mov", "export": "exp",
    "import": "imp", "uid": "usr", "role_id": "rol", "role_ids": "rol", "user_ids": "usr", "template_id": "tpl",
    "members": "usr", "tenant_id": "org", "org_id": "org", "actor": "usr",
}  # fmt: skip
# These end the caller's session when they succeed, so they get one of their own.
LAST_CALLS = {"/api/v1/auth/logout", "/api/v1/auth/password/change"}
KNOWN = collections.defaultdict(list)


def learn(text):
    for found in ID.finditer(text):
        known = KNOWN[found[1]]
        if found[0] not in known:
            known.append(found[0])


def sign_in():
    credentials = {"email": STATE["email"], "password": STATE["password"], "org_id": STATE["tenant"]}
    answer = requests.post(f"{STATE['url']}/api/v1/auth/login", json=credentials, timeout=60)
    answer.raise_for_status()
    return answer.json()["access_token"]


def caller():
    """Headers of the persona."""
    return {"X-API-Key": STATE["key"]} if "key" in STATE else {"Authorization": f"Bearer {sign_in()}"}


def mine():
    """What the persona must not lose: its tenant, its membership and its session."""
    if "key" in STATE:
        return {STATE["tenant"]}
    me = requests.get(f"{STATE['url']}/api/v1/users/me", headers=CALLER, timeout=60).json()
    sessions = requests.get(f"{STATE['url']}/api/v1/auth/sessions?limit=100", headers=CALLER, timeout=60).json()
    return {STATE["tenant"], me["id"], *(item["id"] for item in sessions["items"] if item["is_current"])}


learn(" ".join(STATE["ids"]))
CALLER = caller()
ME = mine()


def chosen(name, path, is_ending):
    """An id for the parameter, newer ones more often. What ends a thing spares the persona's own."""
    if name == "id":
        name = path.split("/{id}")[0].rsplit("/", 1)[-1]
    if name == "pid":
        return RANDOM.choice(["vm:read", "resource:read", "audit:read"])
    ids = [one for one in KNOWN[NOUNS.get(name)] if not (is_ending and one in ME)]
    return ids[-1 - min(int(RANDOM.expovariate(0.2)), len(ids) - 1)] if ids else None


def fill(value, case):
    """Puts ids into a body where its fields are named like them."""
    if not isinstance(value, dict):
        return
    for name, one in value.items():
        known = chosen(name, case.path, False) if name in NOUNS else None
        if known and isinstance(one, str):
            value[name] = known
        elif known and isinstance(one, list):
            value[name] = [known]
        elif name in ("permission_ids", "scopes") and isinstance(one, list):
            value[name] = RANDOM.sample(["vm:read", "resource:read", "audit:read", "role:read"], 2)
        elif name == "email" and isinstance(one, str):
            value[name] = f"p{RANDOM.randrange(10**6)}@contract.example"


@schemathesis.hook
def before_call(context, case, kwargs):
    with LOCK:
        is_ending = case.method in ("DELETE", "PATCH", "PUT") or "/suspend" in case.path or "/roles" in case.path
        for name in case.path_parameters or {}:
            known = chosen(name, case.path, is_ending)
            is_mine = is_ending and case.path_parameters[name] in ME
            if is_mine or (known and RANDOM.random() < 0.85):
                case.path_parameters[name] = known or "nobody"
        if RANDOM.random() < 0.5:
            fill(case.body, case)
        # Where the access token names the tenant, another one in the header is refused before anything else is looked at.
        for name in ("X-Org-ID", "If-Match", "Prefer"):
            if RANDOM.random() < 0.8:
                case.headers.pop(name, None)
        for name in ("Authorization", "X-API-Key"):
            case.headers.pop(name, None)
        if RANDOM.random() < 0.97:
            case.headers.update(caller() if case.path in LAST_CALLS else CALLER)


@schemathesis.hook
def after_call(context, case, response):
    with LOCK:
        COUNTS["cases"] += 1
        COUNTS[str(response.status_code)] += 1
        if case.path in LAST_CALLS and response.status_code == 204:
            CALLER.update(caller())
            ME.update(mine())
        if response.content and len(response.content) < 100_000:
            learn(response.content.decode("utf-8", "replace"))


@schemathesis.hook
def filter_failure(context, failure, case, response):
    with LOCK:
        COUNTS["failures"] += 1
    return True


@schemathesis.hook
def after_network_error(context, case, request):
    with LOCK:
        COUNTS["failures"] += 1


@atexit.register
def report():
    """A persona that lost its rights would have been refused everything, which is no test."""
    still = requests.get(f"{STATE['url']}/api/v1/whoami", headers=CALLER, timeout=60)
    if still.status_code != 200:
        print(f"the persona was lost: {still.text}")
        COUNTS["failures"] += 1
    with open(STATE["result"], "w", encoding="utf-8") as file:
        json.dump(COUNTS, file)
