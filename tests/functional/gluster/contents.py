"""Files on a mounted volume, to be found unchanged whatever is done to its bricks."""

import contextlib

from tests.functional.gluster.nodes import GLUSTER, everywhere
from tests.support.loading import load

_WRITE = """\
for n in 1 2 3 4 5 6; do mkdir -p dir$n/sub; for m in 1 2; do
    head -c 20000 /dev/urandom > dir$n/sub/file$m; done; done
find . -type f | sort | xargs md5sum
"""


class Contents:
    """A volume's files, written once through a mount on a node."""

    def __init__(self, node, volume):
        self.node = node
        self.folder = f"/mnt/{volume}"
        self.sums = f"/root/sums-of-{volume}"
        node.sh(
            f"mkdir -p {self.folder} && mount -t glusterfs localhost:/{volume} {self.folder}\n"
            f"cd {self.folder}\n({_WRITE}) > {self.sums}"
        )

    def are_intact(self):
        """Tell whether each file has the contents that were written, and no file is too many."""
        return (
            self.node.sh(
                f"cd {self.folder} && md5sum --check --quiet {self.sums} && find . -type f | wc -l"
            )
            == "12\n"
        )

    def are_on(self, node, brick):
        """Tell whether a brick holds full copies of all files."""
        sums = self.node.sh(f"cat {self.sums}")
        node.write(f"{self.sums}-for-brick", sums)
        path = brick.partition(":")[2]
        return not node.sh(
            f"cd {path} && md5sum --check --quiet {self.sums}-for-brick 2>&1 || true"
        )


@contextlib.contextmanager
def contents(node, volume):
    """Files on a volume that is mounted as long as this lasts."""
    written = Contents(node, volume)
    try:
        yield written
    finally:
        node.sh(f"umount -l {written.folder}")


@contextlib.contextmanager
def frozen(node, volume):
    """A node's bricks of a volume, alive and without an answer as long as this lasts.

    What moves data from or to them is under way until then, however fast the machine is.
    """
    bricks = f"$(cat /run/gluster/vols/{volume}/*.pid)"
    node.sh(f"kill -STOP {bricks}")
    try:
        yield
    finally:
        node.sh(f"kill -CONT {bricks}")


def put_on(node, volume, brick, path):
    """Put a file onto a brick past the volume, as a move that has not seen it leaves it."""
    host, _, directory = brick.partition(":")
    volfile = node.sh(f"{GLUSTER} system:: getspec {volume}")
    node.write("/root/brick.vol", load("_utils/gluster_brick.py").client(volfile, host, directory))
    node.sh(
        "mkdir -p /mnt/brick && glusterfs --volfile=/root/brick.vol /mnt/brick\n"
        f"echo left > /mnt/brick/{path}; umount /mnt/brick"
    )


def volume_of(nodes, name, bricks, *words):
    """Create and start a volume without our modules; returns its name."""
    everywhere(lambda node: node.sh(f"mkdir -p /srv/gluster/{name}"), nodes)
    nodes[0].sh(
        f"{GLUSTER} volume create {name} {' '.join(words)} {' '.join(bricks)} force\n"
        f"{GLUSTER} volume start {name}"
    )
    return name
