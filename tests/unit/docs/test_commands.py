"""What README and docs tell to type, and each address, path and link in them, is what there is.

A checker takes the words after its program and yields a sentence for each thing that is wrong.
"""

import fnmatch
import functools
import importlib
import inspect
import ipaddress
import pathlib
import re
import shlex
import sys
import tempfile
from itertools import dropwhile, groupby, takewhile

import pytest
import salt.utils.parsers
import yaml

from docs import make_reference
from lab import config
from tests.support import docstrings, guide
from tests.support.loading import ROOT
from tests.support.tree import TOPOLOGY

PAGES = ["README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))]
PAGES = sorted(page for page in PAGES if (ROOT / page).exists())
COMMANDS = [command for page in PAGES for command in guide.commands(page)]

DEFAULT = TOPOLOGY["topologies"]["default"]
NODES = DEFAULT["nodes"]
# What an operator puts a word of their own for.
PLACEHOLDER = re.compile(r"[A-Z][A-Z_]+")
IPV4 = r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.]*\d)"
NETWORKS = [
    "127.0.0.0/8",
    # The example of LAB_NETWORK, for a lab beside the first one.
    "192.168.34.0/24",
]


def source(*patterns):
    files = [file for pattern in patterns for file in ROOT.glob(pattern) if file.is_file()]
    files = [file for file in files if "__pycache__" not in file.parts]
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def setting(file, key):
    return re.search(rf"^  {key}: (\S+)", source(f"pillar/{file}.sls"), re.MULTILINE)[1]


FOLDERS = ("salt", "fleet", "bootstrap", "lab", "pillar", "app/backend/src")
SOURCES = ("_*/*.py", "Vagrantfile", "app/*.py", "tests/*.py", "tests/support/*.py")
SOURCES += tuple(f"{folder}/**/*.*" for folder in FOLDERS)
TREE = source(*SOURCES, "bootstrap/*").replace("\\\n", " ")
HTTPS_PORT = str(yaml.safe_load(source("pillar/lb.sls"))["lb"]["https"]["port"])
PORTS = {"web": setting("web", "port"), "db": setting("mongodb", "port")}
# What listens beside it, for nothing but /metrics.
METRICS = {role: setting(role, "metrics_port") for role in ("web", "lb")}
# Arguments of our functions that can only be one thing here.
VALUES = {"volume": setting("gluster", "volume"), "backend": setting("lb", "backend")}
BRICK = setting("gluster", "brick")
# Salt files that the Gluster guide itself shows.
SHOWN = set(re.findall(r"^# ([\w.]+)\.sls", source("docs/gluster.md"), re.MULTILINE))
ALL_OURS = {
    kind: {
        f"{virtual}.{function.name}": function
        for virtual in make_reference.sources(kind)
        for function in make_reference.functions(kind, virtual)
    }
    for kind in make_reference.KINDS
}


# --- Commands ----------------------------------------------------------------------------------


def complaints(line):
    """Return what is wrong with a line for a shell."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|")
    lexer.whitespace_split, lexer.commenters = True, ""
    found = []
    for separates, words in groupby(lexer, {";", "&&", "|", "||"}.__contains__):
        if separates:
            continue
        # Where the output goes is the shell's matter.
        words = takewhile(">".__ne__, words)
        # Variables of the environment may stand before the program.
        program, *rest = dropwhile(re.compile(r"[A-Z_]+=").match, words)
        name = pathlib.Path(program).name
        if name in CHECKERS:
            found += CHECKERS[name](rest)
        elif name not in ORDINARY and not (ROOT / program).is_file():
            found.append(f"{program} is no program that is known here")
    return found


def check_make(words):
    text = source("Makefile").replace("\\\n", " ")
    exported = set(re.search(r"^export ([A-Z_ ]+)$", text, re.MULTILINE)[1].split()) - {"ARGS"}
    rules = re.findall(r"^([a-z][\w -]*):(?!=).*\n((?:\t.*\n|#.*\n)*)", text, re.MULTILINE)
    recipes = {target: recipe for targets, recipe in rules for target in targets.split()}
    given = dict(word.split("=", 1) for word in words if "=" in word)
    for target in (word for word in words if "=" not in word):
        if target not in recipes:
            yield f"the Makefile has no target {target}"
            continue
        read = set(re.findall(r"\$\((\w+)\)", recipes[target]))
        read |= exported if "LAB_TOOL" in read else set()
        read |= {"ARGS"} if target in STANDS_FOR else set()
        yield from (f"make {target} does not read {name}" for name in given.keys() - read)
        if target in STANDS_FOR and "ARGS" in given:
            yield from complaints(f"{STANDS_FOR[target]} {given['ARGS']}")
    yield from strangers(given.get("NODE", "master"))
    try:
        config.load(*map(given.get, ("LAB", "TOPOLOGY", "LAB_NETWORK")), document=TOPOLOGY)
    except config.LabError as error:
        yield str(error)


def strangers(*names):
    return [
        f"no node is named {n}" for n in names if n not in NODES and not PLACEHOLDER.fullmatch(n)
    ]


def check_salt(program, words):
    parser, kind = SALT[program]
    known = parser()
    options = [word.partition("=")[0] for word in words if word.startswith("-")]
    yield from (f"{program} has no option {o}" for o in options if not known.has_option(o))
    rest = [word for word in words if not word.startswith("-")]
    if program == "salt":
        target = rest.pop(0)
        if not PLACEHOLDER.fullmatch(target) and not fnmatch.filter(NODES, target):
            yield f"no node is named {target}"
    yield from function_call(kind, rest) if kind else strangers(*rest)


def function_call(kind, words):
    call = docstrings.call(shlex.join(["salt", "*", *words]))
    function = ALL_OURS[kind].get(call.function)
    if function:
        fits = docstrings.accepts(function, call.arguments, call.keywords)
        given = dict(zip(function.parameters, call.arguments, strict=False)) | call.keywords
        for name, value in VALUES.items():
            if given.get(name, value) != value:
                yield f"{given[name]} is no {name} here, but {value} is"
    else:
        fits = salts_own(kind, call)
    if fits is not True:
        yield fits
    if call.function in {"state.apply", "state.orchestrate"}:
        yield from (f"salt/ has no {name}" for name in call.arguments[:1] if not is_sls(name))
        for key in call.keywords.get("pillar", {}):
            if f"('{key}'" not in TREE:
                yield f"nothing reads the pillar's {key}"
    if call.function == "cmd.run":
        yield from complaints(call.arguments[0])
    for value in (*call.arguments, *call.keywords.values()):
        host, colon, path = str(value).partition(":/")
        roles = [n["roles"] for id_, n in NODES.items() if host in (id_, n["address"])]
        if colon and (f"/{path}" != BRICK or not roles or "storage" not in roles[0]):
            yield f"there is no brick {value}"


def salts_own(kind, call):
    """Tell whether Salt has a function that takes these arguments, as docstrings.accepts does."""
    virtual, _, name = call.function.partition(".")
    module = {"cmd": "cmdmod", "sys": "sysmod"}.get(virtual, virtual)
    try:
        found = vars(importlib.import_module(f"salt.{kind}.{module}"))
        function = found.get(name) or found[f"{name}_"]
        inspect.signature(function).bind(*call.arguments, **call.keywords)
    except (ImportError, KeyError):
        return f"there is no function {call.function}"
    except TypeError as error:
        return f"{call.function}: {error}"
    return True


def is_sls(name):
    path = ROOT / "salt" / name.replace(".", "/")
    return name in SHOWN or path.with_suffix(".sls").is_file() or (path / "init.sls").is_file()


@functools.cache
def units():
    """Return the units that bootstrap and the states install or start, without `.service`."""
    found = {file.stem for file in (ROOT / "bootstrap/files").glob("*.service")}
    found |= set(re.findall(r"service\.\w+:\n(?: +- .*\n)*? +- name: ([\w.-]+)\n", TREE))
    found |= set(re.findall(r"set service = '([\w-]+)'", TREE))
    found.add(setting("gluster", "mount").strip("/").replace("/", "-") + ".mount")
    # The timers that end a drain: one for each server.
    found |= {f"{prefix}web-1.timer" for prefix in re.findall(r'f"([a-z-]+-lease-)\{', TREE)}
    return found


def strange_units(names):
    known = {name.removesuffix(".service"): fnmatch.filter(units(), name) for name in names}
    return [f"no unit is named {name}" for name in known if not known[name] and name not in units()]


def check_systemctl(words):
    verb, *names = [word for word in words if not word.startswith("-")]
    if verb not in {"status", "start", "stop", "restart", "reload", "list-timers"}:
        yield f"systemctl {verb} is not known here"
    yield from strange_units(names)


def check_systemd_analyze(words):
    verb, *names = words
    if verb != "security":
        yield f"systemd-analyze {verb} is not known here"
    yield from strange_units(names)


def check_journalctl(words):
    yield from strange_units([b for a, b in zip(words, words[1:], strict=False) if a == "-u"])


def check_vagrant(words):
    verb, *rest = words
    if verb not in {"up", "halt", "destroy", "provision", "reload", "ssh", "status", "upload"}:
        yield f"vagrant {verb} is not known here"
    if verb == "upload":
        # A file, and where it comes to lie.
        del rest[:2]
    if "-c" in rest:
        yield from complaints(rest.pop(rest.index("-c") + 1))
    for word in rest:
        if word.startswith("--provider="):
            if word.partition("=")[2] not in TOPOLOGY["platforms"]["debian12"]["boxes"]:
                yield f"the topology has no boxes for {word}"
        elif not word.startswith("-"):
            yield from strangers(word)


def check_curl(words):
    options = {"-X": "GET", "-H": "", "--header": "", "--data-binary": "", "--cacert": ""}
    rest = iter(words)
    urls = []
    for word in rest:
        if word in options:
            options[word] = next(rest)
        else:
            urls.append(word)
    method = "POST" if options["--data-binary"] else options["-X"]
    for url in urls:
        yield from check_url(url, method)


@functools.cache
def routes():
    sys.path.insert(0, str(ROOT / "app/backend/src"))
    app, settings = map(importlib.import_module, ("counterapp.app", "counterapp.settings"))
    store = importlib.import_module("tests.support.memory_store").MemoryStore()
    with tempfile.TemporaryDirectory() as folder:
        static = pathlib.Path(folder)
        (static / "index.html").touch()
        made = app.create_app(settings.Settings("mongodb://127.0.0.1/", "web-1", static), store)
    return made.url_map.bind("")


def check_url(url, method=None):
    """Hold a URL against the addresses that answer HTTP, and against the app's routes."""
    match = re.fullmatch(r"(https?)://(?:[^/@]*@)?([^/:]+)(?::(\d+))?(/[^?#]*)?.*", url)
    scheme, host, port, path = match.groups() if match else ("", "", None, None)
    node = next((n for n in NODES.values() if n["address"] == host), {"roles": []})
    if path == "/metrics" and port in {METRICS.get(role) for role in node["roles"]}:
        return
    # At the VIP without TLS one is sent on, and a hit is not counted.
    answers = [("https", DEFAULT["vip"], HTTPS_PORT)]
    answers += [("http", n["address"], PORTS["web"]) for n in NODES.values() if "web" in n["roles"]]
    if (scheme, host, port or {"https": "443"}.get(scheme, "80")) not in answers:
        yield f"nobody answers at {url}"
    methods = routes().allowed_methods(path or "/")
    if not methods or method and method not in methods:
        yield f"the app has no route for {method or ''} {url}"


def check_bootstrap(words):
    usage = dict(re.findall(r"^  ([a-z-]+) (.*)$", source("bootstrap/bootstrap.sh"), re.MULTILINE))
    command, *rest = words
    wanted = usage.get(command, "").split("  ")[0]
    if command not in usage:
        yield f"bootstrap.sh has no command {command}"
    elif "--" not in wanted:
        if len(rest) != 1 or "|" in wanted and rest[0] not in wanted.split("|"):
            yield f"bootstrap.sh {command} wants {wanted}"
    else:
        given = dict(zip(rest[::2], rest[1::2], strict=True))
        needed = set(re.findall(r"--[a-z-]+", re.sub(r"\[.*?\]", "", wanted)))
        yield from (f"bootstrap.sh {command} wants {option}" for option in needed - given.keys())
        yield from strangers(given.get("--id", "ID"))
        node = NODES.get(given.get("--id"), {"roles": [], "address": None})
        facts = {
            "--id": given.get("--id"),
            "--roles": ",".join(node["roles"]),
            "--address": node["address"],
            "--master": NODES["master"]["address"],
            "--topology": "default",
        }
        wrong = [option for option in given if given[option] != facts.get(option)]
        yield from (f"{option} {given[option]} is not what the topology says" for option in wrong)


def check_expect_key(words):
    if len(words) != 2 or not PLACEHOLDER.fullmatch(words[1]):
        yield "expect-key wants ID FINGERPRINT"
    yield from strangers(words[0])


def check_bench(name, words):
    known = {"--help", *re.findall(r'add_argument\(\s*"(--[a-z]+)"', source(f"bench/{name}.py"))}
    options = [word for word in words if word.startswith("-")]
    yield from (f"bench/{name} has no {option}" for option in options if option not in known)


SALT = {
    "salt": (salt.utils.parsers.SaltCMDOptionParser, "modules"),
    "salt-run": (salt.utils.parsers.SaltRunOptionParser, "runners"),
    "salt-call": (salt.utils.parsers.SaltCallOptionParser, "modules"),
    "salt-key": (salt.utils.parsers.SaltKeyOptionParser, None),
}
# What `make TARGET` puts before ARGS.
STANDS_FOR = {"salt": "salt", "run": "salt-run", "key": "salt-key", "bench": "bench/hits"}
CHECKERS = {
    "make": check_make,
    "systemctl": check_systemctl,
    "systemd-analyze": check_systemd_analyze,
    "journalctl": check_journalctl,
    "vagrant": check_vagrant,
    "curl": check_curl,
    "bootstrap.sh": check_bootstrap,
    "expect-key": check_expect_key,
    **{name: functools.partial(check_bench, name) for name in ("hits", "backup")},
    "sudo": lambda words: complaints(shlex.join(words)),
    **{program: functools.partial(check_salt, program) for program in SALT},
}
# Their paths are looked at, as all paths are; the rest is theirs.
ORDINARY = {
    "cd",
    "chronyc",
    "cp",
    "git",
    "check-haproxy",
    "haproxy",
    "ip",
    "modprobe",
    "openssl",
    "pytest",
    "python",
    "rm",
    "sha256sum",
    "ruff",
}
ORDINARY |= {"make-secrets", "tar"}


# --- Text --------------------------------------------------------------------------------------

# The folders of the tree, and build/, whose content is made.
FOLDERS_HERE = "|".join(p.name for p in ROOT.iterdir() if p.is_dir() and p.name[0] != ".")
FOLDERS_HERE += "|build"
# Paths that others name: glusterfs its logs, the system its own, and the Gluster guide those of
# another tree's nodes (bricks in commands are held against the topology).
FOREIGN = (
    "/var/log/glusterfs/",
    "/etc/fstab",
    "/srv/salt/",
    "/srv/gluster/",
    "/var/lib/mongodb.lost",
)
# The name of a collection for Ansible, not of a function.
NO_FUNCTIONS = {"gluster.gluster"}


def text_complaints(text):
    """Return the addresses, ports, node names, URLs, paths and functions that are nobody's."""
    checks = (wrong_addresses, wrong_paths, wrong_functions)
    found = [sentence for check in checks for sentence in check(text)]
    # Of HTTPS it is names that are somebody else's.
    begins = r"(?:http://(?:[^\s`'\"/@]*@)?\w|https://(?:[^\s`'\"/@]*@)?\d)"
    for url in re.findall(rf"{begins}[\w.:-]*[^\s`'\"<>)]*", text):
        found += check_url(url)
    return found


def wrong_addresses(text):
    networks = [ipaddress.ip_network(network) for network in NETWORKS]
    ours = {node["address"]: id_ for id_, node in NODES.items()}
    others = (DEFAULT["vip"], DEFAULT["network"].partition("/")[0])
    for address in re.findall(IPV4, text):
        known = any(ipaddress.ip_address(address) in network for network in networks)
        if not known and address not in ours and address not in others:
            yield f"{address} is nobody's address"
    yield from strangers(*re.findall(r"\b(?:web|db|lb)-\d+\b", text))
    for name, port in re.findall(rf"({IPV4}|\b[a-z]+-\d+):(\d+)", text):
        roles = NODES.get(ours.get(name, name), {"roles": []})["roles"]
        there = {ports.get(role) for role in roles for ports in (PORTS, METRICS)}
        if (name in ours or name in NODES) and port not in there:
            yield f"nothing of {name} listens on {port}"
    for id_, roles, address in re.findall(rf"^([a-z]+(?:-\d+)?) +([a-z,]+) +({IPV4})", text, re.M):
        node = NODES.get(id_)
        if node and (node["roles"], node["address"]) != (roles.split(","), address):
            yield f"{id_} is not {roles} at {address}"


def wrong_paths(text):
    ours = rf"(?<![\w/.-])(?:/srv/counterapp/)?((?:{FOLDERS_HERE})/[\w.*/-]*)"
    for path in re.findall(ours, text):
        folder, _, inside = path.rstrip("./").partition("/")
        made = f'"{inside.split("/")[0]}"' in TREE
        if not (made if folder == "build" else any(ROOT.glob(path.rstrip("./")))):
            yield f"there is no {path}"
    for path in re.findall(r"(?<![\w/.…:-])/(?:etc|var|opt|run|usr|srv|dev)/[\w.*/-]*…?", text):
        if path.endswith("…"):
            # A name that is cut short stands for those in its folder.
            path = path.rpartition("/")[0]
        _, *parts = path.rstrip("./*").split("/")
        begin = "/".join(["", *parts[: 3 if parts[0] in ("var", "usr") else 2]])
        names = [part.removesuffix(".sls") for part in parts if not part[0].isdigit()]
        known = all(re.search(rf"{re.escape(each)}(?![\w-])", TREE) for each in (begin, *names))
        if not known and not path.startswith(FOREIGN):
            yield f"nothing in the tree knows {path}"


def wrong_functions(text):
    ours = {name for functions in ALL_OURS.values() for name in functions}
    modules = "|".join({name.partition(".")[0] for name in ours})
    for name in re.findall(rf"`((?:{modules})\.[a-z_]+)(?=[ `(])", text):
        known = name in ours or is_sls(name) or f'"{name}"' in TREE or name in NO_FUNCTIONS
        if not known and not name.endswith((".md", ".sls", ".lock", ".json", ".log")):
            yield f"there is no function {name}"


def link_complaints(page, text):
    """Return the relative links of a page that lead nowhere."""
    for link in re.findall(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"", text):
        target, _, anchor = "".join(link).partition("#")
        file = (ROOT / page).parent / target if target else ROOT / page
        if ":" in target:
            continue
        if not file.exists():
            yield f"{page}: {target} is not there"
        elif anchor and anchor not in {heading.anchor for heading in guide.headings(file)}:
            yield f"{page}: {target} has no heading #{anchor}"


def test_the_guide_is_read_as_it_is_rendered(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# Page\n"
        "`make` and `make\nup` are | `salt db-1 test.ping` |\n"
        "## One, `a_b` & two\n"
        "```yaml\n# salt: no\n```\n"
        "```sh\n"
        "salt 'a # b' \"c#\"d  # a comment\n"
        "# only a comment\n"
        "curl -X PUT \\\n    http://a/#b   # joined\n"
        "```\n"
        "### Below\n```bash\nmake test\n```\n"
        "## One, `a_b` & two\n## Three\n```sh\nmake down\n```\n"
    )
    found = [(each.line, each.text, each.comment, each.headings) for each in guide.commands(page)]
    one = ("Page", "One, a_b & two")
    assert found == [
        (2, "make up", "", ("Page",)),
        (3, "salt db-1 test.ping", "", ("Page",)),
        (9, "salt 'a # b' \"c#\"d", "a comment", one),
        (11, "curl -X PUT http://a/#b", "joined", one),
        (16, "make test", "", (*one, "Below")),
        (21, "make down", "", ("Page", "Three")),
    ]
    assert guide.section(page, "Three") == ["make down"]
    assert len(guide.section(page, "Page")) == 4
    anchors = [heading.anchor for heading in guide.headings(page)]
    assert anchors == ["page", "one-a_b--two", "below", "one-a_b--two-1", "three"]
    for missing in ("Four", "One, a_b & two"):
        with pytest.raises(LookupError):
            guide.section(page, missing)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda each: f"{each.file}:{each.line}")
def test_what_is_to_be_typed_can_be_typed(command):
    assert not complaints(command.text), f"{command.file}:{command.line}: {command.text}"


@pytest.mark.parametrize("page", PAGES)
def test_addresses_paths_and_functions_are_what_there_is(page):
    assert not text_complaints(source(page))


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    assert not list(link_complaints(page, source(page)))


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("make upp", "no target upp"),
        ("make up NODE=web-1", "does not read NODE"),
        ("make ssh NODE=web-9", "no node is named web-9"),
        ("make status TOPOLOGY=modern", "modern"),
        ("make up LAB_NETWORK=8.8.8.0/24", "LAB_NETWORK is"),
        ("make run ARGS='counterapp.histories'", "no function counterapp.histories"),
        ("make key ARGS=--look", "no option --look"),
        ("make bench ARGS='--round 3'", "bench/hits has no --round"),
        ("salt db-4 test.ping", "no node is named db-4"),
        ("salt 'cache-*' test.ping", "no node is named cache-*"),
        ("salt db-1 gluster.heals shared", "no function gluster.heals"),
        ("salt db-1 gluster.wait_healed shared wait=5", "wait"),
        ("salt db-1 gluster.healthy data", "data is no volume here"),
        ("salt lb-1 haproxy.servers app", "app is no backend here"),
        (
            "salt db-1 gluster.reset_brick shared 192.168.33.11:/srv/gluster/shared/brick",
            "no brick",
        ),
        ("salt db-1 test.pong", "no function test.pong"),
        ("salt db-1 network.ip_addrs nic=eth0", "nic"),
        ("salt web-1 state.apply cache", "salt/ has no cache"),
        ("salt lb-1 cmd.run 'systemctl status haproxi'", "no unit is named haproxi"),
        ("salt-run state.orchestrate orch.roll", "salt/ has no orch.roll"),
        (
            "salt-run state.orchestrate orch.rollout pillar='{version: 1}'",
            "reads the pillar's version",
        ),
        ("salt-call --remote test.ping", "salt-call has no option --remote"),
        ("salt-key -d web-3", "no node is named web-3"),
        ("systemctl bounce haproxy", "systemctl bounce"),
        ("systemd-analyze security haproxi", "no unit is named haproxi"),
        ("systemctl list-timers haproxy-leases-*", "no unit is named haproxy-leases-*"),
        ("journalctl -u mongodb", "no unit is named mongodb"),
        ("vagrant launch", "vagrant launch"),
        ("vagrant ssh web-3", "no node is named web-3"),
        ("vagrant ssh master -c 'sudo salt-run rollout.go'", "no function rollout.go"),
        ("curl http://192.168.33.10/readyz", "nobody answers"),
        ("curl http://192.168.33.200/readyz", "nobody answers"),
        ("curl http://192.168.33.11:8080/readyz", "nobody answers"),
        ("curl https://192.168.33.200/api/v1/hit", "no route for GET"),
        ("curl -X PUT https://192.168.33.200/api/v1/requests", "no route for PUT"),
        ("/srv/counterapp/bootstrap/bootstrap.sh slave", "no command slave"),
        ("bootstrap.sh fingerprint slave", "wants minion|master"),
        (
            "bootstrap.sh master --id master --address 192.168.33.11",
            "--address 192.168.33.11 is not",
        ),
        ("bootstrap.sh minion --id web-1 --master 192.168.33.10", "wants --roles"),
        ("bootstrap.sh minion --id web-1 --roles db --master 192.168.33.10", "--roles db is not"),
        ("expect-key web-1", "expect-key wants"),
        ("bench/hits --remote", "bench/hits has no --remote"),
        ("bench/backup --soak 5", "bench/backup has no --soak"),
        ("git pull; frobnicate now", "frobnicate is no program"),
    ],
)
def test_a_wrong_command_is_complained_of(line, complaint):
    assert any(complaint in sentence for sentence in complaints(line)), complaints(line)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("the master (192.168.33.1)", "192.168.33.1 is nobody's"),
        ("on web-3 and", "no node is named web-3"),
        ("`192.168.33.15:27018` is", "nothing of 192.168.33.15 listens on 27018"),
        ("members: [db-1:8000]", "nothing of db-1 listens on 8000"),
        ("web-1  web,db  192.168.33.11  Debian-12", "web-1 is not web,db"),
        ("at <http://192.168.33.10/>", "nobody answers at http://192.168.33.10/"),
        ('"https://192.168.33.200/streams/a/b"', "no route"),
        ("see `pillar/webs.sls`", "there is no pillar/webs.sls"),
        ("run /srv/counterapp/bootstrap/boot.sh", "there is no bootstrap/boot.sh"),
        ("into `build/distribution`", "there is no build/distribution"),
        ("keep `/var/lib/counter/operator.header`", "nothing in the tree knows /var/lib/counter/"),
        ("in `/var/lib/counter/revisions/r3f0c…/`", "nothing in the tree knows /var/lib/counter/"),
        ("the runner `counterapp.unlocks`", "no function counterapp.unlocks"),
    ],
)
def test_a_wrong_text_is_complained_of(text, complaint):
    assert any(complaint in sentence for sentence in text_complaints(text)), text_complaints(text)


def test_a_dead_link_is_complained_of():
    text = "[a](docs/api.md#operators) [b](docs/api.md#operator) [c](docs/apis.md) [d](#look)"
    assert [*link_complaints("README.md", text)] == [
        "README.md: docs/api.md has no heading #operator",
        "README.md: docs/apis.md is not there",
    ]
