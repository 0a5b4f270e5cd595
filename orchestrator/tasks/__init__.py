"""Tasks: where data sets come from. One file is one data set.

A file defines ``load(root, *, ...) -> Task``: ``root`` is the folder of all data sets, the keyword
arguments are the task's parameters in a plan, with types and defaults.
"""

from search_space.shelf import Shelf, needs

TASKS = Shelf(__name__, "task", needs("load"))
