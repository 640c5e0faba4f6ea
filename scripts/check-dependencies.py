#!/usr/bin/env python3
"""Holds the dependency graph against deny.toml: licences, banned crates, duplicate versions, sources.

Does what `cargo deny check bans licenses sources` does with the same file, but in a second, without building
anything and without a network once the crates are downloaded. Exit 0: clean. 1: something is not allowed.
2: deny.toml or the graph cannot be read.
"""
import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
TOKEN = re.compile(r"\s*([()]|[A-Za-z0-9.+:-]+|/)")


def permits(expression, allowed):
    """Whether an SPDX licence expression can be satisfied with the allowed licences alone.

    >>> permits("MIT", {"MIT"})
    True
    >>> permits("MIT OR Apache-2.0", {"Apache-2.0"})
    True
    >>> permits("MIT AND BSD-3-Clause", {"MIT"})
    False

    AND binds tighter than OR, whichever comes first; parentheses win over both.

    >>> permits("MIT OR GPL-3.0-only AND ISC", {"MIT"}), permits("GPL-3.0-only AND ISC OR MIT", {"MIT"})
    (True, True)
    >>> permits("(MIT OR GPL-3.0-only) AND ISC", {"MIT"}), permits("(MIT OR GPL-3.0-only) AND ISC", {"MIT", "ISC"})
    (False, True)

    A licence with an exception is a licence of its own. Cargo's old slash means OR.

    >>> permits("Apache-2.0 WITH LLVM-exception", {"Apache-2.0"})
    False
    >>> permits("Apache-2.0 WITH LLVM-exception OR MIT", {"MIT"})
    True
    >>> permits("Apache-2.0 WITH LLVM-exception", {"Apache-2.0 WITH LLVM-exception"})
    True
    >>> permits("MIT/Apache-2.0", {"Apache-2.0"}), permits("Unlicense / MIT", {"ISC"})
    (True, False)

    What does not parse is an error, not a licence.

    >>> permits("MIT OR", {"MIT"})
    Traceback (most recent call last):
    ValueError: 'MIT OR' ends too early
    >>> permits("MIT ISC", {"MIT"})
    Traceback (most recent call last):
    ValueError: 'MIT ISC' has 'ISC' where an operator should be
    >>> permits("(MIT", {"MIT"})
    Traceback (most recent call last):
    ValueError: '(MIT' lacks a closing parenthesis
    """
    tokens, end = [], 0
    while expression[end:].strip():
        match = TOKEN.match(expression, end)
        if not match:
            raise ValueError(f"{expression!r} is not an SPDX expression")
        tokens.append("OR" if match[1] == "/" else match[1])
        end = match.end()
    tokens.reverse()

    def either():
        result = both()
        while tokens and tokens[-1] == "OR":
            tokens.pop()
            result = both() or result
        return result

    def both():
        result = one()
        while tokens and tokens[-1] == "AND":
            tokens.pop()
            result = one() and result
        return result

    def one():
        word = next_token()
        if word == "(":
            result = either()
            if not tokens or tokens.pop() != ")":
                raise ValueError(f"{expression!r} lacks a closing parenthesis")
            return result
        if word in (")", "AND", "OR", "WITH"):
            raise ValueError(f"{expression!r} has {word!r} where a licence should be")
        if tokens and tokens[-1] == "WITH":
            tokens.pop()
            word = f"{word} WITH {next_token()}"
        return word in allowed

    def next_token():
        if not tokens:
            raise ValueError(f"{expression!r} ends too early")
        return tokens.pop()

    result = either()
    if tokens:
        raise ValueError(f"{expression!r} has {tokens[-1]!r} where an operator should be")
    return result


def matches(spec, name, version):
    """Whether deny.toml's `name`, `name@1.2.3` (exactly) or `name:1.2` (compatible with) means this crate.

    >>> matches("syn", "syn", "2.0.1"), matches("syn", "synstructure", "2.0.1")
    (True, False)
    >>> matches("rand@0.9.5", "rand", "0.9.5"), matches("rand@0.9.5", "rand", "0.9.6")
    (True, False)
    >>> matches("syn:2", "syn", "2.0.119"), matches("syn:2", "syn", "20.0.0"), matches("base64:0.22", "base64", "0.23.1")
    (True, False, False)
    """
    crate, mark, wanted = re.fullmatch(r"([\w-]+)(?:([@:])([\d.]+))?", spec).groups()
    if crate != name:
        return False
    if mark == "@":
        return version == wanted
    return mark is None or f"{version}.".startswith(f"{wanted}.")


def violations(policy, packages, users):
    """Everything in the graph that the policy does not allow, as text; `users` maps an id to those that need it.

    >>> registry = {"source": "registry+https://index"}
    >>> crates = [
    ...     {"id": 1, "name": "good", "version": "1.0.0", "license": "MIT", **registry},
    ...     {"id": 2, "name": "good", "version": "2.0.0", "license": "MIT", **registry},
    ...     {"id": 3, "name": "viral", "version": "1.0.0", "license": "GPL-3.0-only", **registry},
    ...     {"id": 4, "name": "unwanted", "version": "1.0.0", "license": "MIT", "source": "git+https://fork"},
    ... ]
    >>> policy = {
    ...     "licenses": {"allow": ["MIT"]},
    ...     "sources": {"allow-registry": ["https://index"]},
    ...     "bans": {"deny": [{"crate": "unwanted", "reason": "no"}], "skip": [{"crate": "old:1", "reason": "was"}]},
    ... }
    >>> print("\\n".join(violations(policy, crates, defaultdict(set, {4: {"good"}}))))
    licence: viral 1.0.0 is under GPL-3.0-only
    source: unwanted 1.0.0 comes from git+https://fork
    banned: unwanted 1.0.0, needed by good: no
    duplicate: good in versions 1.0.0, 2.0.0; deny.toml gives no reason
    deny.toml: bans.skip entry old:1 is not needed any more
    >>> policy["bans"] = {"deny": [], "skip": [{"crate": "good:1", "reason": "someone is late"}]}
    >>> list(violations(policy, crates[:2], defaultdict(set)))
    []
    """
    allowed = set(policy["licenses"]["allow"])
    registries = {f"registry+{url}" for url in policy["sources"]["allow-registry"]}
    banned, skips = policy["bans"]["deny"], policy["bans"]["skip"]
    versions, unused = defaultdict(list), {skip["crate"] for skip in skips}
    for package in packages:
        name, version = package["name"], package["version"]
        label = f"{name} {version}"
        try:
            if not permits(package["license"] or "", allowed):
                yield f"licence: {label} is under {package['license']}"
        except ValueError as error:
            yield f"licence: {label} states no usable SPDX expression: {error}"
        if package["source"] is not None and package["source"] not in registries:
            yield f"source: {label} comes from {package['source']}"
        for ban in banned:
            strangers = sorted(users[package["id"]] - set(ban.get("wrappers", [])))
            if matches(ban["crate"], name, version) and (strangers or not users[package["id"]]):
                yield f"banned: {label}, needed by {', '.join(strangers) or 'nobody'}: {ban['reason']}"
        skip = next((skip["crate"] for skip in skips if matches(skip["crate"], name, version)), None)
        versions[name].append((version, skip))
    for name, found in sorted(versions.items()):
        counted = [version for version, skip in found if skip is None]
        if len(counted) > 1:
            yield f"duplicate: {name} in versions {', '.join(sorted(counted))}; deny.toml gives no reason"
        if len(found) > 1:
            unused -= {skip for _, skip in found}
    for skip in skips:
        if not skip.get("reason"):
            yield f"deny.toml: bans.skip entry {skip['crate']} gives no reason"
    for crate in sorted(unused):
        yield f"deny.toml: bans.skip entry {crate} is not needed any more"


def graph(targets):
    """The packages that any of the targets needs, and who needs each."""
    packages, users = {}, defaultdict(set)
    for target in targets:
        command = ["cargo", "metadata", "--locked", "--format-version=1", f"--filter-platform={target}"]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
        metadata = json.loads(done.stdout)
        known = {package["id"]: package for package in metadata["packages"]}
        for node in metadata["resolve"]["nodes"]:
            packages[node["id"]] = known[node["id"]]
            for dependency in node["deps"]:
                users[dependency["pkg"]].add(known[node["id"]]["name"])
    return list(packages.values()), users


def main():
    try:
        policy = tomllib.loads((ROOT / "deny.toml").read_text(encoding="utf-8"))
        packages, users = graph(policy["graph"]["targets"])
    except (OSError, ValueError, KeyError, subprocess.CalledProcessError) as error:
        print(f"check-dependencies: {error}", file=sys.stderr)
        return 2
    found = list(violations(policy, packages, users))
    for line in found:
        print(line, file=sys.stderr)
    print(f"{len(packages)} packages for {len(policy['graph']['targets'])} targets: {len(found)} violations")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
