"""Tasks and their callers know each other by name only; here the names are compared."""

import ast
import importlib

import crm.tasks
from crm.queue import app as queue
from tests.contracts.source import functions, modules

# What enqueues a job, by the name of the task, its first argument.
ENQUEUERS = {"enqueue", "enqueue_once", "configure_task", "hand_over", "sweep_up"}
# The function itself, its docstring, and what it does.
MOST_STATEMENTS = 5


def enqueued():
    """Every task name that the code enqueues, with the module that does."""
    for name, tree in modules().items():
        # They pass on what they are given.
        if name in {"crm.jobs", "crm.queue"} or not name.startswith("crm"):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and called(node) in ENQUEUERS:
                yield name, task_name(name, node)


def called(call):
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def task_name(module, call):
    """The first argument: a text, or a constant of the module, possibly another's."""
    given = call.args[0] if call.args else None
    if isinstance(given, ast.Constant):
        return given.value
    value = importlib.import_module(module)
    for step in ast.unparse(given).split(".") if given else [""]:
        value = getattr(value, step, None)
    assert isinstance(value, str), f"{module}:{call.lineno} names no task that can be read here"
    return value


def own_tasks():
    return {name: task for name, task in queue.tasks.items() if task.func.__module__ == "crm.tasks"}


def scheduled():
    return {each.task.name for each in queue.periodic_registry.periodic_tasks.values()}


def test_every_enqueued_name_is_a_task():
    found = set(enqueued())

    assert found
    assert {(module, name) for module, name in found if name not in own_tasks()} == set()


def test_every_task_has_a_caller_or_a_schedule():
    called_or_scheduled = {name for _, name in enqueued()} | scheduled()

    assert set(own_tasks()) - called_or_scheduled == set()


def test_a_task_has_a_caller_or_a_schedule_but_not_both():
    # A scheduled task is told its time, which callers do not have.
    assert {name for _, name in enqueued()} & scheduled() == set()


def test_a_scheduled_task_never_waits_twice():
    # After a pause of all workers, one run is enough.
    assert {name for name in scheduled() if own_tasks()[name].queueing_lock is None} == set()


def test_tasks_live_in_one_module():
    builtin = {name for name in queue.tasks if "procrastinate.builtin_tasks" in name}

    assert set(queue.tasks) - builtin == set(own_tasks())


def test_a_task_is_a_few_lines_that_call_a_service():
    lengths = {
        function.name: sum(isinstance(node, ast.stmt) for node in ast.walk(function))
        for function in functions(modules()[crm.tasks.__name__])
    }

    assert len(lengths) == len(own_tasks())
    assert {name: each for name, each in lengths.items() if each > MOST_STATEMENTS} == {}
