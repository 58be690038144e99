"""
See and replace the certificates that a running HAProxy shows, without a reload.

A new one is good until the next reload, which reads the file again: so it is the file that is
loaded here, and whoever replaces a certificate writes the file first. Sockets and their default are
those of the module's other functions; HAProxy 2.4 or later.
"""

import hashlib
import pathlib
import re
import ssl

from salt.exceptions import CommandExecutionError

__virtualname__ = "haproxy"

_FIELD = re.compile(r"^([A-Za-z0-9 ]+?): ?(.*)$", re.MULTILINE)
_UNKNOWN = "Can't display the certificate"
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
# Seconds in which HAProxy has to answer.
_PATIENCE = 10


def __virtual__():
    return __virtualname__


def _command(socket, line, payload=None):
    given = (line, _PATIENCE, False, payload)
    return __utils__["haproxy.call"]("command", socket, dict(__opts__), dict(__pillar__), *given)


def certificates(socket=None):
    """
    Return the files of certificates that HAProxy has loaded, a list of paths.

    socket
        HAProxy's stats socket; see the top of this page for the default.

    Raises CommandExecutionError when HAProxy cannot be asked.

    CLI Example:

    .. code-block:: bash

        salt 'lb-*' haproxy.certificates
    """
    lines = _command(socket, "show ssl cert").splitlines()
    # A star is before one that is being replaced.
    return [line for line in lines if line and not line.startswith(("#", "*"))]


def certificate(path, socket=None):
    """
    Return what HAProxy shows of a file of certificates.

    path
        The file, as HAProxy's configuration has it.
    socket
        HAProxy's stats socket; see the top of this page for the default.

    Returns a dictionary with ``fingerprint`` (SHA-1, as HAProxy tells it, 40 hexadecimal digits),
    ``serial``, ``not_before`` and ``not_after`` (as OpenSSL writes times), ``names`` (a list),
    ``subject``, ``issuer`` and ``algorithm``.

    Raises CommandExecutionError when HAProxy has loaded no such file or cannot be asked.

    CLI Example:

    .. code-block:: bash

        salt 'lb-*' haproxy.certificate /etc/haproxy/certificate.pem
    """
    answer = _command(socket, f"show ssl cert {_path(path)}")
    if answer.startswith(_UNKNOWN) or "SHA1 FingerPrint" not in answer:
        raise CommandExecutionError(
            f"HAProxy has loaded no certificate {path}: "
            f"{', '.join(certificates(socket)) or 'none at all'} is what it has"
        )
    told = dict(_FIELD.findall(answer))
    names = told.get("Subject Alternative Name", "")
    return {
        "fingerprint": told["SHA1 FingerPrint"],
        "serial": told["Serial"],
        "not_before": told["notBefore"],
        "not_after": told["notAfter"],
        "names": [name.partition(":")[2] for name in names.split(", ") if name],
        "subject": told["Subject"],
        "issuer": told["Issuer"],
        "algorithm": told["Algorithm"],
    }


def certificate_in_file(path):
    """
    Return the fingerprint of the first certificate in a file, as :py:func:`certificate` has it.

    path
        The file, with PEM in it.

    Raises CommandExecutionError when it cannot be read, or has no certificate.

    CLI Example:

    .. code-block:: bash

        salt 'lb-*' haproxy.certificate_in_file /etc/haproxy/certificate.pem
    """
    found = _CERTIFICATE.search(_read(path))
    if not found:
        raise CommandExecutionError(f"{path} has no certificate: it must have one, as PEM")
    try:
        der = ssl.PEM_cert_to_DER_cert(found[0])
    except ValueError as error:
        raise CommandExecutionError(f"{path} has a damaged certificate: {error}") from error
    return hashlib.sha1(der, usedforsecurity=False).hexdigest().upper()


def load_certificate(path, timeout=10, socket=None):
    """
    Have HAProxy show what is in a file now; new connections get it, and those there are go on.

    path
        The file, as HAProxy's configuration has it: certificates, their own first, and the key.
    timeout
        Seconds for HAProxy to know the file: one that is just being reloaded may not yet.
    socket
        HAProxy's stats socket; see the top of this page for the default.

    Returns what :py:func:`certificate` does, of what HAProxy shows then.

    Raises CommandExecutionError when the file cannot be read, when HAProxy does not take it (it
    shows what it did before, then), or when HAProxy cannot be asked.

    CLI Example:

    .. code-block:: bash

        salt 'lb-*' haproxy.load_certificate /etc/haproxy/certificate.pem
    """
    wanted = certificate_in_file(path)
    # What has no line without anything is one payload.
    lines = [line for line in _read(path).splitlines() if line.strip()]
    _until_known(path, timeout, socket)
    answer = _command(socket, f"set ssl cert {path}", "\n".join(lines))
    if not answer.startswith("Transaction"):
        raise CommandExecutionError(f"HAProxy does not take {path}: {_last(answer)}")
    answer = _command(socket, f"commit ssl cert {path}")
    if not answer.endswith("Success!"):
        _command(socket, f"abort ssl cert {path}")
        raise CommandExecutionError(f"HAProxy does not take {path}: {_last(answer)}")
    shown = certificate(path, socket)
    if shown["fingerprint"] != wanted:
        raise CommandExecutionError(
            f"HAProxy shows {shown['fingerprint']}, not {wanted}, which is in {path}"
        )
    return shown


def _until_known(path, timeout, socket):
    for _ in __utils__["haproxy.looks"](timeout):
        try:
            return certificate(path, socket)
        except CommandExecutionError as error:
            unknown = error
    raise unknown


def _path(path):
    if not re.fullmatch(r"[^\s;\\]+", str(path)):
        raise CommandExecutionError(f"{path!r} cannot be the path of a certificate in HAProxy")
    return path


def _read(path):
    try:
        return pathlib.Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandExecutionError(f"{path} cannot be read: {error}") from error


def _last(answer):
    return " ".join(answer.split()) or "it says nothing"
