#!/usr/bin/env python3
"""Measures the engine through `mp3converter convert`, against the `ffmpeg` command in the same run.

Usage: engine.py BINARY [SECTION...]      sections: speed latency copy bytes memory flat (default: all, some of which take minutes)

Pairs alternate, the median pair decides, and all pairs are printed: these figures are ratios, for machines are noisy. CPU time
is user and system time of a process with all it waited for. Media is made once and kept in .cache/bench.
"""

import array
import json
import math
import operator
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from memory import curl, memory_bytes

CACHE = pathlib.Path(__file__).parent.parent / ".cache" / "bench"
PAIRS = 7
MEMORY_SAMPLE_SECONDS = 0.02
# Chords that come and go over pink noise: tones, transients and quiet places, as music has.
SOUND = (
    "sine=f=220:r=48000,tremolo=f=0.5:d=0.9[a];sine=f=554.37:r=48000,tremolo=f=3:d=0.7[b];sine=f=3322:r=48000,tremolo=f=0.2:d=1[c];"
    "anoisesrc=c=pink:a=0.4:r=48000:seed=7,tremolo=f=2:d=0.95[d];anoisesrc=c=white:a=0.05:r=48000:seed=8[e];"
    "[a][d]amix=2:normalize=0[l];[b][c][e]amix=3:normalize=0[r];[l][r]join=inputs=2:channel_layout=stereo,volume=0.7"
)

misses = []


def run(arguments, **keywords):
    return subprocess.run([str(argument) for argument in arguments], check=True, **keywords)


def ffmpeg(*arguments):
    run(["ffmpeg", "-nostdin", "-v", "error", "-y", *arguments])


def timed(arguments):
    """Wall and CPU seconds of a command."""
    begun = time.monotonic()
    process = subprocess.Popen([str(argument) for argument in arguments], stderr=subprocess.PIPE)
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"error: {arguments[0]} failed: {errors.decode(errors='replace')}")
    return time.monotonic() - begun, usage.ru_utime + usage.ru_stime


def judge(name, value, required, better="at most", aim=None, unit=""):
    held = value <= required if better == "at most" else value >= required
    aimed = f", aim {aim}" if aim is not None else ""
    print(f"  {name}: {value:.3g}{unit} ({better} {required}{unit}{aimed}) {'ok' if held else 'MISSED'}")
    if not held:
        misses.append(name)


def made(name, make):
    """A file of .cache/bench, made by `make(path)` when it is not there yet."""
    path = CACHE / name
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"part-{name}")
        make(part)
        part.rename(path)
    return path


def sound(seconds, codec=("-c:a", "aac", "-b:a", "160k"), suffix="m4a"):
    return made(f"sound-{seconds}.{suffix}", lambda path: ffmpeg("-filter_complex", SOUND, "-t", seconds, *codec, path))


def picture(size, rate, bits, seconds=10):
    noise = f"testsrc2=size={size}:rate={rate}:duration={seconds},noise=alls=60:allf=t"
    rates = ("-b:v", bits, "-minrate", bits, "-maxrate", bits, "-bufsize", bits)
    return made(
        f"picture-{size}-{rate}-{bits}.mp4",
        lambda path: ffmpeg("-f", "lavfi", "-i", noise, "-c:v", "libx264", "-preset", "ultrafast", *rates, path),
    )


def video(name, of_picture, of_sound, seconds, *options):
    """A picture and a sound, each repeated without encoding until they fill the time."""
    inputs = ("-stream_loop", -1, "-i", of_picture, "-stream_loop", -1, "-i", of_sound)
    return made(name, lambda path: ffmpeg(*inputs, "-map", "0:v", "-map", "1:a", "-c", "copy", "-t", seconds, *options, path))


def repeated(name, of_sound, seconds, codec="copy"):
    """A sound alone, repeated until it fills the time."""
    return made(name, lambda path: ffmpeg("-stream_loop", -1, "-i", of_sound, "-c", codec, "-t", seconds, path))


def kbps(mp3):
    """The bitrate of the whole file without its ID3v2 tag."""
    data = mp3.read_bytes()
    begin = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(data[6:10], (21, 14, 7, 0))) if data[:3] == b"ID3" else 0
    seconds = run(["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", mp3], capture_output=True, text=True)
    return (len(data) - begin) * 8 / float(seconds.stdout) / 1000


def lowpass_hz(mp3):
    """The highest frequency of an MP3 of white noise that is not 30 dB below the noise, in steps of a DFT of 1024 samples."""
    decode = ["ffmpeg", "-nostdin", "-v", "error", "-i", mp3, "-ac", "1", "-ar", "48000", "-f", "f32le", "-"]
    samples = array.array("f", run(decode, capture_output=True).stdout)
    blocks = [samples[begin : begin + 1024] for begin in range(4096, 4096 + 60 * 1024, 1024)]

    def power(step):
        cosines = [math.cos(2 * math.pi * step * i / 1024) * (1 - math.cos(2 * math.pi * i / 1024)) for i in range(1024)]
        sines = [math.sin(2 * math.pi * step * i / 1024) * (1 - math.cos(2 * math.pi * i / 1024)) for i in range(1024)]
        return sum(sum(map(operator.mul, block, cosines)) ** 2 + sum(map(operator.mul, block, sines)) ** 2 for block in blocks)

    floor = statistics.mean(power(step) for step in range(100, 200, 10)) / 1000
    return next(step for step in range(511, 0, -1) if power(step) > floor) * 48000 / 1024


def speed(binary, scratch):
    source = video("ten-minutes.mp4", picture("1280x720", 25, "2M"), sound(600), 600)
    noise = made("noise.wav", lambda path: ffmpeg("-f", "lavfi", "-i", "anoisesrc=r=48000:a=0.3:seed=9:duration=5", path))
    print(f"speed: ten minutes of 720p H.264 and AAC, {source.stat().st_size / 2**20:.0f} MiB, {PAIRS} pairs")
    for name, ours, theirs in (
        ("CBR 128", ("--bitrate", 128), ("-b:a", "128k")),
        ("VBR V2", ("--vbr", 2), ("-q:a", 2)),
    ):
        our_mp3, their_mp3 = scratch / "ours.mp3", scratch / "theirs.mp3"
        walls, cpus = [], []
        for _ in range(PAIRS):
            our_wall, our_cpu = timed([binary, "convert", source, our_mp3, *ours])
            their_wall, their_cpu = timed(["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", source, "-vn", "-c:a", "libmp3lame", *theirs, their_mp3])
            walls.append(our_wall / their_wall)
            cpus.append(our_cpu / their_cpu)
            print(f"    wall {our_wall:6.2f} / {their_wall:6.2f} s = {walls[-1]:.3f}   CPU {our_cpu:6.2f} / {their_cpu:6.2f} s = {cpus[-1]:.3f}")
        judge(f"{name} wall", statistics.median(walls), 0.55, aim=0.50)
        judge(f"{name} CPU", statistics.median(cpus), 1.08, aim=1.00)
        judge(f"{name} bitrate apart", abs(kbps(our_mp3) / kbps(their_mp3) - 1) * 100, 1, unit=" %")
        run([binary, "convert", noise, our_mp3, *ours])
        run(["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", noise, "-c:a", "libmp3lame", *theirs, their_mp3])
        judge(f"{name} lowpass apart", abs(lowpass_hz(our_mp3) - lowpass_hz(their_mp3)), 0, unit=" Hz")


def copy(binary, scratch):
    mp3 = sound(600, ("-c:a", "libmp3lame", "-b:a", "128k"), "mp3")
    source = video("hour-of-mp3.avi", picture("640x360", 25, "400k"), mp3, 3600)
    print(f"copy: an hour of MP3 in an AVI of {source.stat().st_size / 2**20:.0f} MiB")
    out = scratch / "out.mp3"
    copied = statistics.median(timed([binary, "convert", source, out])[0] for _ in range(5))
    encoded, _ = timed([binary, "convert", source, out, "--vbr", 2])
    print(f"    copied in {copied:.2f} s, encoded in {encoded:.2f} s")
    judge("times faster than encoding", encoded / copied, 20, "at least")


def latency(binary, scratch):
    """A short job on a warm suite, from the claim to the MP3 recorded, against the encode alone: the same file from its first
    byte to the last of its MP3, in a child that is ready."""
    clip = video("five-seconds.mp4", picture("640x360", 25, "400k"), sound(600), 5)
    encode = statistics.median(report(binary, clip, scratch)["took_seconds"] for _ in range(15))
    settings = {"MP3_DATA_DIR": scratch / "data", "MP3_LISTEN": "127.0.0.1:0", "MP3_OPS_LISTEN": "127.0.0.1:0", "LOG_FORMAT": "json",
                "MP3_ADMIN_EMAIL": "bench@localhost", "MP3_ADMIN_PASSWORD": "of no use to anybody"}
    log = scratch / "serve.log"
    with log.open("w") as sink:
        server = subprocess.Popen([binary, "serve"], env={**os.environ, **{name: str(value) for name, value in settings.items()}}, stdout=sink, stderr=sink)
    try:
        def wait_for(pattern, count=1):
            for _ in range(1200):
                found = re.findall(pattern, log.read_text())
                if len(found) >= count:
                    return found
                time.sleep(0.05)
            sys.exit(f"error: nothing like {pattern} in the log:\n{log.read_text()[-2000:]}")

        base = wait_for(r"listening on (http://[0-9.:]+)")[0]
        token = curl("-X", "POST", "-u", "bench@localhost:of no use to anybody", f"{base}/login")
        took = r'"outcome":"converted".*?"took_seconds":([0-9.e-]+)'
        for count in range(1, 22):
            curl("-H", f"Authorization: Bearer {token}", "-F", f"file=@{clip}", f"{base}/upload")
            jobs = [float(seconds) for seconds in wait_for(took, count)]
    finally:
        server.terminate()
        server.wait()
    warm = statistics.median(jobs[1:])
    print(f"latency: five seconds of MP4; the encode takes {encode * 1000:.0f} ms, the first job {jobs[0] * 1000:.0f} ms, a warm one {warm * 1000:.0f} ms")
    judge("a warm job above the encode", (warm - encode) * 1000, 60, unit=" ms")


def report(binary, source, scratch, *options):
    """What `convert --report` says of one conversion."""
    answer = run([binary, "convert", source, scratch / "out.mp3", "--report", *options], capture_output=True, text=True)
    return json.loads(answer.stderr.strip().splitlines()[-1])


def bytes_read(binary, scratch):
    print("bytes: what the engine reads of an MP4")
    heavy, light, tone = picture("1920x1080", 30, "30M", 4), picture("1280x720", 30, "4M"), sound(600)
    for name, source, required in (
        ("30 Mbit/s in one-second runs", video("runs.mp4", heavy, tone, 60, "-chunk_duration", 1000000), 2),
        ("30 Mbit/s as ffmpeg muxes it", video("heavy.mp4", heavy, tone, 60), 10),
        ("4 Mbit/s as ffmpeg muxes it", video("light.mp4", light, tone, 60), 15),
        ("4 Mbit/s with its index in front", video("front.mp4", light, tone, 60, "-movflags", "+faststart"), 15),
    ):
        found = report(binary, source, scratch)
        judge(name, found["bytes_read"] / found["source_bytes"] * 100, required, unit=" %")


def peak_mib(arguments):
    """The peak of memory of a command with its children, in MiB."""
    process, peak = subprocess.Popen([str(argument) for argument in arguments]), 0
    while process.poll() is None:
        peak = max(peak, memory_bytes(process.pid))
        time.sleep(MEMORY_SAMPLE_SECONDS)
    if process.returncode != 0:
        sys.exit(f"error: {arguments[0]} failed")
    return peak / 2**20


def memory(binary, scratch):
    print("memory: proportional set size of parent and child, MiB")
    small, big, tone = picture("640x360", 25, "400k"), picture("1280x720", 30, "5M"), sound(600)
    mp2 = sound(600, ("-c:a", "mp2", "-b:a", "160k"), "mp2")
    mp3 = sound(600, ("-c:a", "libmp3lame", "-b:a", "128k"), "mp3")
    opus = sound(600, ("-c:a", "libopus", "-b:a", "128k"), "ogg")
    pcm = sound(600, ("-c:a", "pcm_s16le"), "wav")
    wide = picture("320x180", 60, "100k")
    for name, source, required in (
        ("an hour of MP4, 2 GiB", video("hour.mp4", big, tone, 3600), 96),
        ("an hour of Matroska", video("hour.mkv", small, tone, 3600), 96),
        ("an hour of WebM sound in Matroska", video("hour-opus.mkv", small, opus, 3600), 96),
        ("an hour of MPEG-TS", video("hour.ts", small, mp2, 3600), 96),
        ("an hour of AVI", video("hour.avi", small, mp2, 3600), 96),
        ("an hour of MP3 in AVI, copied", video("hour-of-mp3.avi", small, mp3, 3600), 96),
        ("an hour of MP3, copied", repeated("hour.mp3", mp3, 3600), 96),
        ("an hour of WAV", repeated("hour.wav", pcm, 3600), 96),
        ("an hour of FLAC", repeated("hour.flac", pcm, 3600, "flac"), 96),
        ("an hour of uncompressed sound in MOV", video("hour.mov", small, pcm, 3600), 96),
        ("an hour of fragmented MP4", video("hour-fragmented.mp4", small, tone, 3600, "-movflags", "frag_keyframe+empty_moov"), 96),
        ("ten hours of 60 fps MP4", video("ten-hours.mp4", wide, tone, 36000), 256),
    ):
        print(f"    {name}: {source.stat().st_size / 2**20:.0f} MiB")
        judge(name, peak_mib([binary, "convert", source, scratch / "out.mp3"]), required, unit=" MiB")


def flat(binary, scratch):
    print("flat: cost per minute of audio, VBR V2")
    small, tone = picture("640x360", 25, "400k"), sound(600)
    costs = []
    for seconds in (10, 60, 600, 3600, 36000):
        source = video(f"flat-{seconds}.mp4", small, tone, seconds)
        wall, cpu = min((timed([binary, "convert", source, scratch / "out.mp3"]) for _ in range(3 if seconds <= 600 else 1)), key=lambda pair: pair[1])
        costs.append(cpu / seconds * 60)
        print(f"    {seconds:>6} s: wall {wall:7.2f} s, CPU {cpu:7.2f} s, {costs[-1]:.3f} CPU seconds a minute")
    judge("dearest against cheapest", max(costs) / min(costs), 1.25)


SECTIONS = {"speed": speed, "latency": latency, "copy": copy, "bytes": bytes_read, "memory": memory, "flat": flat}


def main():
    binary, *chosen = sys.argv[1:]
    with tempfile.TemporaryDirectory(dir=os.environ.get("SCRATCH", "/var/tmp")) as scratch:
        for name in chosen or SECTIONS:
            SECTIONS[name](pathlib.Path(binary).resolve(), pathlib.Path(scratch))
    if misses:
        sys.exit("missed: " + ", ".join(misses))


if __name__ == "__main__":
    main()
