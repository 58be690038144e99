# The only place that says which nodes exist. Plain YAML, no Jinja: the Vagrantfile, the lab,
# the pillar, the orchestration and the tests all read this file.
#
# A node's `lab` platform is what `make up` runs it on, `vm` what a virtual machine runs it on.
# `memory` (MiB) and `cpus` are for virtual machines; lab nodes share the machine's.

platforms:
  debian12:
    family: Debian
    suite: bookworm
    python: "3.11"
    boxes: {virtualbox: debian/bookworm64, libvirt: debian/bookworm64}
  debian13:
    family: Debian
    suite: trixie
    python: "3.13"
    boxes: {virtualbox: debian/trixie64, libvirt: debian/trixie64}
  ubuntu2404:
    family: Debian
    suite: noble
    python: "3.12"
    boxes: {virtualbox: bento/ubuntu-24.04, libvirt: bento/ubuntu-24.04}
  rocky9:
    family: RedHat
    python: "3.11"
    boxes: {virtualbox: generic/rocky9, libvirt: generic/rocky9}

topologies:
  default:
    network: 192.168.33.0/24
    vip: 192.168.33.200
    nodes:
      master: {address: 192.168.33.10, roles: [master], lab: debian12, vm: debian12, memory: 1536, cpus: 2}
      web-1: {address: 192.168.33.11, roles: [web], lab: debian12, vm: ubuntu2404, memory: 768, cpus: 1}
      web-2: {address: 192.168.33.12, roles: [web], lab: debian13, vm: rocky9, memory: 768, cpus: 1}
      db-1: {address: 192.168.33.14, roles: [db, storage], lab: debian12, vm: debian12, memory: 1024, cpus: 1}
      db-2: {address: 192.168.33.15, roles: [db, storage], lab: debian12, vm: debian12, memory: 1024, cpus: 1}
      db-3: {address: 192.168.33.16, roles: [db, storage], lab: debian12, vm: debian12, memory: 1024, cpus: 1}
      lb-1: {address: 192.168.33.21, roles: [lb], lab: debian12, vm: rocky9, memory: 512, cpus: 1}
      lb-2: {address: 192.168.33.22, roles: [lb], lab: debian12, vm: rocky9, memory: 512, cpus: 1}

  # The shape of the original system: the same states, fewer nodes.
  classic:
    network: 192.168.33.0/24
    vip: 192.168.33.200
    nodes:
      master: {address: 192.168.33.10, roles: [master], lab: debian12, vm: debian12, memory: 1536, cpus: 2}
      web-1: {address: 192.168.33.11, roles: [web, storage], lab: debian12, vm: debian12, memory: 1024, cpus: 1}
      web-2: {address: 192.168.33.12, roles: [web, storage], lab: debian12, vm: debian12, memory: 1024, cpus: 1}
      db-1: {address: 192.168.33.14, roles: [db, storage], lab: debian12, vm: debian12, memory: 1024, cpus: 1}
      lb-1: {address: 192.168.33.21, roles: [lb], lab: debian12, vm: debian12, memory: 512, cpus: 1}
