"""A host that is reached by SSH, on this machine: who has its key runs commands as the tests do."""

import asyncio
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh

ADDRESS = "127.0.0.1"


@dataclass
class Host:
    """Where it listens, the files of whoever may log in, and the commands that were run."""

    port: int
    key: Path
    known_hosts: Path
    commands: list[str] = field(default_factory=list)


@contextmanager
def running(folder: Path) -> Iterator[Host]:
    """Yield a host that listens; what is to be known of it is in the folder."""
    own, theirs = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    key, known_hosts = folder / "key", folder / "known_hosts"
    key.touch(mode=0o600)
    theirs.write_private_key(key)
    commands: list[str] = []

    async def run(process: "asyncssh.SSHServerProcess[bytes]") -> None:
        commands.append(process.command or "")
        # As sshd does it: by the user's shell.
        pipe = subprocess.PIPE
        words = ["sh", "-c", process.command or ""]
        with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe) as child:
            await process.redirect(stdin=child.stdin, stdout=child.stdout, stderr=child.stderr)
            code = await asyncio.to_thread(child.wait)
            await process.stdout.drain()
            process.exit(code)
            await process.wait_closed()

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def listen() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            ADDRESS,
            0,
            server_host_keys=[own],
            authorized_client_keys=asyncssh.import_authorized_keys(
                theirs.export_public_key().decode()
            ),
            process_factory=run,
            encoding=None,
        )

    async def close(server: asyncssh.SSHAcceptor) -> None:
        server.close()
        await server.wait_closed()

    try:
        server = asyncio.run_coroutine_threadsafe(listen(), loop).result(30)
        port = server.get_port()
        line = own.export_public_key().decode()
        known_hosts.write_text(f"[{ADDRESS}]:{port} {line}")
        yield Host(port, key, known_hosts, commands)
        asyncio.run_coroutine_threadsafe(close(server), loop).result(30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
