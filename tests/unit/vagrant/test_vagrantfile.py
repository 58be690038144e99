"""The Vagrantfile as Vagrant itself reads it, for each provider and topology."""

import json
import os
import pathlib
import shutil
import subprocess

import pytest
import yaml

from lab import engine

ROOT = pathlib.Path(__file__).resolve().parents[3]
READER = pathlib.Path(__file__).with_name("machines.rb")
DOCUMENT = yaml.safe_load((ROOT / "pillar" / "topology.sls").read_text())
TOPOLOGIES = list(DOCUMENT["topologies"])
# What the master's Salt loads from the repository's root.
LOADED = sorted(path.name for path in ROOT.glob("_[a-z]*"))
MACHINE_PROVIDERS = ("virtualbox", "libvirt")
PROVIDERS = ("docker", *MACHINE_PROVIDERS)
# Vagrant takes 2 to 5 s for one of these runs on an idle machine.
SECONDS = 60


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A checkout in which `make up` has made what Vagrant looks for before it does anything."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copy(ROOT / "Vagrantfile", folder)
    for relative in ("lab/bin/docker", "pillar/topology.sls"):
        (folder / relative).parent.mkdir(parents=True)
        shutil.copy(ROOT / relative, folder / relative)
    for tree in ("bootstrap", "fleet", "salt", *LOADED, "__pycache__"):
        (folder / tree).mkdir()
    (folder / "build" / "ssh").mkdir(parents=True)
    (folder / "build" / "ssh" / "id_ed25519").touch()
    config = engine.container_config(engine.read_host())
    (folder / "build" / "containers.conf").write_text(config)
    return folder


@pytest.fixture(scope="module")
def run(checkout, tmp_path_factory):
    """Run a command in the checkout, with a Vagrant home of its own."""
    home = tmp_path_factory.mktemp("vagrant")
    ours = {"LAB", "LAB_NETWORK", "TOPOLOGY", "COUNTERAPP_PREPARED"}
    outer = {
        name: value
        for name, value in os.environ.items()
        if name not in ours and not name.startswith("VAGRANT_")
    }

    def call(*command, **variables):
        given = {
            **outer,
            "VAGRANT_HOME": str(home / "home"),
            "VAGRANT_DOTFILE_PATH": str(home / "dot"),
            "VAGRANT_CHECKPOINT_DISABLE": "1",
            **variables,
        }
        environment = {name: value for name, value in given.items() if value is not None}
        return subprocess.run(
            command,
            cwd=checkout,
            env=environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=SECONDS,
        )

    return call


@pytest.fixture(scope="module")
def read(run, checkout):
    """Return what the Vagrantfile says under some environment: by provider, then by machine."""
    known = {}

    def machines(*providers, **variables):
        key = (providers, *sorted(variables.items()))
        if key not in known:
            # Debian's Vagrant belongs to Debian's Ruby, not to another one on the PATH.
            wanted = providers or PROVIDERS
            done = run("/usr/bin/ruby", str(READER), str(checkout), *wanted, **variables)
            assert done.returncode == 0, done.stderr
            known[key] = json.loads(done.stdout)
        return known[key]

    return machines


EACH_NODE = [
    pytest.param(name, node_id, node, id=f"{name}-{node_id}")
    for name in TOPOLOGIES
    for node_id, node in DOCUMENT["topologies"][name]["nodes"].items()
]


def the_master(topology):
    nodes = DOCUMENT["topologies"][topology]["nodes"]
    return next((node_id, node) for node_id, node in nodes.items() if "master" in node["roles"])


@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_machines_are_the_nodes_of_the_topology_and_the_master_is_primary(read, provider, topology):
    found = read(TOPOLOGY=topology)[provider]
    assert list(found["machines"]) == list(DOCUMENT["topologies"][topology]["nodes"])
    assert found["primary"] == the_master(topology)[0]
    assert [machine["hostname"] for machine in found["machines"].values()] == list(
        found["machines"]
    )


@pytest.mark.parametrize(("topology", "node_id", "node"), EACH_NODE)
def test_a_container_has_the_nodes_image_name_and_address(read, checkout, topology, node_id, node):
    settings = read(TOPOLOGY=topology)["docker"]["machines"][node_id]["settings"]
    assert settings["image"] == f"localhost/counterapp/{node['lab']}:latest"
    assert settings["name"] == f"counterapp-{node_id}"
    assert settings["cmd"] == ["/sbin/init"]
    assert settings["has_ssh"] is True
    wanted = {
        "--network=counterapp",
        f"--ip={node['address']}",
        f"--label={engine.LABEL}=counterapp",
        f"--volume={checkout}/build/ssh/id_ed25519.pub:/etc/ssh/lab_authorized_keys:ro",
    }
    assert wanted <= set(settings["create_args"])


@pytest.mark.parametrize(("topology", "node_id", "node"), EACH_NODE)
@pytest.mark.parametrize("provider", MACHINE_PROVIDERS)
def test_a_virtual_machine_has_the_nodes_box_address_memory_and_processors(
    read, provider, topology, node_id, node
):
    machine = read(TOPOLOGY=topology)[provider]["machines"][node_id]
    assert machine["box"] == DOCUMENT["platforms"][node["vm"]]["boxes"][provider]
    assert node["address"] in machine["addresses"]
    assert hardware(provider, machine["settings"]) == (node["memory"], node["cpus"])


def hardware(provider, settings):
    if provider == "libvirt":
        return settings["memory"], settings["cpus"]
    # VirtualBox gets both as commands: [when, [modifyvm, :id, --memory, MiB]].
    given = {
        command[2]: command[3] for _when, command in settings["customizations"] if len(command) > 3
    }
    return int(given["--memory"]), int(given["--cpus"])


@pytest.mark.parametrize(("topology", "node_id", "node"), EACH_NODE)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_node_is_made_by_the_bootstrap_script_alone(read, provider, topology, node_id, node):
    master_id, master = the_master(topology)
    script = "/srv/counterapp/bootstrap/bootstrap.sh"
    if node_id == master_id:
        wanted = f"{script} master --id {node_id} --address {node['address']} --topology {topology}"
    else:
        wanted = (
            f"{script} minion --id {node_id} --roles {','.join(node['roles'])} "
            f"--master {master['address']} --topology {topology}"
        )
    machine = read(TOPOLOGY=topology)[provider]["machines"][node_id]
    assert machine["provisioners"] == [["bootstrap", "shell", wanted]]


@pytest.mark.parametrize(("topology", "node_id", "node"), EACH_NODE)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_minion_is_introduced_after_it_came_up_or_was_provisioned(
    read, provider, topology, node_id, node
):
    machine = read(TOPOLOGY=topology)[provider]["machines"][node_id]
    assert machine["triggers"] == ([] if "master" in node["roles"] else ["up", "provision"])


@pytest.mark.parametrize(("topology", "node_id", "node"), EACH_NODE)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_node_sees_what_it_is_made_from_and_only_the_master_what_it_hands_out(
    read, checkout, provider, topology, node_id, node
):
    folders = read(TOPOLOGY=topology)[provider]["machines"][node_id]["folders"]
    wanted = {
        "/srv/counterapp/bootstrap": "bootstrap",
        "/srv/counterapp-wheels": "build/wheels",
    }
    if "master" in node["roles"]:
        trees = ("fleet", "salt", "pillar", *LOADED)
        wanted |= {f"/srv/counterapp/{tree}": tree for tree in trees} | {
            "/srv/counterapp-lab/pillar": "build/labs/counterapp/pillar",
            "/srv/counterapp-dist": "build/dist",
            "/srv/counterapp-artifacts": "build/artifacts",
        }
    assert {folder["guestpath"]: folder["hostpath"] for folder in folders} == {
        guest: str(checkout / host) for guest, host in wanted.items()
    }
    if provider == "docker":
        # Read-only: a node cannot change the tree that all the others are made from.
        assert {folder["docker_consistency"] for folder in folders} == {"ro"}
    else:
        assert {folder["type"] for folder in folders} == {"rsync"}
