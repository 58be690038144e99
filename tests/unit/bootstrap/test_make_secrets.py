"""The secrets that bootstrap makes on the master, Gluster's certificates above all."""

import datetime
import importlib.machinery
import importlib.util
import stat
import subprocess
import sys

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tests.support.loading import ROOT

NODES = {"boss": "10.9.0.10", "data-1": "10.9.0.11"}
VIP = "10.9.0.200"


@pytest.fixture
def made(tmp_path, monkeypatch):
    """make-secrets as a module, over the configuration of a topology of two nodes."""
    # Its folder counts as what nodes are provisioned from: no cache may appear there.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader = importlib.machinery.SourceFileLoader(
        "make_secrets", str(ROOT / "bootstrap/make-secrets")
    )
    spec = importlib.util.spec_from_loader("make_secrets", loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    module.home = tmp_path / "secrets"
    write_topology(tmp_path, NODES)
    module.run = lambda: module.make(module.home, (str(tmp_path / "minion.conf"),))
    module.run()
    return module


def write_topology(folder, nodes):
    (folder / "pillar").mkdir(exist_ok=True)
    entries = {id_: {"address": address} for id_, address in nodes.items()}
    document = {"topologies": {"own": {"vip": VIP, "nodes": entries}}}
    (folder / "pillar/topology.sls").write_text(yaml.safe_dump(document))
    write_https(folder)
    roots = {"base": [str(folder / "nowhere"), str(folder / "pillar")]}
    settings = {"counterapp_topology": "own", "pillar_roots": roots}
    (folder / "minion.conf").write_text(yaml.safe_dump(settings))


def write_https(folder, **https):
    (folder / "pillar/lb.sls").write_text(yaml.safe_dump({"lb": {"https": https}}))


def held(made, node):
    return yaml.safe_load((made.home / f"gluster_tls/{node}.sls").read_text())["secrets"][
        "gluster_tls"
    ]


def contents(made):
    return {path: path.read_bytes() for path in made.home.rglob("*") if path.is_file()}


def test_a_second_run_makes_nothing(made, capsys):
    before = contents(made)
    capsys.readouterr()
    made.run()
    assert contents(made) == before
    assert capsys.readouterr().out == ""


def test_only_root_reads_them(made):
    for path in [made.home, *made.home.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_the_key_of_the_authority_is_in_no_pillar_file(made):
    authority = made.home / "gluster_tls_authority.pem"
    line = authority.read_text().splitlines()[2]
    assert [path for path, text in contents(made).items() if line.encode() in text] == [authority]


def test_that_of_https_is_public_without_its_key(made):
    authority, public = (made.home / f"https_authority.{kind}" for kind in ("pem", "crt"))
    assert "PRIVATE KEY" in authority.read_text()
    assert public.read_text() in authority.read_text()
    assert "PRIVATE KEY" not in public.read_text()


@pytest.mark.parametrize("node", NODES)
def test_a_certificate_names_its_node(made, node, tmp_path):
    tls = held(made, node)
    certificate = x509.load_pem_x509_certificate(tls["certificate"].encode())
    assert certificate.subject.rfc4514_string() == f"CN={node}"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [node]
    assert [str(a) for a in names.get_values_for_type(x509.IPAddress)] == [NODES[node]]
    key = serialization.load_pem_private_key(tls["key"].encode(), password=None)
    assert key.public_key() == certificate.public_key()
    # As OpenSSL, and so Gluster, judges it, on both ends of a connection.
    for kind in ("key", "certificate", "ca"):
        (tmp_path / kind).write_text(tls[kind])
    for purpose in ("sslserver", "sslclient"):
        subprocess.run(
            ["openssl", "verify", "-x509_strict", "-purpose", purpose]
            + ["-CAfile", str(tmp_path / "ca"), str(tmp_path / "certificate")],
            check=True,
            capture_output=True,
        )


def test_a_new_node_and_a_new_address_get_a_certificate(made, tmp_path, capsys):
    before = held(made, "boss")
    write_topology(tmp_path, {**NODES, "data-1": "10.9.0.12", "data-2": "10.9.0.13"})
    capsys.readouterr()
    made.run()
    words = capsys.readouterr().out
    assert "made Gluster's certificate of data-2" in words
    assert "made anew, for the new address, Gluster's certificate of data-1" in words
    assert held(made, "boss") == before
    assert held(made, "data-2")["ca"] == before["ca"]


def test_a_certificate_is_renewed_before_it_ends(made, monkeypatch, capsys):
    before = held(made, "boss")
    later = datetime.datetime.now(datetime.UTC) + made.CERTIFICATE_LIFE - made.RENEW_BEFORE
    monkeypatch.setattr(made, "_now", lambda: later - made.DAY)
    made.run()
    assert held(made, "boss") == before
    monkeypatch.setattr(made, "_now", lambda: later + made.DAY)
    made.run()
    after = held(made, "boss")
    assert after["certificate"] != before["certificate"]
    # By the same authority, so nodes with the old one and nodes with the new one trust each other.
    assert after["ca"] == before["ca"]
    assert "renewed Gluster's certificate of boss" in capsys.readouterr().out


def test_the_end_of_the_authority_is_announced_and_a_new_one_signs_anew(made, monkeypatch, capsys):
    before = held(made, "boss")
    later = datetime.datetime.now(datetime.UTC) + made.AUTHORITY_LIFE - made.RENEW_BEFORE / 2
    monkeypatch.setattr(made, "_now", lambda: later)
    made.run()
    assert "the counterapp Gluster authority ends on" in capsys.readouterr().out
    monkeypatch.undo()
    (made.home / "gluster_tls_authority.pem").unlink()
    made.run()
    assert held(made, "boss")["ca"] != before["ca"]


def test_other_secrets_are_never_made_anew(made, tmp_path):
    before = (made.home / "mongodb_keyfile.sls").read_text()
    (made.home / "mongodb_app.sls").unlink()
    made.run()
    assert (made.home / "mongodb_keyfile.sls").read_text() == before
    assert yaml.safe_load((made.home / "mongodb_app.sls").read_text())["secrets"]["mongodb_app"]


def test_a_masters_topology_is_that_of_its_checkout(made, tmp_path):
    # Its pillar roots are what was rolled out, which has no node that is to come.
    write_topology(tmp_path, {**NODES, "data-2": "10.9.0.13"})
    settings = {
        "counterapp_topology": "own",
        "counterapp_tree": str(tmp_path),
        "counterapp_pillar": [str(tmp_path / "lab")],
        "pillar_roots": {"base": [str(tmp_path / "base/pillar")]},
    }
    (tmp_path / "master.conf").write_text(yaml.safe_dump(settings))
    made.make(made.home, (str(tmp_path / "master.conf"),))
    assert held(made, "data-2")
    # A lab has a topology of its own.
    (tmp_path / "lab").mkdir()
    entries = {"data-3": {"address": "10.9.0.14"}}
    document = {"topologies": {"own": {"vip": VIP, "nodes": entries}}}
    (tmp_path / "lab/topology.sls").write_text(yaml.safe_dump(document))
    made.make(made.home, (str(tmp_path / "master.conf"),))
    assert held(made, "data-3")


def test_without_a_topology_it_says_what_is_missing(made, tmp_path):
    with pytest.raises(made.Problem, match=r"run bootstrap\.sh first"):
        made.make(made.home, (str(tmp_path / "nothing"),))
    (tmp_path / "pillar/topology.sls").unlink()
    with pytest.raises(made.Problem, match=r"no topology\.sls in the pillar folders"):
        made.run()


# HTTPS


def shown(made):
    """Return what balancers are to show: the text, and its first certificate."""
    text = yaml.safe_load((made.home / "https_certificate.sls").read_text())["secrets"][
        "https_certificate"
    ]
    return text, x509.load_pem_x509_certificate(text.encode())


def names(certificate):
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return found.get_values_for_type(x509.DNSName), [
        str(address) for address in found.get_values_for_type(x509.IPAddress)
    ]


def test_the_certificate_of_https_is_good_for_the_vip_and_its_names(made, tmp_path):
    text, certificate = shown(made)
    assert names(certificate) == ([], [VIP])
    write_https(tmp_path, names=["counts.example", "*.counts.example"])
    made.run()
    text, certificate = shown(made)
    assert names(certificate) == (["counts.example", "*.counts.example"], [VIP])
    key = serialization.load_pem_private_key(text.encode(), password=None)
    assert key.public_key() == certificate.public_key()
    assert text.startswith("-----BEGIN CERTIFICATE-----")
    (tmp_path / "shown").write_text(text)
    subprocess.run(
        ["openssl", "verify", "-x509_strict", "-purpose", "sslserver"]
        + ["-CAfile", str(made.home / "https_authority.crt"), str(tmp_path / "shown")],
        check=True,
        capture_output=True,
    )
    # What Apple's systems take at the most.
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert life < datetime.timedelta(days=825)
    before = contents(made)
    made.run()
    assert contents(made) == before


def test_the_certificate_of_https_is_renewed_before_it_ends(made, monkeypatch, capsys):
    before = shown(made)[0]
    later = datetime.datetime.now(datetime.UTC) + made.HTTPS_LIFE - made.HTTPS_RENEW_BEFORE
    monkeypatch.setattr(made, "_now", lambda: later - made.DAY)
    made.run()
    assert shown(made)[0] == before
    monkeypatch.setattr(made, "_now", lambda: later + made.DAY)
    made.run()
    assert shown(made)[0] != before
    assert f"renewed the certificate of HTTPS at {VIP}" in capsys.readouterr().out


def test_a_certificate_of_another_authority_is_made_anew(made, capsys):
    before = shown(made)[0]
    (made.home / "https_authority.pem").unlink()
    made.run()
    assert shown(made)[0] != before
    assert "made anew, by its own authority, the certificate of HTTPS" in capsys.readouterr().out
    (made.home / "https_authority.crt").unlink()
    made.run()
    assert (made.home / "https_authority.crt").exists()


def bought(made, folder, *more):
    """Write a certificate of an authority that is not ours, its chain and its key."""
    folder.mkdir(exist_ok=True)
    text = made.Authority.fresh("Some CA").certify_https(["counts.example"], VIP)
    certificate, _, key = text.partition("-----BEGIN PRIVATE KEY-----")
    (folder / "chain.pem").write_text("".join([certificate, *more]))
    (folder / "key.pem").write_text(f"\n-----BEGIN PRIVATE KEY-----{key}\n")
    return {"certificate": str(folder / "chain.pem"), "key": str(folder / "key.pem")}


def test_the_operators_own_is_taken_over_and_its_next_one_too(made, tmp_path, capsys):
    chain = made.pem(made.Authority.fresh("Some CA").certificate)
    write_https(tmp_path, **bought(made, tmp_path / "le", "\n", chain))
    made.run()
    text, certificate = shown(made)
    assert text.count("BEGIN CERTIFICATE") == 2
    assert "\n\n" not in text
    assert names(certificate)[0] == ["counts.example"]
    assert f"took over the certificate of HTTPS at {VIP}" in capsys.readouterr().out
    made.run()
    assert capsys.readouterr().out == ""
    bought(made, tmp_path / "le")
    made.run()
    assert shown(made)[0] != text
    # And back.
    write_https(tmp_path)
    made.run()
    assert names(shown(made)[1]) == ([], [VIP])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda found, _: found.pop("key"), "lb:https:key is missing in pillar/lb.sls"),
        (lambda found, _: found.update(key="/nowhere"), "lb:https:key, /nowhere, cannot be read"),
        (lambda found, _: found.update(key=found["certificate"]), "must have certificates as PEM"),
        (lambda found, other: found.update(key=other["key"]), "is not the key of the first"),
    ],
)
def test_files_that_do_not_fit_are_refused_and_nothing_is_changed(made, tmp_path, spoil, words):
    before = contents(made)
    found, other = (bought(made, tmp_path / name) for name in ("one", "two"))
    spoil(found, other)
    write_https(tmp_path, **found)
    with pytest.raises(made.Problem, match=words) as refused:
        made.run()
    assert "PRIVATE" not in str(refused.value)
    assert contents(made) == before


def test_what_has_ended_is_refused(made, tmp_path, monkeypatch):
    found = bought(made, tmp_path / "old")
    write_https(tmp_path, **found)
    later = datetime.datetime.now(datetime.UTC) + made.HTTPS_LIFE
    monkeypatch.setattr(made, "_now", lambda: later)
    with pytest.raises(made.Problem, match=r"chain\.pem has ended on"):
        made.https(made.home, made.site((str(tmp_path / "minion.conf"),)))


@pytest.mark.parametrize("wrong", ["counts.example", [5], ["käse.example"]])
def test_names_that_are_none_are_refused(made, tmp_path, wrong):
    write_https(tmp_path, names=wrong)
    with pytest.raises(made.Problem, match="lb:https:names"):
        made.run()
