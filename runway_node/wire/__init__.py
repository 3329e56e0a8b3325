"""The wire: JSON in, JSON out. Only this room knows the providers' routes, field names and status words.

Reading is lenient (both task shapes, both vocabularies, unknown words and fields); writing is exact.
"""

from .bodies import API_VERSION, ROUTES, Clock, Route, create_body, nearest_ratio, upload_body
from .failures import task_error
from .problems import Problem, outcome, read_problem, refusal
from .tasks import Account, Created, Task, Ticket, not_there, read_account, read_created, read_task, read_ticket

__all__ = [
    "API_VERSION",
    "ROUTES",
    "Account",
    "Clock",
    "Created",
    "Problem",
    "Route",
    "Task",
    "Ticket",
    "create_body",
    "nearest_ratio",
    "not_there",
    "outcome",
    "read_account",
    "read_created",
    "read_problem",
    "read_task",
    "read_ticket",
    "refusal",
    "task_error",
    "upload_body",
]
