"""Runs a whole cluster on this machine, or prepares what virtual machines need.

The Makefile calls it as ``python -m lab COMMAND``; ``python -m lab --help`` lists the commands.
"""
