"""The peers of `nowcxr bench window` and `bench series`: timely dataflow and Apache Flink.

    python3 tests/peers/streams.py --nowcxr target/release/nowcxr
    python3 tests/peers/streams.py --nowcxr target/release/nowcxr --rows 500000 1000000 --durable

Builds tests/peers/timely and tests/peers/flink (needs cargo, a JDK 17 and Maven, which load what
they need by name), makes the event files, and runs every system over both in turn, several times.
A run whose answers (rows, late, outputs, accepted, sum_milli, reads) are not nowcxr's ends
everything with exit status 1: what computes something else is not compared. All systems are first
held to that on a small file.

Prints a table, and after it the same as one JSON object. Each figure is the median of the runs:

- CPU: user and system time of the whole process as the kernel counts it, parsing included.
- us/event: the slope of CPU between the small and the large file. What a run costs once, a JVM's
  start above all, is not in it; what is compiled between the two sizes still is.
- ratio: that slope over nowcxr's for the same work and store.
- peak RSS: of the large file, as /proc tells each process of itself at its end.

With --durable also nowcxr on sled, committing every 2 s, beside Flink on RocksDB with an
incremental checkpoint every 2 s; timely has no durable state. Sizes are rows; --workers is
nowcxr's --shards, timely's workers and Flink's parallelism. The machine's load is printed, since
it makes all systems slower, by caches and hardware threads that are shared, and not all alike.
"""

import argparse
import itertools
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).parent
ANSWERS = ("rows", "late", "outputs", "accepted", "sum_milli", "reads")
CHECKED_ROWS = 50_000
SEED = 1
JAVA = (
    "java -XX:+UseSerialGC -Xmx1g -XX:AutoBoxCacheMax=65536"
    " --add-opens=java.base/java.util=ALL-UNNAMED -cp"
).split()


class Wrong(Exception):
    """What ends the comparison."""


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nowcxr", required=True, help="the built program")
    parser.add_argument("--rows", type=int, nargs=2, default=[2_000_000, 8_000_000])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--jobs", nargs="+", default=["window", "series"])
    parser.add_argument("--durable", action="store_true", help="also sled beside RocksDB")
    parser.add_argument("--dir", help="where event files are kept, for the next time too")
    given = parser.parse_args()
    if given.rows[0] >= given.rows[1] or given.runs < 1:
        parser.error("--rows takes a small and a large number, --runs one above 0")
    return given


def build():
    """Both peers. Returns their commands."""
    timely = HERE / "timely"
    order = ["cargo", "build", "--quiet", "--release", "--locked"]
    subprocess.run([*order, "--manifest-path", timely / "Cargo.toml"], check=True)
    flink = HERE / "flink"
    order = ["mvn", "-q", "-B", "-f", flink / "pom.xml", "process-classes"]
    subprocess.run(order, check=True, stdout=sys.stderr)
    classes = f"{flink}/target/classes:{flink}/target/lib/*"
    return (
        [timely / "target/release/nowcxr-peer-timely"],
        [*JAVA, classes, "nowcxr.peer.Streams"],
    )


def systems(given, timely, flink):
    """Each system: its name, its store, and its command for (job, file, directory)."""
    n = str(given.workers)
    ours = lambda job, file, *more: [given.nowcxr, "bench", job, file, "--shards", n, *more]
    found = [
        ("nowcxr", "memory", lambda job, file, _: ours(job, file)),
        ("timely", "memory", lambda job, file, _: [*timely, job, file, n]),
        ("flink", "memory", lambda job, file, _: [*flink, job, file, n]),
    ]
    if given.durable:
        sled = lambda job, file, into: ours(job, file, "--store", "sled", "--dir", into)
        rocks = lambda job, file, into: [*flink, job, file, n, "rocksdb", into]
        found += [("nowcxr", "sled", sled), ("flink", "rocksdb", rocks)]
    return found


def run(command):
    """Runs it. Its JSON object, its processor and wall time, and the load before it."""
    load = os.getloadavg()[0]
    began = time.monotonic()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(
            [str(word) for word in command], stdout=out, stderr=errors, stdin=subprocess.DEVNULL
        )
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        wall = time.monotonic() - began
        out.seek(0)
        errors.seek(0)
        told = errors.read().decode(errors="replace")
        if child.returncode != 0:
            raise Wrong(f"{' '.join(child.args)} ended with {child.returncode}:\n{told}")
        answer = json.loads(out.read())
    return {
        "answer": {key: answer[key] for key in ANSWERS if key in answer},
        "cpu_s": used.ru_utime + used.ru_stime,
        "wall_s": wall,
        "peak_rss_bytes": answer["peak_rss_bytes"],
        "load": load,
    }


def measure(given, found, file, job):
    """One run of every system. Their answers are the same, or nothing is compared."""
    measured, wanted = {}, None
    for name, store, command in found:
        with tempfile.TemporaryDirectory(prefix="nowcxr-peer-") as into:
            result = run(command(job, file, into))
        wanted = wanted or result["answer"]
        if result["answer"] != wanted:
            raise Wrong(
                f"{name} ({store}) does not compute nowcxr's {job} of {file}:\n"
                f"  nowcxr {wanted}\n  {name} {result['answer']}"
            )
        measured[name, store] = result
        cpu, wall = result["cpu_s"], result["wall_s"]
        say(f"{job} {file.name} {name} {store}: CPU {cpu:.2f} s, wall {wall:.2f} s")
    return measured


def say(line):
    print(line, file=sys.stderr, flush=True)


def stream(given, directory, rows):
    """The event file of so many rows."""
    file = directory / f"events-{rows}-{SEED}.csv"
    if not file.exists():
        made = file.with_suffix(".part")
        order = [given.nowcxr, "bench", "make-stream", made, "--rows", rows, "--seed", SEED]
        subprocess.run([str(word) for word in order], check=True, stdout=subprocess.DEVNULL)
        made.rename(file)
    return file


def middle(runs, key):
    return statistics.median(run[key] for run in runs)


def figures(given, job, found, small, large):
    """The rows of the table for one job."""
    rows = []
    width = given.rows[1] - given.rows[0]
    for name, store, _ in found:
        few = [run[name, store] for run in small]
        many = [run[name, store] for run in large]
        pairs = [(b["cpu_s"] - a["cpu_s"]) * 1e6 / width for a, b in zip(few, many)]
        slope = (middle(many, "cpu_s") - middle(few, "cpu_s")) * 1e6 / width
        base = next((r for r in rows if (r["store"] == "memory") == (store == "memory")), None)
        rows.append({
            "job": job,
            "system": name,
            "store": store,
            "cpu_s": [middle(few, "cpu_s"), middle(many, "cpu_s")],
            "wall_s": [middle(few, "wall_s"), middle(many, "wall_s")],
            "us_per_event": slope,
            "us_per_event_range": [min(pairs), max(pairs)],
            "ratio": slope / base["us_per_event"] if base else 1.0,
            "peak_rss_bytes": middle(many, "peak_rss_bytes"),
            "answer": many[0]["answer"],
        })
    return rows


def table(given, rows, loads):
    sizes = " / ".join(f"{n / 1e6:g} M" for n in given.rows)
    lines = [
        f"{sizes} rows, {given.runs} runs, {given.workers} worker(s), {os.cpu_count()} CPUs, "
        f"load {min(loads):.1f}-{max(loads):.1f}; answers equal",
        "",
        "| work | system | CPU s | wall s | CPU us/event (range) | ratio | peak RSS |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        two = lambda key: " / ".join(f"{seconds:.2f}" for seconds in row[key])
        low, high = row["us_per_event_range"]
        lines.append(
            f"| {row['job']} | {row['system']}, {row['store']} | {two('cpu_s')} | {two('wall_s')} "
            f"| {row['us_per_event']:.3f} ({low:.3f}-{high:.3f}) | {row['ratio']:.2f} "
            f"| {row['peak_rss_bytes'] / 1e6:.0f} MB |"
        )
    return "\n".join(lines)


def main():
    given = arguments()
    if given.dir:
        directory = pathlib.Path(given.dir)
        directory.mkdir(parents=True, exist_ok=True)
        compare(given, directory)
        return
    with tempfile.TemporaryDirectory(prefix="nowcxr-streams-") as directory:
        compare(given, pathlib.Path(directory))


def compare(given, directory):
    found = systems(given, *build())
    checked = stream(given, directory, CHECKED_ROWS)
    for job in given.jobs:
        measure(given, found, checked, job)
    files = [stream(given, directory, rows) for rows in given.rows]
    runs = {(job, file): [] for job in given.jobs for file in files}
    for _, (job, file) in itertools.product(range(given.runs), runs):
        runs[job, file].append(measure(given, found, file, job))
    loads = [one["load"] for each in runs.values() for run in each for one in run.values()]
    rows = []
    for job in given.jobs:
        rows += figures(given, job, found, *(runs[job, file] for file in files))
    print(table(given, rows, loads))
    about = {"rows": given.rows, "runs": given.runs, "workers": given.workers}
    print(json.dumps({**about, "load": [min(loads), max(loads)], "systems": rows}))


if __name__ == "__main__":
    try:
        main()
    except (Wrong, OSError, subprocess.CalledProcessError, json.JSONDecodeError) as wrong:
        sys.exit(f"streams.py: {wrong}")
