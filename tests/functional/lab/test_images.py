"""Node images that newer ones replace, in podman's own store."""

import subprocess
import uuid

import pytest

from lab import engine, images


@pytest.fixture
def replaced(tmp_path):
    """The IDs of two images without a name, as one has when a newer image took its name."""
    made = []
    for number in (1, 2):
        content = tmp_path / "content"
        content.write_text(f"{number} {uuid.uuid4()}")
        archive = tmp_path / "image.tar"
        subprocess.run(["tar", "-C", tmp_path, "-cf", archive, "content"], check=True)
        label = f"LABEL {images._INPUTS_LABEL}=test"
        made.append(engine.podman("import", "--quiet", "--change", label, str(archive)).strip())
    yield made
    for image in set(made) & known():
        engine.podman("rmi", image)


def known():
    return set(engine.podman("images", "--quiet", "--no-trunc").split())


def test_what_was_replaced_goes_unless_a_node_still_runs_on_it(replaced):
    unused, used = replaced
    container = engine.podman("create", used, "/content").strip()
    try:
        images.remove_replaced()
        assert unused not in known()
        assert used in known()
    finally:
        engine.podman("rm", container)
