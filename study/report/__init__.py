"""One page, figures and tables from finished runs: `python -m study.report`."""
