"""Finding a plug-in by its entry point, with errors that say what to install."""

from importlib.metadata import EntryPoints, entry_points

from zkpot.errors import ExitCode, Fatal


def find_plugin(group: str, name: str, entries: EntryPoints | None = None) -> object:
    """The object that the entry point `name` of `group` names.

    `entries` are all entry points to look in; by default those of the installed packages.
    Raises `Fatal` with DEPENDENCY if there is no such plug-in, if two packages claim the name,
    or if what it imports is missing.
    """
    known = (entry_points() if entries is None else entries).select(group=group)
    values = {entry.value: entry for entry in known if entry.name == name}
    if not values:
        names = ", ".join(sorted({entry.name for entry in known})) or "none"
        raise Fatal(
            ExitCode.DEPENDENCY,
            f"no plug-in {name!r} in the group {group!r}; installed: {names}",
        )
    if len(values) > 1:
        raise Fatal(
            ExitCode.DEPENDENCY,
            f"several plug-ins {name!r} in the group {group!r}: {', '.join(sorted(values))}",
        )
    (entry,) = values.values()
    try:
        found: object = entry.load()
    except (ImportError, AttributeError) as error:
        raise Fatal(
            ExitCode.DEPENDENCY, f"the plug-in {name!r} ({entry.value}) does not load: {error}"
        ) from error
    return found
