"""What every test of the project shares."""

import sys

import salt  # noqa: F401 (puts its hook in place)

# Salt's import hook of the old kind (it works around PyNaCl's libsodium, which nothing here uses)
# has no find_spec, and pytest's importlib mode asks every hook for one.
sys.meta_path[:] = [hook for hook in sys.meta_path if hasattr(hook, "find_spec")]
