"""HTML pages made from finished artefacts: the report of one or several runs, the data of one, the scores of one."""
