"""The command `huimin`, which `./run` hands over to. A command imports what it needs when asked for."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from services.stack.home import ROOT, Home
from services.stack.terminal import Refusal, say

huimin = typer.Typer(
    name="huimin",
    help="惠民 Huimin: 公共服务数据套件 · a public-service data suite.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
client = typer.Typer(help="登记客户端 · clients: hospitals, schools, agencies, gates.", no_args_is_help=True)
huimin.add_typer(client, name="client")

PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def main() -> NoReturn:
    """One line for what a person can put right; a traceback only for what we did wrong."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        huimin(prog_name="./run", standalone_mode=True)
    except Refusal as refusal:
        sys.stderr.write(f"惠民 Huimin: {refusal}\n")
        sys.exit(refusal.code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whoever read our output has gone
        sys.exit(1)
    sys.exit(0)


@huimin.command()
def demo(
    check: Annotated[
        bool, typer.Option("--check", help="有限时间, 逐项核对 · bounded; checks each step.")
    ] = False,
    people: Annotated[int, typer.Option(min=50, help="城市人口 · people in the city.")] = 2000,
    speed: Annotated[
        float, typer.Option(min=1, help="闸机回放倍速 · how fast the day of gates replays.")
    ] = 600,
    seed: Annotated[int, typer.Option(help="同一种子, 同一城市 · the same seed gives the same city.")] = 1,
) -> None:
    """启动并填充一座模拟城市 · start, and fill everything with a simulated city."""
    from services.stack.demo import Plan, run_demo

    sys.exit(asyncio.run(run_demo(Home(), Plan(people=people, speed=speed, seed=seed, check=check))))


@huimin.command()
def up(
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="不验证身份, 仅本机 · no authentication, loopback only.")
    ] = False,
) -> None:
    """启动套件 · start the suite; Ctrl-C stops it."""
    from services.stack.suite import Options, run_up

    sys.exit(asyncio.run(run_up(Home(), Options(no_auth=no_auth))))


@huimin.command()
def serve(
    name: Annotated[str, typer.Argument(help="服务名或 worker · a service's name, or worker.")],
) -> None:
    """单独运行一个服务 · run one service by itself, on servers that are there already."""
    from services.stack.serve import serve_one, serve_worker

    serve_worker() if name == "worker" else serve_one(name)


@huimin.command()
def migrate() -> None:
    """升级外部数据库 · bring the database of HUIMIN_DATABASE_URL to its newest form."""
    from services.kit.settings import Settings
    from services.stack.provision import provision

    if not os.environ.get("HUIMIN_DATABASE_URL"):
        raise Refusal(
            "缺少 HUIMIN_DATABASE_URL · set HUIMIN_DATABASE_URL; ./run up migrates its own database"
        )
    os.environ.setdefault("HUIMIN_SECRET", Home().secret())
    done = asyncio.run(provision(Settings()))
    for service, steps in done.applied.items():
        say(f"  ✓ {service}: {', '.join(steps)}")
    say(f"PostgreSQL {done.server}: 数据库已是最新 · up to date")


@huimin.command()
def status() -> None:
    """查看运行状态 · what runs, where, how much memory it takes."""
    from services.stack.status import show_status

    sys.exit(show_status(Home()))


@huimin.command()
def stop() -> None:
    """停止套件 · stop the suite that runs from this home."""
    from services.stack.status import stop_running

    stop_running(Home())


@huimin.command()
def reset(
    yes: Annotated[bool, typer.Option("--yes", help="不再询问 · do not ask.")] = False,
) -> None:
    """删除全部数据 · delete this home's data, keys and logs."""
    from services.stack.status import reset_home

    home = Home()
    if not yes and home.path.exists():
        typer.confirm(f"删除 {home.path} 的全部数据? · delete all data in {home.path}?", abort=True)
    reset_home(home)


@huimin.command()
def load(
    kind: Annotated[str, typer.Argument(help="fhir | oneroster | social-security | readings | terminology")],
    paths: Annotated[list[Path], typer.Argument(help="文件或目录 · files or folders.")],
    of: Annotated[
        str, typer.Option("--kind", help="social-security: contributions, payments, claims, claim_lines.")
    ] = "",
    system: Annotated[
        str, typer.Option(help="terminology: 编码体系 URL · URL of the code system the codes are of.")
    ] = "",
    version: Annotated[str, typer.Option(help="terminology: 版本 · its version.")] = "",
    hierarchy: Annotated[str, typer.Option(help="terminology: 层级 · none | parent | prefix.")] = "",
    client_file: Annotated[
        Path | None, typer.Option("--client", help="客户端密钥文件 · a client's key file.")
    ] = None,
    parallel: Annotated[int, typer.Option(min=1, max=64, help="并发数 · pushes at a time.")] = 4,
) -> None:
    """推送文件 · push files through the public doors."""
    from services.stack.load import Load, run_load

    said = {"system": system, "version": version, "hierarchy": hierarchy}
    query = {name: value for name, value in said.items() if value}
    work = Load(kind=kind, paths=paths, of=of, query=query, client_file=client_file, parallel=parallel)
    sys.exit(asyncio.run(run_load(Home(), work)))


@huimin.command(context_settings=PASSED_ON)
def bench(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="测量名 · which measurement.")] = "",
    size: Annotated[str, typer.Option(help="small | full")] = "small",
) -> None:
    """运行一项测量 · run one measurement."""
    names = sorted(path.stem.replace("_", "-") for path in (ROOT / "bench").glob("[a-z]*.py"))
    if name not in names:
        raise Refusal(f"可用的测量 · measurements there are: {', '.join(names) or 'none'}", code=2)
    if size not in ("small", "full"):
        raise Refusal("--size 只能是 small 或 full · is small or full", code=2)
    _become("-m", f"bench.{name.replace('-', '_')}", "--size", size, *context.args)


@client.command("add")
def client_add(
    kind: Annotated[
        str, typer.Option(help="hospital | school | agency | insurer | gate | site | auditor | app")
    ],
    name: Annotated[str, typer.Option(help="名称, 也是密钥文件名 · its name, and its key file's.")],
    org: Annotated[str, typer.Option(help="机构代码 · code of its organisation.")],
    area: Annotated[str, typer.Option(help="行政区划代码 GB/T 2260 · its area.")] = "",
) -> None:
    """登记客户端并写出密钥 · register a client and write its key."""
    from services.stack.clients import add_client

    written = asyncio.run(add_client(Home(), kind=kind, name=name, organisation=org, area=area or None))
    say(f"  ✓ {written}")


@huimin.command()
def token(
    client_file: Annotated[Path, typer.Option("--client", help="客户端密钥文件 · the client's key file.")],
    scope: Annotated[str, typer.Option(help="权限范围, 空格分隔 · scopes, separated by spaces.")] = "",
) -> None:
    """取得访问令牌 · print an access token for a client."""
    from services.stack.clients import fetch_token

    say(asyncio.run(fetch_token(client_file, scope)))


@huimin.command("test", context_settings=PASSED_ON)
def run_tests(
    context: typer.Context,
    long: Annotated[bool, typer.Option("--long", help="包括长时间测试 · the full-length runs too.")] = False,
) -> None:
    """运行测试 · run the tests; further arguments go to pytest."""
    # Three workers keep two cores busy: much is waited for. A file stays with one, which shares its servers.
    _become(
        "-m",
        "pytest",
        "-n3",
        "--dist=loadfile",
        "--no-loadscope-reorder",
        *(["--long"] if long else []),
        *context.args,
    )


@huimin.command()
def check() -> None:
    """检查代码 · lint, format, types, import rules."""
    from services.stack.checks import run_checks

    sys.exit(run_checks())


@huimin.command(context_settings=PASSED_ON)
def verify(context: typer.Context) -> None:
    """离线核验访问日志 · verify the access log, offline if a file is given."""
    from services.stack.clients import running_address

    if not any(argument.startswith(("--log", "-h", "--help")) for argument in context.args):
        os.environ["HUIMIN_PUBLIC_URL"] = running_address(Home())
        os.environ.setdefault("HUIMIN_SECRET", Home().secret())
    _become("-m", "services.audit.verify", *context.args, folder=None)


@huimin.command()
def backup() -> None:
    """备份 · make a base backup of the running suite; the log between is archived as it goes."""
    from services.stack.backup import run_backup

    asyncio.run(run_backup(Home()))


@huimin.command()
def restore(
    at: Annotated[
        str, typer.Option("--at", help="时间, 精确到秒, 或 latest · a time, to the second, or latest.")
    ],
    source: Annotated[
        Path | None, typer.Option("--from", help="备份目录 · the backups' folder (HUIMIN_BACKUP).")
    ] = None,
) -> None:
    """恢复到某一时刻 · restore an empty home to a moment."""
    from services.stack.restore import run_restore

    asyncio.run(run_restore(Home(), at, source))


@huimin.command()
def drill() -> None:
    """恢复演练 · restore the newest backup beside the running suite, compare, measure RPO and RTO."""
    from services.stack.drill import run_drill

    asyncio.run(run_drill(Home()))


@huimin.command()
def promote(
    anyway: Annotated[
        bool, typer.Option("--anyway", help="即使备库落后 · even where the standby may lack commits.")
    ] = False,
) -> None:
    """备库接替 · put the standby in the place of a primary that is gone."""
    from services.stack.standby import promote as promote_standby

    asyncio.run(promote_standby(Home(), anyway=anyway))


@huimin.command()
def letters(
    replay: Annotated[str, typer.Option(help="SERVICE/ID: 重试一件 · have one tried again.")] = "",
) -> None:
    """未能送达的事件 · events that could not be taken in, and having them tried again."""
    from services.stack.letters import run_letters

    sys.exit(asyncio.run(run_letters(Home(), replay)))


@huimin.command("env")
def env_file() -> None:
    """打印容器部署的 .env · print the .env for docker-compose.yml."""
    from services.stack.containers import env_lines

    for line in env_lines(Home().secret()):
        say(line)


def _become(*arguments: str, folder: Path | None = ROOT) -> NoReturn:
    """Replaces this process by a module of ours, in the project's folder or in the caller's own."""
    if folder is not None:
        os.chdir(folder)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, "-P", *arguments], environment)  # noqa: S606
