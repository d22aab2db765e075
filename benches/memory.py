#!/usr/bin/env python3
"""Uploads, converts and downloads a large video against the running stack and prints the peaks of memory.

Memory of a service is the proportional set size (PSS, /proc/PID/smaps_rollup) of its process and all its descendants,
plus the shared-memory pages (tmpfs, memfd) they hold open, sampled every 50 ms. Usage: memory.py STACK.json [GIBIBYTES]
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time

LIMITS_MIB = {"gateway": 64, "converter": 128}
SAMPLE_SECONDS = 0.05


def descendants(root):
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = pathlib.Path("/proc", entry, "stat").read_text()
            except OSError:
                continue
            children.setdefault(int(stat.rsplit(")", 1)[1].split()[1]), []).append(int(entry))
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting.extend(children.get(pid, []))
    return found


def memory_bytes(root):
    total, seen = 0, set()
    for pid in descendants(root):
        try:
            rollup = pathlib.Path("/proc", str(pid), "smaps_rollup").read_text()
            total += 1024 * int(re.search(r"^Pss:\s+(\d+)", rollup, re.M).group(1))
            for link in pathlib.Path("/proc", str(pid), "fd").iterdir():
                target = os.readlink(link)
                if target.startswith(("/memfd:", "/dev/shm/", "/run/")):
                    status = os.stat(link)
                    if (status.st_dev, status.st_ino) not in seen:
                        seen.add((status.st_dev, status.st_ino))
                        total += 512 * status.st_blocks
        except OSError:
            continue
    return total


class Sampler(threading.Thread):
    def __init__(self, pids):
        super().__init__(daemon=True)
        self.pids, self.peaks, self.samples = pids, dict.fromkeys(pids, 0), 0
        self.phase_peaks = {}
        self.phase = "idle"

    def run(self):
        while True:
            for name, pid in self.pids.items():
                used = memory_bytes(pid)
                self.peaks[name] = max(self.peaks[name], used)
                key = (self.phase, name)
                self.phase_peaks[key] = max(self.phase_peaks.get(key, 0), used)
            self.samples += 1
            time.sleep(SAMPLE_SECONDS)


def curl(*arguments, **keywords):
    return subprocess.run(["curl", "-sS", "--fail-with-body", *arguments], check=True, capture_output=True, text=True, **keywords).stdout


def make_video(path, size_bytes):
    """Ten seconds of noisy picture and sound, repeated without encoding until the file is large enough."""
    piece = path.with_name("piece.mp4")
    noise = "testsrc2=size=1280x720:rate=30:duration=10,noise=alls=100:allf=t"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", noise, "-f", "lavfi", "-i", "anoisesrc=duration=10:amplitude=0.3",
         "-c:v", "libx264", "-preset", "ultrafast", "-b:v", "30M", "-maxrate", "30M", "-bufsize", "30M", "-c:a", "aac", "-b:a", "160k", piece],
        check=True,
    )
    repeats = max(0, -(-size_bytes // piece.stat().st_size) - 1)
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-stream_loop", str(repeats), "-i", piece, "-c", "copy", path], check=True)
    piece.unlink()


def main():
    stack = json.loads(pathlib.Path(sys.argv[1]).read_text())
    size_bytes = int(float(sys.argv[2] if len(sys.argv) > 2 else 1) * 2**30)
    base, login = stack["gateway_url"], f'{stack["email"]}:{stack["password"]}'
    sampler = Sampler({name: stack["pids"][name] for name in LIMITS_MIB})
    with tempfile.TemporaryDirectory(dir=os.environ.get("SCRATCH", "/var/tmp")) as scratch:
        video, mp3 = pathlib.Path(scratch, "video.mp4"), pathlib.Path(scratch, "video.mp3")
        make_video(video, size_bytes)
        print(f"video: {video.stat().st_size / 2**20:.0f} MiB")
        sampler.start()
        time.sleep(1)
        token = curl("-X", "POST", "-u", login, f"{base}/login")
        bearer = ("-H", f"Authorization: Bearer {token}")
        timings = {}

        def phase(name):
            timings[name] = time.monotonic()
            sampler.phase = name

        phase("upload")
        headers = pathlib.Path(scratch, "headers")
        curl(*bearer, "-D", headers, "-F", f"file=@{video}", f"{base}/upload")
        job = re.search(r"(?im)^x-job-id: (\S+)", headers.read_text()).group(1)
        phase("convert")
        while True:
            record = json.loads(curl(*bearer, f"{base}/api/v1/jobs/{job}"))
            if record["state"] in ("done", "failed", "dead"):
                break
            time.sleep(0.2)
        if record["state"] != "done":
            sys.exit(f"error: the job ended {record['state']}: {record['reason']}")
        phase("download")
        curl(*bearer, "-o", mp3, f"{base}/download?fid={record['mp3_fid']}")
        phase("end")
        print(f"mp3: {mp3.stat().st_size / 2**20:.0f} MiB")
        names = list(timings)
        for begun, ended in zip(names, names[1:]):
            seconds = timings[ended] - timings[begun]
            print(f"{begun:<10} {seconds:7.1f} s")

    over = False
    print(f"{'service':<10} {'limit MiB':>9} {'peak MiB':>9}   by phase")
    for name, limit in LIMITS_MIB.items():
        peak = sampler.peaks[name] / 2**20
        over |= peak > limit
        phases = ", ".join(f"{phase} {used / 2**20:.1f}" for (phase, service), used in sampler.phase_peaks.items() if service == name)
        print(f"{name:<10} {limit:>9} {peak:>9.1f}   {phases}")
    print(f"{sampler.samples} samples")
    sys.exit(1 if over else 0)


if __name__ == "__main__":
    main()
