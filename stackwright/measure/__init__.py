"""How well the detectors do: precision and recall on labelled texts of published packages.

`data/` holds the labels and not the texts: a record names a file of a package and the digest of its bytes. `fetch.py` gets
the texts, `licenses.py` and `near_dup.py` compare what is found with what is labelled, and `run.py` joins the two for the
command line. Nothing else of the package reads the labels.
"""
