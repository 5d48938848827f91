"""`python -m city build|push|replay|roster|truth`: the simulated city from the command line."""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import httpx

from city.build import build
from city.doors import Caller, Credentials, Refused
from city.gate import BUSIEST_DAY
from city.push import CALL_SECONDS, KINDS, Progress, push_city, words_of
from city.replay import Replay
from city.roster import GATE, SITE, roster_of
from city.simulation import PEOPLE, SEED, TODAY, City
from city.truth import compute


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except (Refused, httpx.HTTPError, OSError, ValueError) as error:
        sys.stderr.write(f"city: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="city", description="一座模拟城市 · a simulated city")
    commands = parser.add_subparsers(required=True)

    def command(name: str, help_text: str, run: Any, *, online: bool = False) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help_text)
        added.set_defaults(run=run)
        added.add_argument("--seed", type=int, default=SEED, help="同一种子同一城市 · same seed, same city")
        if online:
            added.add_argument("--base-url", required=True, help="套件地址 · the suite's address")
            added.add_argument(
                "--clients", type=Path, required=True, help="密钥目录 · folder of the clients' key files"
            )
            added.add_argument(
                "--progress-json", action="store_true", help="逐行 JSON 进度 · progress as JSON lines"
            )
        return added

    def sized(added: argparse.ArgumentParser) -> argparse.ArgumentParser:
        added.add_argument("--people", type=int, default=PEOPLE, help="人口 · how many people")
        added.add_argument(
            "--today", type=date.fromisoformat, default=TODAY, help="模拟的今天 · the city's today"
        )
        return added

    sized(command("build", "写成文件 · write it as files", _build)).add_argument(
        "--out", type=Path, required=True
    )
    sized(command("roster", "所需客户端与账号 · clients and accounts it needs", _roster))
    sized(command("truth", "真值 · the truth about it", _truth))
    pushing = sized(command("push", "推送到各服务 · push it through the doors", _push, online=True))
    pushing.add_argument(
        "--only", action="append", choices=KINDS, help="仅推送此类, 可重复 · only this; may be repeated"
    )
    pushing.add_argument(
        "--skip", action="append", choices=KINDS, default=[], help="跳过此类 · leave this out"
    )
    pushing.add_argument("--truth", type=Path, help="真值文件 · where to write the truth")
    replaying = command("replay", "回放一天客流 · replay a day of gate counts", _replay, online=True)
    replaying.add_argument("--day", type=date.fromisoformat, default=BUSIEST_DAY, help="哪一天 · which day")
    replaying.add_argument("--speed", type=float, default=60.0, help="倍速 · how many times as fast")
    replaying.add_argument(
        "--stay",
        action="store_true",
        help="闭园后继续上报 · go on after closing time, until stopped",
    )
    return parser


def _city(options: argparse.Namespace) -> City:
    return City(people=options.people, seed=options.seed, today=options.today)


def _print(value: Any) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def _build(options: argparse.Namespace) -> int:
    began = time.monotonic()
    counts = build(_city(options), options.out)["counts"]
    sys.stdout.write(
        f"已写入 {options.out} · written: {counts['fhir']['entries']:,} FHIR 条目 entries, "
        f"{sum(counts['social_security'].values()):,} 社保行 rows, {counts['readings']:,} 客流 readings; "
        f"{time.monotonic() - began:.1f} s\n"
    )
    return 0


def _roster(options: argparse.Namespace) -> int:
    _print(roster_of(_city(options)).as_json())
    return 0


def _truth(options: argparse.Namespace) -> int:
    _print(compute(_city(options)))
    return 0


def _push(options: argparse.Namespace) -> int:
    began = time.monotonic()
    only = [kind for kind in (options.only or KINDS) if kind not in options.skip]
    told: dict[str, float] = {}

    def progress(step: Progress) -> None:
        # Every step would be too many lines; the last one of a kind is always told.
        if step.done < step.total and time.monotonic() - told.get(step.kind, 0.0) < 0.5:
            return
        told[step.kind] = time.monotonic()
        if options.progress_json:
            _print(words_of(step))
        else:
            sys.stdout.write(f"  {step.kind:16} {step.done:>9,}/{step.total:,}  {_spoken(step.what)}\n")
            sys.stdout.flush()

    outcome = asyncio.run(
        push_city(
            _city(options), base_url=options.base_url, clients=options.clients, only=only, progress=progress
        )
    )
    if options.truth is not None and outcome.truth is not None:
        options.truth.write_text(
            json.dumps(outcome.truth, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
        )
    seconds = time.monotonic() - began
    if options.progress_json:
        _print(
            {
                "event": "done",
                "seconds": round(seconds, 1),
                "counts": {kind: dict(counter) for kind, counter in outcome.counts.items()},
                "refused": outcome.refused,
                "refusals": outcome.refusals,
                "replayed": outcome.replayed,
            }
        )
    else:
        for refusal in outcome.refusals:
            sys.stderr.write(f"  ✗ {refusal}\n")
        sys.stdout.write(f"完成, 拒绝 {outcome.refused} · done, {outcome.refused} refused; {seconds:.1f} s\n")
    return 1 if outcome.refused else 0


def _spoken(what: dict[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in what.items())


def _replay(options: argparse.Namespace) -> int:
    if options.speed < 1:
        raise ValueError("--speed is at least 1")
    asyncio.run(_replayed(options))
    return 0


async def _replayed(options: argparse.Namespace) -> None:
    def told(clock: str, sent: int) -> None:
        if options.progress_json:
            _print({"event": "progress", "kind": "readings", "clock": clock, "done": sent})
        else:
            sys.stdout.write(f"  {options.day} {clock}  {sent:,} 条 readings\n")
            sys.stdout.flush()

    async with httpx.AsyncClient(base_url=options.base_url, timeout=CALL_SECONDS, trust_env=False) as http:
        callers = [Caller(http, Credentials.read(options.clients / f"{name}.json")) for name in (SITE, GATE)]
        replay = Replay(
            *callers, seed=options.seed, memory=options.clients / ".gates", day=options.day, told=told
        )
        done = await replay.at_speed(options.speed)
        if options.progress_json:
            _print({"event": "done", **done})
        else:
            sys.stdout.write(f"已回放 {done['readings']:,} 条 · replayed, {done['begin']} to {done['end']}\n")
            sys.stdout.flush()
        if options.stay:
            await replay.stay()


if __name__ == "__main__":
    sys.exit(main())
