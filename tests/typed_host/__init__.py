"""What hosts write, with types: ``.ci/types`` checks it with mypy and basedpyright.

test_hosts.py serves the models.
"""
