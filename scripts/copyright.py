#!/usr/bin/env python3
"""Prints the copyright file of the package: every crate and every bundled C library that is linked into the single process,
with its holders, its licence, and the text of each licence once."""

import json
import pathlib
import re
import subprocess
import textwrap

LICENCE_FILE = re.compile(r"^(licen[cs]e|copying|copyright|notice|unlicense)([.-].*)?$", re.IGNORECASE)
HOLDER = re.compile(r"^\W*(copyright\b.*(\d{4}|\(c\)|©).*|©.*)$", re.IGNORECASE)
# How deep a crate's folder is searched: C libraries that it bundles have their terms beside their sources.
DEPTH = 3
FFMPEG = pathlib.Path(".cache/ffmpeg/copyright")


def output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def linked_crates():
    """The crates linked into the program, as (name, version, licence, authors, folder)."""
    tree = output("cargo", "tree", "--locked", "--package", "standalone", "--edges", "normal,no-proc-macro",
                  "--prefix", "none", "--no-dedupe", "--format", "{p}")
    linked = {tuple(line.split()[:2]) for line in tree.splitlines() if line}
    packages = json.loads(output("cargo", "metadata", "--locked", "--format-version", "1"))["packages"]
    for package in sorted(packages, key=lambda package: (package["name"], package["version"])):
        is_linked = (package["name"], "v" + package["version"]) in linked
        if is_linked and package["source"]:
            folder = pathlib.Path(package["manifest_path"]).parent
            yield package["name"], package["version"], package["license"] or "see below", package["authors"], folder


def licence_files(folder):
    for path in sorted(folder.rglob("*")):
        if len(path.relative_to(folder).parts) <= DEPTH and LICENCE_FILE.match(path.name) and path.is_file():
            yield path


def words_of(text):
    """A licence's words without the names of who grants it, to tell equal ones."""
    lines = [line for line in text.splitlines() if not HOLDER.match(line.strip())]
    return " ".join(" ".join(lines).split()).lower()


def main():
    texts = {}
    print("mp3converter\n\nCopyright: the mp3converter authors\nLicense: MIT OR Apache-2.0\n")
    print("Linked into it, each under its own terms; the texts follow. The engine contains LAME and FFmpeg, which are LGPL:")
    print("their sources are those of the crate mp3lame-sys and of Debian's package ffmpeg, unchanged.\n")
    for name, version, licence, authors, folder in linked_crates():
        holders, numbers = [], []
        for path in licence_files(folder):
            text = path.read_text(encoding="utf-8", errors="replace")
            # A line with a place to fill in belongs to the licence's own text.
            holders += [line.strip() for line in text.splitlines() if HOLDER.match(line.strip()) and "<year>" not in line and "[yyyy]" not in line]
            numbers.append(texts.setdefault(words_of(text), (len(texts) + 1, text))[0])
        print(f"{name} {version}\n License: {licence}")
        for holder in dict.fromkeys(holders or authors or ["the authors of " + name]):
            print(" " + textwrap.shorten(holder, 200))
        print(f" Texts: {', '.join(map(str, sorted(set(numbers))))}\n" if numbers else "")
    for number, text in texts.values():
        print(f"---- Text {number} ----\n\n{text.strip()}\n")
    if FFMPEG.exists():
        print(f"---- FFmpeg, as Debian packages it ----\n\n{FFMPEG.read_text(encoding='utf-8').strip()}")


main()
