#!/usr/bin/env python3
"""Holds what is compiled for the single process: no crate in two versions, and none both for the program and for the
build itself (build scripts and procedural macros), without a reason in the lists below. Each costs every cold build."""

import re
import subprocess
import sys

PKCS12 = "lapin reads client certificates (PKCS #12) with the generation before, in its TLS, which it lets nobody else bring"
BINDGEN = "bindgen, which reads FFmpeg's headers"
# Crate: why it is there in two versions.
TWO_VERSIONS = {
    "base64": "lettre is a generation ahead",
    "block-buffer": PKCS12,
    "const-oid": PKCS12,
    "cpufeatures": PKCS12,
    "crypto-common": PKCS12,
    "digest": PKCS12,
    "hmac": PKCS12,
    "pbkdf2": PKCS12,
    "sha1": PKCS12,
    "sha2": "lapin's PKCS #12 and sqlx's core have the generation before",
    "getrandom": "one for each generation of rand; the oldest is a macro's of the MongoDB driver",
    "hashbrown": "sqlx has the generation before",
    "nom": "bindgen's parser of C and lapin's of certificates have 7, lapin's of AMQP has 8",
    "rand": "hickory and lapin are a generation ahead of the MongoDB driver",
    "rand_core": "as rand",
    "syn": "macros are changing to 3 one by one",
    "synstructure": "as syn",
    "untrusted": "aws-lc-rs has another one than rustls-webpki",
}
# Crate: who uses it in the build, beside its use in the program.
TWICE = {
    "bitflags": BINDGEN,
    "cfg-if": "bindgen, and whatever finds random numbers",
    "either": BINDGEN,
    "libc": "cc and bindgen, which start compilers",
    "macro_magic": "the MongoDB driver's macros",
    "memchr": BINDGEN,
    "minimal-lexical": BINDGEN,
    "nom": BINDGEN,
    "num-conv": "time's macros",
    "once_cell": "the MongoDB driver's macros",
    "regex-automata": BINDGEN,
    "regex-syntax": BINDGEN,
    "rustc_version": "derive_more; the MongoDB driver tells the server which compiler it had",
    "semver": "as rustc_version",
    "strsim": "darling, of the MongoDB driver's macros",
    "time-core": "time's macros",
    "unicode-segmentation": "convert_case, of derive_more's macros",
}

LINE = re.compile(r"^(?P<indent>(?:[|` ]   |[|`]-- )*)(?P<name>\S+) v(?P<version>\S+)(?P<macro> \(proc-macro\))?")
SECTION = re.compile(r"^(?P<indent>(?:[|` ]   |[|`]-- )*)\[build-dependencies\]")
INDENT = 4


def compiled():
    """Two sets of (crate, version): compiled for the program, and for the build."""
    tree = subprocess.run(
        ["cargo", "tree", "--locked", "--package", "standalone", "--edges", "normal,build", "--no-dedupe", "--charset", "ascii"],
        check=True, stdout=subprocess.PIPE, text=True).stdout
    program, build = set(), set()
    # For each level above: whether it is of the build; and whether what follows at a level is a build dependency.
    of_build, section = [], {}
    for line in tree.splitlines():
        if found := SECTION.match(line):
            section[len(found["indent"]) // INDENT + 1] = True
            continue
        found = LINE.match(line)
        if not found:
            sys.exit(f"crates: cannot read this line of `cargo tree`: {line}")
        level = len(found["indent"]) // INDENT
        section = {at: is_build for at, is_build in section.items() if at <= level}
        del of_build[level:]
        is_build = bool(found["macro"]) or section.get(level, False) or any(of_build)
        of_build.append(is_build)
        (build if is_build else program).add((found["name"], found["version"]))
    return program, build


def main():
    program, build = compiled()
    versions = {}
    for name, version in program | build:
        versions.setdefault(name, set()).add(version)
    several = {name for name, found in versions.items() if len(found) > 1}
    twice = {name for name, _ in program & build}
    complaints = [f"`{name}` is compiled in versions {', '.join(sorted(versions[name]))}" for name in sorted(several - set(TWO_VERSIONS))]
    complaints += [f"`{name}` is compiled for the program and for the build" for name in sorted(twice - set(TWICE))]
    complaints += [f"`{name}` is in a list, and need not be any more"
                   for name in sorted((set(TWO_VERSIONS) - several) | (set(TWICE) - twice))]
    for complaint in complaints:
        print(f"crates: {complaint}", file=sys.stderr)
    if complaints:
        sys.exit("crates: say in scripts/check-crates.py why, or be rid of it: cargo tree --package standalone --invert CRATE")
    print(f"crates: {len(program)} for the program, {len(build)} for the build, none twice without a reason")


main()
