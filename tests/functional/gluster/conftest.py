"""The three storage nodes, in the states that the tests start from."""

import pytest

from tests.functional.gluster import nodes as storage


@pytest.fixture(scope="session")
def nodes():
    """Three nodes with a running glusterd each."""
    try:
        yield storage.up()
    finally:
        storage.down()


@pytest.fixture
def apart(nodes):
    """The nodes, none of them in a pool with another."""
    for name in nodes[0].sh("ls /var/lib/glusterd/vols").split():
        storage.remove(nodes, name)
    for peer in nodes[1:]:
        nodes[0].sh(f"{storage.GLUSTER} peer detach {peer.name} force || true")
    alone = storage.wait_for(
        lambda: all(node.sh("ls /var/lib/glusterd/peers").strip() == "" for node in nodes), 15
    )
    assert alone, "the pool did not come apart"
    return nodes


@pytest.fixture
def pool(nodes):
    """The nodes in one pool."""
    return storage.join(nodes)


@pytest.fixture
def declared(pool):
    """A volume that does not exist yet, as ``volume_present`` takes it: name and arguments."""
    name, arguments = storage.declare(pool)
    yield name, arguments
    storage.remove(pool, name)


@pytest.fixture
def volume(pool, declared):
    """The name of the declared volume, created and started without our modules."""
    return storage.create(pool, *declared)
