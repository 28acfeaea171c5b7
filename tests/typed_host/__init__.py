"""What hosts write, with types: ``.ci/types`` checks it with mypy and basedpyright. It is not run."""
