"""Who visits: one file for each journey, found by being here.

To add one, write a file with a function under `@journey("name", questions=N)` that takes a `Visitor`,
and name the file as the journey; experiments name it in `load.journeys`.
"""
