"""
What only the master does: changes of the fleet, and looking at it.

``change`` says what a change is, ``revision`` what is rolled out; ``rollout`` takes the fleet from
one revision to another by the stages ``prepare``, ``storage``, ``db``, ``web``, ``lb`` and
``verify``. The runners in ``_runners/`` are the commands of this package. What minions run is in
``_modules``, ``_states`` and ``_utils``, each of which can be taken into another tree.
"""
