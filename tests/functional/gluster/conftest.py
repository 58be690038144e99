"""The three storage nodes, in the states that the tests start from."""

import pytest

from tests.functional.gluster import nodes as storage


def pytest_generate_tests(metafunc):
    """Run each test on the newest glusterfs, and those on all that say that it may matter."""
    if "nodes" in metafunc.fixturenames:
        every = metafunc.definition.get_closest_marker("every_glusterfs")
        platforms = storage.PLATFORMS if every else storage.PLATFORMS[-1:]
        chosen = [pytest.param(name, marks=getattr(pytest.mark, name)) for name in platforms]
        metafunc.parametrize("nodes", chosen, indirect=True, scope="session")


@pytest.fixture(scope="session")
def nodes(request):
    """Three nodes with a running glusterd each, with glusterfs 10 or 11."""
    lab = storage.lab(request.param)
    try:
        yield storage.up(lab)
    finally:
        storage.down(lab)


@pytest.fixture
def apart(nodes):
    """The nodes, none of them in a pool with another."""
    return storage.separate(nodes)


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


@pytest.fixture(scope="module")
def lasting(nodes):
    """A started volume for all tests of a file, each of which leaves it as the next wants it."""
    name, arguments = storage.declare(storage.join(nodes))
    yield storage.create(nodes, name, arguments)
    storage.remove(nodes, name)
