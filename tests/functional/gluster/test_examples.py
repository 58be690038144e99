"""The CLI example of each function in ``_modules/gluster*.py``, run to the letter on real nodes.

A line is cut into words as a shell does it, its arguments are read as Salt's command line reads
them, and its target is the node that runs it. What each of them needs and does is in ``story.py``;
``tests/unit/docs`` sees to it that each function has an example, and a part in that story.
"""

import re

import pytest

from docs import make_reference
from tests.functional.gluster import nodes as storage
from tests.functional.gluster.nodes import GLUSTER, everywhere
from tests.functional.gluster.story import HAND, POINT, STORY, VOLUME
from tests.support import docstrings

FUNCTIONS = {function.name: function for function in make_reference.functions("modules", "gluster")}


class Site:
    """The three nodes, by the names that the examples have for them."""

    def __init__(self, nodes):
        self.nodes = nodes
        self.first, self.second, self.third = nodes

    def target(self, name):
        """Return the node that stands for a target; clients' names are for the third."""
        known = {node.name: node for node in self.nodes}
        return known.get(name, self.third) if name[:3] != "db-" else known[name]

    def gluster(self, words):
        """Run a gluster command by hand."""
        return self.first.sh(f"{GLUSTER} {words}")

    def info(self):
        return self.first.call("gluster.info", VOLUME)

    def mount(self):
        """Have the volume mounted on the first node, by hand."""
        self.first.sh(
            f"mkdir -p {HAND}; mountpoint -q {HAND} ||"
            f" mount -t glusterfs localhost:/{VOLUME} {HAND}"
        )

    def unmount(self):
        self.first.sh(f"! mountpoint -q {HAND} || umount {HAND}")

    def kill_brick(self, node):
        """Kill the volume's brick process on a node."""
        node.sh(f"kill -9 $(cat /run/gluster/vols/{VOLUME}/*.pid)")

    def start_bricks(self):
        self.gluster(f"volume start {VOLUME} force")
        self.first.call("gluster.wait_online", VOLUME, timeout=60)

    def healed(self):
        self.first.call("gluster.wait_healed", VOLUME, timeout=60, launch=True)

    def bricks(self):
        return [brick["name"] for brick in self.info()["bricks"]]


@pytest.fixture(scope="module")
def site(nodes):
    """Three nodes that know nothing of each other, with room for bricks; left the same way."""
    storage.separate(nodes)
    everywhere(
        lambda node: node.sh(
            "mkdir -p /srv/gluster/shared /srv/gluster/bricks /bricks\n"
            "mountpoint -q /bricks || mount --bind /srv/gluster/bricks /bricks"
        ),
        nodes,
    )
    yield Site(nodes)
    nodes[2].sh("systemctl stop srv-shared-retry.service srv-shared.mount 2>/dev/null || true")
    nodes[2].sh("rm -f /etc/systemd/system/srv-shared*; systemctl daemon-reload")
    nodes[0].sh(f"umount {HAND} 2>/dev/null || true")
    storage.separate(nodes)
    everywhere(lambda node: node.sh("umount /bricks; rm -rf /srv/gluster/shared"), nodes)


def test_the_guide_makes_a_volume_from_nothing(site):
    guide = (make_reference.ROOT / "docs" / "gluster.md").read_text(encoding="utf-8")
    chapter = guide.partition("## A volume from nothing")[2].partition("\n## ")[0]
    storing, mounting = re.findall(r"^```yaml\n(.*?)^```$", chapter, re.MULTILINE | re.DOTALL)
    for changed in (True, False):
        done = everywhere(lambda node: node.call("state.template_str", storing), site.nodes)
        done.append(site.third.call("state.template_str", mounting))
        results = [ret for answer in done for ret in answer.values()]
        assert [ret["comment"] for ret in results if ret["result"] is not True] == []
        assert any(ret["changes"] for ret in results) is changed, results
    assert site.first.call("gluster.healthy", VOLUME)["healthy"] is True
    assert site.third.state("gluster.unmounted", POINT)["result"] is True
    storage.separate(site.nodes)
    everywhere(lambda node: node.sh("rm -rf /srv/gluster/shared/brick"), site.nodes)


@pytest.mark.parametrize("name", STORY)
def test_example(site, name):
    (line,) = docstrings.commands(docstrings.parse(FUNCTIONS[name].doc))
    call = docstrings.call(line)
    assert call.function == f"gluster.{name}"
    told = STORY[name](site)
    next(told)
    answer = site.target(call.target).call(call.function, *call.arguments, **call.keywords)
    with pytest.raises(StopIteration):
        told.send(answer)
